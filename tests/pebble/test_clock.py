"""A machine whose clock is wrong: said, and no order placed."""

import random
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pebble.server import Pebble
from proxyd.core.failure import FailureKind, IssuanceError
from proxyd.issuance.acme_transport import AcmeTransport
from tests.support.clock import FakeClock


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (datetime.now(UTC) + timedelta(hours=5), "ahead of the CA's"),
        (datetime.now(UTC) + timedelta(days=3650), "ahead of the CA's"),
        (datetime(1970, 1, 1, tzinfo=UTC), "before this program was made"),
    ],
)
async def test_a_wrong_clock_is_said(tmp_path: Path, start: datetime, says: str) -> None:
    with Pebble(tmp_path, http_port=1) as pebble:
        transport = AcmeTransport(
            directory_url=pebble.url,
            tls=ssl.create_default_context(cafile=str(pebble.bundle)),
            clock=FakeClock(start),
            rng=random.Random(1),
        )
        try:
            with pytest.raises(IssuanceError, match=says) as caught:
                await transport.directory()
        finally:
            await transport.close()
    assert "timedatectl" in str(caught.value)
    assert caught.value.failure.kind is FailureKind.LOCAL
