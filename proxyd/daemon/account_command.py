"""`proxyd account`: what the CAs know of us, and a new key for it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from proxyd.admin.control_socket import Refused, Request, Tell
from proxyd.core.failure import IssuanceError
from proxyd.daemon.certificates import Certificates
from proxyd.daemon.slow import told_if_slow
from proxyd.issuance.acme_account import AcmeAccount

Document = Mapping[str, Any]
_ASK_SECONDS = 100.0
_IDLE_SECONDS = 120.0
_LOOK_SECONDS = 0.1


class AccountCommand:
    """Never makes an account: looking is no need."""

    def __init__(self, *, certificates: Certificates) -> None:
        self._certificates = certificates

    async def show(self, request: Request, tell: Tell) -> Document:
        """Return each CA's view of our account, or why it could not be had."""
        chosen = self._chosen(request)
        views = await asyncio.gather(
            *(told_if_slow(self._look(accounts[0]), _waiting(one, tell)) for one, accounts in chosen.items())
        )
        return {"accounts": dict(zip(chosen, views, strict=True))}

    async def rotate(self, request: Request, tell: Tell) -> Document:
        """Give each account a new key while no order is under way, one after the other."""
        if why := self._certificates.turn.reason:
            raise Refused(f"no key is replaced by a daemon that may not order: {why}", status=1)
        results: dict[str, Document] = {}
        for server, accounts in self._chosen(request).items():
            await self._idle()
            results[server] = await told_if_slow(self._rotate(server, accounts), _waiting(server, tell))
            await tell({"text": results[server]["text"]})
        return {"accounts": results}

    def _chosen(self, request: Request) -> Mapping[str, list[AcmeAccount]]:
        accounts, server = self._certificates.authorities.accounts(), request.arguments.get("server")
        if server is None:
            return accounts
        if server not in accounts:
            raise Refused(f"no host uses {str(server)[:200]}; the CAs in use: {', '.join(accounts)}")
        return {server: accounts[server]}

    async def _look(self, account: AcmeAccount) -> Document:
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                view = await account.look()
        except IssuanceError as error:
            return {"error": str(error)}
        except TimeoutError:
            return {"error": f"the CA did not answer within {_ASK_SECONDS:.0f} s"}
        return {"status": "none"} if view is None else asdict(view)

    async def _idle(self) -> None:
        """Orders under way are signed by the old key to their end."""
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                while True:
                    if not self._certificates.renewer.orders_under_way:
                        return
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            raise Refused("orders are under way all the time: try again later", status=1) from None

    async def _rotate(self, server: str, accounts: list[AcmeAccount]) -> Document:
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                await accounts[0].rotate_key()
        except IssuanceError as error:
            return {"rotated": False, "text": f"{server}: the key was not replaced: {error}"}
        except TimeoutError:
            text = f"{server}: the CA did not answer within {_ASK_SECONDS:.0f} s; the key that it knows is used"
            return {"rotated": False, "text": text}
        finally:
            for other in accounts[1:]:
                other.forget()
        self._certificates.memory.note("account key replaced", None, server)
        return {"rotated": True, "text": f"{server}: the account has a new key"}


def _waiting(server: str, tell: Tell) -> Callable[[], Awaitable[None]]:
    return lambda: tell({"waiting": f"{server}: no answer yet, it is waited for at most {_ASK_SECONDS:.0f} s"})
