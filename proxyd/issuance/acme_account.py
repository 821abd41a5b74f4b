"""Our account at one CA (RFC 8555 §7.3): made at most once, made anew when it is lost."""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import josepy
from acme import messages

from proxyd.certs.key import PrivateKey, generate_key, key_kind
from proxyd.core.failure import FailureKind, IssuanceError
from proxyd.issuance.acme_error import AcmeProblem, account_is_lost, may_pass
from proxyd.issuance.acme_signer import AccountSigner
from proxyd.issuance.acme_transport import AcmeResponse, AcmeTransport
from proxyd.store.account_keys import AccountKeys, KeptKey
from proxyd.store.store import StoreError

_log = logging.getLogger("proxyd.issuance")
#: What a problem is called that elsewhere concerns a name or an order.
_OF_A_HOST = (FailureKind.VALIDATION, FailureKind.HOST_REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalBinding:
    """What the CA gave to tie the ACME account to one of its customers (RFC 8555 §7.3.4)."""

    kid: str
    hmac_key: str = field(repr=False)  # base64url


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """What the CA says of an account; its text is hostile until shown escaped. `thumbprint`: of the key (RFC 7638)."""

    url: str
    status: str
    contact: tuple[str, ...]
    orders: str | None
    key_kind: str
    thumbprint: str


class AcmeAccount:
    """Registered when first needed. `may_register` raises IssuanceError when a new account would be one too many."""

    def __init__(
        self,
        *,
        issuer: str,
        transport: AcmeTransport,
        keys: AccountKeys,
        email: str | None,
        binding: ExternalBinding | None = None,
        may_register: Callable[[], None] = lambda: None,
    ) -> None:
        self._issuer = issuer
        self._transport = transport
        self._keys = keys
        self._email = email
        self._binding = binding
        self._may_register = may_register
        self.key_files: tuple[str, ...] = ()  # that hold the key which was found
        self._signer: AccountSigner | None = None
        self._registering = asyncio.Lock()
        self._failure: IssuanceError | None = None
        self._attempts = 0

    @property
    def url(self) -> str | None:
        """Return the account's URL once it is known."""
        return self._signer.url if self._signer else None

    async def signer(self) -> AccountSigner:
        """Return who signs; with a known key the CA gives the existing account (§7.3.1). Raises IssuanceError.

        Who waited for an attempt that failed shares its failure: a refused account is asked for once, not by each host.
        """
        seen = self._attempts
        async with self._registering:
            if self._signer is not None:
                return self._signer
            if self._attempts != seen and self._failure is not None:
                raise self._failure
            self._attempts += 1
            try:
                self._signer = await self._register()
            except IssuanceError as error:
                self._failure = error
                raise
            self._failure = None
            return self._signer

    def forget_url(self, url: str | None) -> None:
        """Register again at the next need: the CA does not know the account at `url`."""
        if self._signer is not None and self._signer.url == url:
            self._signer = None

    def forget(self) -> None:
        """Look for the account anew at the next need: its key may have been replaced."""
        self._signer = None

    async def look(self) -> AccountView | None:
        """Return what the CA says of the account; None: there is none, and none is made. Raises IssuanceError."""
        async with self._registering:
            if self._signer is None:
                self._signer, _ = await self._found()
            if (signer := self._signer) is None:
                return None
        known = (await self._transport.post(signer.url, None, signer)).json
        contact = known.get("contact")
        return AccountView(
            url=signer.url or "",
            status=str(known.get("status"))[:40],
            contact=tuple(str(one)[:200] for one in contact[:10]) if isinstance(contact, list) else (),
            orders=str(known["orders"])[:500] if "orders" in known else None,
            key_kind=key_kind(signer.key),
            thumbprint=signer.thumbprint,
        )

    async def rotate_key(self) -> None:
        """Replace the account key (§7.3.5). The old one stays valid and kept until the CA has agreed.

        Raises IssuanceError; then, and after a kill, whichever key the CA knows is found at the next need.
        """
        async with self._registering:
            old = self._signer or (await self._found())[0]
            if old is None:
                raise IssuanceError(FailureKind.LOCAL, f"there is no account at {self._issuer} yet: nothing to replace")
            self._signer = None
            self._signer = await self._rotated(old)
        _log.info("account key replaced", extra={"issuer": self._issuer, "account": old.url})

    async def _rotated(self, old: AccountSigner) -> AccountSigner:
        url = (await self._transport.directory()).get("keyChange")
        if not isinstance(url, str):
            raise IssuanceError(FailureKind.CA, f"the CA {self._issuer} offers no change of account keys")
        key = generate_key("p256")
        payload = json.dumps({"account": old.url, "oldKey": old.jwk.public_key().to_partial_json()}).encode()
        new = AccountSigner(key)
        inner = new.sign(payload, nonce=None, url=url)
        await self._keep(key, pending=True)
        await self._transport.post(url, json.loads(inner), old)
        await self._keep(key)
        return replace(new, url=old.url)

    async def _found(self) -> tuple[AccountSigner | None, list[KeptKey]]:
        """Return the account of a key that is kept, and the keys."""
        kept = await asyncio.to_thread(self._keys.load)
        directory = await self._transport.directory()
        for place, one in enumerate(kept):
            if any(_are_same(one.key, other.key) for other in kept[:place]):
                continue  # the CA was asked for this key already
            files = tuple(other.file for other in kept if _are_same(other.key, one.key))
            if found := await self._existing(AccountSigner(one.key), directory["newAccount"], files):
                self.key_files = files
                if not one.is_used:  # the CA had agreed when a change of keys was cut off, or it was the first CA once
                    await self._keep(one.key)
                return found, kept
        return None, kept

    async def _register(self) -> AccountSigner:
        found, kept = await self._found()
        if found is not None:
            return found
        directory = await self._transport.directory()
        self._may_register()
        own = next((one.key for one in kept if one.is_own), None)
        key = own or generate_key("p256")
        # A key that the CA does not know may be another CA's, which keeps it when this one's is replaced.
        await self._keep(key, apart=own is not None)
        signer = AccountSigner(key)
        answer = await self._make(self._registration(signer, directory), directory["newAccount"], signer)
        if answer.location is None:
            raise IssuanceError(FailureKind.CA, f"the CA {self._issuer} made an account without a URL")
        _log.info("account made", extra={"issuer": self._issuer, "account": answer.location})
        return replace(signer, url=answer.location)

    async def _make(self, wish: dict[str, Any], url: object, signer: AccountSigner) -> AcmeResponse:
        try:
            return await self._transport.post(url, wish, signer, repeatable=True)
        except AcmeProblem as refused:
            if may_pass(refused):
                raise
            advice = "check acme.email"
            if self._binding is not None:
                advice = "check acme.eab: kid and hmac_key must be as the CA gave them, and some can be used only once"
            elif refused.problem.kind == "externalAccountRequired":
                advice = "set acme.eab to the kid and hmac_key that the CA gave you"
            told = f"{self._issuer} makes no account for us"
            raise IssuanceError(
                FailureKind.ACCOUNT_REFUSED,
                f"{told}: {refused}; {advice}",
                cause=f"{told}: {refused.problem.title}; {advice}",
                problem=refused.problem,
            ) from refused

    async def _existing(self, signer: AccountSigner, url: object, files: Sequence[str]) -> AccountSigner | None:
        try:
            answer = await self._transport.post(url, {"onlyReturnExisting": True}, signer, repeatable=True)
        except AcmeProblem as refused:
            if refused.problem.kind == "accountDoesNotExist":
                return None
            if refused.failure.kind not in _OF_A_HOST:
                raise
            raise AcmeProblem(
                FailureKind.ACCOUNT_REFUSED,
                f"{self._issuer} does not take our account",
                refused.problem,
                advice=account_is_lost(files),
            ) from refused
        if answer.location is None:
            return None
        _log.info("account found", extra={"issuer": self._issuer, "account": answer.location})
        found = replace(signer, url=answer.location)
        await self._tell_contact(found, answer.json.get("contact"))
        return found

    async def _tell_contact(self, signer: AccountSigner, known: object) -> None:
        """Tell the CA a changed address (§7.3.2). It serves people only: a refusal stops nothing."""
        contact = [f"mailto:{self._email}"] if self._email else None
        if contact is None or known == contact:
            return
        try:
            await self._transport.post(signer.url, {"contact": contact}, signer, repeatable=True)
        except IssuanceError as error:
            _log.warning("the CA does not take acme.email", extra={"issuer": self._issuer, "reason": str(error)})

    def _registration(self, signer: AccountSigner, directory: Any) -> dict[str, Any]:
        wish: dict[str, Any] = {"termsOfServiceAgreed": True}
        if self._email:
            wish["contact"] = [f"mailto:{self._email}"]
        if self._binding is None:
            return wish
        try:
            bound = messages.ExternalAccountBinding.from_data(
                account_public_key=signer.jwk.public_key(),
                kid=self._binding.kid,
                hmac_key=self._binding.hmac_key,
                directory=messages.Directory({"newAccount": directory["newAccount"]}),
            )
        except (ValueError, josepy.Error):
            message = f"acme.eab.hmac_key for {self._issuer} is not base64url: copy it again from the CA"
            raise IssuanceError(FailureKind.ACCOUNT_REFUSED, message) from None
        return {**wish, "externalAccountBinding": bound}

    async def _keep(self, key: PrivateKey, *, pending: bool = False, apart: bool = False) -> None:
        try:
            await asyncio.to_thread(self._keys.save, key, pending=pending, apart=apart)
        except StoreError as error:  # never make an account that would be lost
            raise IssuanceError(FailureKind.LOCAL, f"the account key cannot be kept: {error}") from error


def _are_same(one: PrivateKey, other: PrivateKey) -> bool:
    return AccountSigner(one).thumbprint == AccountSigner(other).thumbprint
