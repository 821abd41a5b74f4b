"""A small real CA for what Pebble cannot do: it validates and signs, and each of its answers can be bent by a script.

The contract suite runs it beside Pebble, so that what is not bent stays honest.
"""

import asyncio
import base64
import contextlib
import json
import secrets
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import josepy
from aiohttp import web
from cryptography import x509

from pebble.server import free_port, make_api_certificate
from tests.support import fake_ca_authority as authority
from tests.support import fake_ca_validation as validation
from tests.support.fake_ca_answer import PREFIX, Answer, Problem, Script

_ALGORITHMS = {"ES256": josepy.ES256, "ES384": josepy.ES384, "RS256": josepy.RS256}


@dataclass(kw_only=True)
class _Request:
    path: str
    payload: Any
    account: str
    jwk: Any


class FakeCa:
    """Runs in a thread. `script[STEP]` bends the answers of a step, `instead[STEP]` answers before anything is done.

    Steps: directory, nonce, account, order, authorization, challenge, finalize, poll, certificate, window, revoke, key.
    """

    def __init__(self, directory: Path, *, http_port: int = 1, tls_port: int = 1, port: int = 0) -> None:
        self.bundle = directory / "pebble-api-ca.pem"
        self.lifetime = timedelta(days=90)
        self.validated = 0  # how many looks at challenge answers have ended
        self.script: dict[str, Script] = {}
        self.instead: dict[str, Callable[[], Answer | None]] = {}
        self.asked: Counter[str] = Counter()
        self.deactivated: list[str] = []
        self.payloads: list[tuple[str, Any]] = []
        self.window: dict[str, Any] | None = None
        self.has_windows = True
        self.meta: dict[str, Any] = {"profiles": {"default": "usual", "short": "short"}}
        self._directory = directory
        self._http_port, self._tls_port = http_port, tls_port
        self._port = port or free_port()
        self._root = authority.authority("Fake Root")
        self._intermediate = authority.authority("Fake Intermediate", self._root)
        self._objects: dict[str, dict[str, Any]] = {}
        self._nonces: set[str] = set()
        self._replaced: set[str] = set()
        self._owners: dict[str, str] = {}  # by certID: the account that ordered it
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return f"{self.base}/directory"

    def root(self) -> bytes:
        return authority.pem(self._root[0]).encode()

    def orders(self) -> int:
        return self.asked["order"]

    def forget_accounts(self) -> None:
        for path in [one for one in self._objects if one.startswith("/account/")]:
            del self._objects[path]

    def __enter__(self) -> "FakeCa":
        self._directory.mkdir(parents=True, exist_ok=True)
        if not self.bundle.exists():
            make_api_certificate(self._directory, self.bundle)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._directory / "pebble-api.pem", self._directory / "pebble-api.key")
        self._runner = web.ServerRunner(web.Server(self._serve, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=context).start()

    async def _stop(self) -> None:
        self._stopping.set()
        await self._runner.cleanup()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0.05)  # connections end in the loop's next rounds

    # One request

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        step, handle = self._step(request.path)
        self.asked[step] += 1
        answer = replaced() if (replaced := self.instead.get(step)) else None
        if answer is None:
            try:
                answer = await handle(await self._read(request))
            except Problem as refused:
                answer = refused.answer
        if script := self.script.get(step):
            answer = script(answer) or answer
        return await self._send(request, answer)

    def _step(self, path: str) -> tuple[str, Callable[[_Request], Awaitable[Answer]]]:
        steps: dict[str, tuple[str, Callable[[_Request], Awaitable[Answer]]]] = {
            "directory": ("directory", self._get_directory),
            "nonce": ("nonce", self._nonce),
            "new-account": ("account", self._new_account),
            "account": ("account", self._account),
            "new-order": ("order", self._new_order),
            "order": ("poll", self._show),
            "authz": ("authorization", self._authorization),
            "challenge": ("challenge", self._challenge),
            "finalize": ("finalize", self._finalize),
            "certificate": ("certificate", self._certificate),
            "window": ("window", self._window),
            "revoke": ("revoke", self._revoke),
            "key": ("key", self._key_change),
        }
        return steps.get(path.split("/")[1], ("unknown", self._unknown))

    async def _read(self, request: web.BaseRequest) -> _Request:
        """Check the JWS (RFC 8555 §6.2 to §6.5)."""
        if request.method in ("GET", "HEAD"):
            return _Request(path=request.path, payload=None, account="", jwk=None)
        if request.headers.get("Content-Type") != "application/jose+json":
            raise Problem("malformed", 415, "content type")
        flat = json.loads(await request.read())
        protected = json.loads(josepy.decode_b64jose(flat["protected"]))
        nonce = protected.get("nonce")
        if nonce not in self._nonces:
            raise Problem("badNonce")
        self._nonces.discard(nonce)
        if protected["url"] != f"{self.base}{request.path}":
            raise Problem("unauthorized", 401, "url header")
        account, jwk = "", protected.get("jwk")
        if jwk is None:
            account = protected["kid"].removeprefix(self.base)
            if account not in self._objects:
                raise Problem("accountDoesNotExist", 400)
            if self._objects[account]["status"] != "valid":
                raise Problem("unauthorized", 403, "account is deactivated")
            jwk = self._objects[account]["jwk"]
        self._verify(flat, protected, jwk)
        text = josepy.decode_b64jose(flat["payload"])
        payload = json.loads(text) if text else None
        self.payloads.append((request.path, payload))
        return _Request(path=request.path, payload=payload, account=account, jwk=jwk)

    @staticmethod
    def _verify(flat: dict[str, str], protected: dict[str, Any], jwk: Any) -> None:
        signed = f"{flat['protected']}.{flat['payload']}".encode()
        key = _key(jwk).key
        if not _ALGORITHMS[protected["alg"]].verify(key, signed, josepy.decode_b64jose(flat["signature"])):
            raise Problem("unauthorized", 401, "signature")

    async def _send(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        if answer.delay:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), answer.delay)
        headers = dict(answer.headers)
        if answer.has_nonce and "Replay-Nonce" not in headers:
            self._nonces.add(nonce := secrets.token_urlsafe(16))
            headers["Replay-Nonce"] = nonce
        body = (
            answer.body if answer.body is not None else b"" if answer.json is None else json.dumps(answer.json).encode()
        )
        if answer.cut:
            response = web.StreamResponse(
                status=answer.status, headers={**headers, "Content-Length": str(len(body) + 9)}
            )
            await response.prepare(request)
            await response.write(body)
            if request.transport:
                request.transport.abort()
            return response
        headers.setdefault("Content-Type", "application/json")
        return web.Response(status=answer.status, body=body, headers=headers)

    # Steps

    async def _unknown(self, request: _Request) -> Answer:
        raise Problem("malformed", 404, "no such thing")

    async def _get_directory(self, request: _Request) -> Answer:
        directory: dict[str, Any] = {
            "newNonce": f"{self.base}/nonce",
            "newAccount": f"{self.base}/new-account",
            "newOrder": f"{self.base}/new-order",
            "revokeCert": f"{self.base}/revoke",
            "keyChange": f"{self.base}/key",
            "meta": self.meta,
        }
        if self.has_windows:
            directory["renewalInfo"] = f"{self.base}/window"
        return Answer(json=directory)

    async def _nonce(self, request: _Request) -> Answer:
        return Answer()

    async def _new_account(self, request: _Request) -> Answer:
        for path, one in self._objects.items():
            if path.startswith("/account/") and one["jwk"] == request.jwk:
                if one["status"] != "valid":
                    raise Problem("unauthorized", 403, "account exists but is deactivated")
                return self._account_answer(path, 200)
        if request.payload.get("onlyReturnExisting"):
            raise Problem("accountDoesNotExist", 400)
        path = f"/account/{secrets.token_hex(4)}"
        contact = request.payload.get("contact", [])
        self._objects[path] = {"jwk": request.jwk, "contact": contact, "status": "valid"}
        return self._account_answer(path, 201)

    def _account_answer(self, path: str, status: int) -> Answer:
        document = {key: self._objects[path][key] for key in ("status", "contact")}
        return Answer(status=status, json=document, headers={"Location": self.base + path})

    async def _account(self, request: _Request) -> Answer:
        changes = request.payload or {}
        self._objects[request.path] |= {key: changes[key] for key in ("status", "contact") if key in changes}
        return self._account_answer(request.path, 200)

    async def _new_order(self, request: _Request) -> Answer:
        replaces = request.payload.get("replaces")
        if replaces is not None:
            self._check_replaces(replaces, request.account)
        number = secrets.token_hex(4)
        authorizations = [self._new_authorization(identifier) for identifier in request.payload["identifiers"]]
        path = f"/order/{number}"
        self._objects[path] = {
            "document": {
                "status": "pending",
                "identifiers": request.payload["identifiers"],
                "authorizations": authorizations,
                "finalize": f"{self.base}/finalize/{number}",
                "expires": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
            },
            "account": request.account,
            "replaces": replaces,
        }
        return Answer(status=201, json=self._objects[path]["document"], headers={"Location": self.base + path})

    def _check_replaces(self, replaces: str, account: str) -> None:
        if replaces not in self._owners:
            raise Problem("malformed", 404, "could not find an order for the given certificate")
        if self._owners[replaces] != account:
            raise Problem("unauthorized", 403, "requester account did not request the certificate being replaced")
        if replaces in self._replaced:
            raise Problem("alreadyReplaced", 409)

    def _new_authorization(self, identifier: dict[str, str]) -> str:
        number = secrets.token_hex(4)
        challenges = []
        for kind in ("http-01", "tls-alpn-01"):
            path = f"/challenge/{number}-{kind}"
            document = {"type": kind, "url": self.base + path, "token": secrets.token_urlsafe(32), "status": "pending"}
            self._objects[path] = {"document": document, "authorization": f"/authz/{number}"}
            challenges.append(document)
        authorization: dict[str, Any] = {"identifier": identifier, "status": "pending", "challenges": challenges}
        self._objects[f"/authz/{number}"] = {"document": authorization}
        return f"{self.base}/authz/{number}"

    def _document(self, path: str) -> dict[str, Any]:
        if path not in self._objects:
            raise Problem("malformed", 404)
        document: dict[str, Any] = self._objects[path]["document"]
        return document

    async def _show(self, request: _Request) -> Answer:
        return Answer(json=self._order(request.path))

    def _order(self, path: str) -> dict[str, Any]:
        order = self._document(path)
        if order["status"] == "pending":
            states = {self._document(one.removeprefix(self.base))["status"] for one in order["authorizations"]}
            if states == {"valid"}:
                order["status"] = "ready"
            elif states - {"valid", "pending"}:
                order["status"] = "invalid"
        return order

    async def _authorization(self, request: _Request) -> Answer:
        document = self._document(request.path)
        if request.payload:
            if document["status"] not in ("pending", "valid"):
                raise Problem("malformed", 400, "nothing to deactivate")
            document["status"] = request.payload["status"]
            self.deactivated.append(request.path)
        return Answer(json=document)

    async def _challenge(self, request: _Request) -> Answer:
        document = self._document(request.path)
        if document["status"] == "pending":
            document["status"] = "processing"
            key = _key(request.jwk)
            thumbprint = base64.urlsafe_b64encode(key.thumbprint()).rstrip(b"=").decode()
            task = self._loop.create_task(self._validate(request.path, f"{document['token']}.{thumbprint}"))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return Answer(json=document, headers={"Link": f'<{self.base}/authz>;rel="up"'})

    async def _validate(self, path: str, key_authorization: str) -> None:
        challenge = self._document(path)
        authorization = self._document(self._objects[path]["authorization"])
        name = authorization["identifier"]["value"]
        is_ip = authorization["identifier"]["type"] == "ip"
        if challenge["type"] == "http-01":
            wrong = await validation.http_01(name, self._http_port, challenge["token"], key_authorization)
        else:
            server_name = ip_address(name).reverse_pointer if is_ip else name
            wrong = await validation.tls_alpn_01(server_name, name, self._tls_port, key_authorization)
        if authorization["status"] != "pending":
            return
        challenge["status"] = authorization["status"] = "valid" if wrong is None else "invalid"
        self.validated += 1
        if wrong:
            kind, _, detail = wrong.partition(": ")
            challenge["error"] = {"type": PREFIX + kind, "detail": detail, "status": 400}
            challenge["validationRecord"] = [
                {"hostname": name, "port": str(self._http_port), "addressUsed": "127.0.0.1", "url": f"http://{name}/"}
            ]

    async def _finalize(self, request: _Request) -> Answer:
        path = f"/order/{request.path.rpartition('/')[2]}"
        order = self._order(path)
        if order["status"] != "ready":
            raise Problem("orderNotReady", 403)
        csr = x509.load_der_x509_csr(josepy.decode_b64jose(request.payload["csr"]))
        alternatives = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if sorted(str(one.value) for one in alternatives) != sorted(one["value"] for one in order["identifiers"]):
            raise Problem("badCSR")
        now = datetime.now(UTC).replace(microsecond=0)
        self.sign(path, csr, not_before=now, not_after=now + self.lifetime)
        if replaces := self._objects[path]["replaces"]:
            self._replaced.add(replaces)
        return Answer(json=order)

    def sign(
        self, path: str, csr: x509.CertificateSigningRequest, *, not_before: datetime, not_after: datetime
    ) -> None:
        alternatives = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        certificate = authority.leaf(
            csr.public_key(), alternatives, self._intermediate, not_before=not_before, not_after=not_after
        )
        self._owners[authority.ari_id(certificate)] = self._objects[path]["account"]
        number = path.rpartition("/")[2]
        self._objects[f"/certificate/{number}"] = {"chain": authority.pem(certificate, self._intermediate[0])}
        self._document(path).update(status="valid", certificate=f"{self.base}/certificate/{number}")

    async def _certificate(self, request: _Request) -> Answer:
        chain = self._objects[request.path]["chain"].encode()
        return Answer(body=chain, headers={"Content-Type": "application/pem-certificate-chain"})

    async def _window(self, request: _Request) -> Answer:
        if request.path.rpartition("/")[2] not in self._owners:
            raise Problem("malformed", 404, "no such certificate")
        now = datetime.now(UTC)
        window = {"start": (now + timedelta(days=60)).isoformat(), "end": (now + timedelta(days=62)).isoformat()}
        return Answer(json=self.window or {"suggestedWindow": window}, headers={"Retry-After": "21600"})

    async def _revoke(self, request: _Request) -> Answer:
        return Answer()

    async def _key_change(self, request: _Request) -> Answer:
        inner = request.payload
        protected = json.loads(josepy.decode_b64jose(inner["protected"]))
        self._verify(inner, protected, protected["jwk"])
        change = json.loads(josepy.decode_b64jose(inner["payload"]))
        if (
            change["account"] != self.base + request.account
            or change["oldKey"] != self._objects[request.account]["jwk"]
        ):
            raise Problem("malformed")
        self._objects[request.account]["jwk"] = protected["jwk"]
        return Answer()


def _key(jwk: Any) -> Any:
    return josepy.JWK.from_json(jwk)
