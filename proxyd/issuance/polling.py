"""Looking at an order or authorization until it has ended."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from proxyd.issuance.acme_signer import AccountSigner
from proxyd.issuance.acme_transport import AcmeResponse, AcmeTransport

#: Seconds. A CA that is quick is not kept waiting; one that is slow, or says Retry-After, is not hurried.
_FIRST, _FACTOR, _LAST, _MAX_ASKED = 0.05, 1.6, 10.0, 60.0


async def poll(
    transport: AcmeTransport, url: object, signer: AccountSigner, ended: Callable[[Mapping[str, Any]], bool]
) -> AcmeResponse:
    """Return the first answer that `ended` accepts. Bound the time from outside. Raises IssuanceError."""
    await asyncio.sleep(_FIRST)  # a look that comes too early costs a Retry-After
    pause = _FIRST
    while True:
        response = await transport.post(url, None, signer)
        if ended(response.json):
            return response
        asked = response.retry_after.total_seconds() if response.retry_after else 0.0
        await asyncio.sleep(max(pause, min(asked, _MAX_ASKED)))
        pause = min(pause * _FACTOR, _LAST)
