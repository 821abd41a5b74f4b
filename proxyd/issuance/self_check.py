"""Whether port 80 of a name leads to this server: ask for a nonce that nobody else can answer."""

import asyncio
import base64
import errno
import hmac
import ipaddress
import os
import secrets

import aiohttp

from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname
from proxyd.core.name_view import Port80, Reached

_SECONDS = 3.0
_LIVES = 60
_MOST_BODY = 4096
_MOST_TEXT = 60
_TIME, _RANDOM, _MAC = 8, 12, 18
_TOKEN_LENGTH = (_TIME + _RANDOM + _MAC + 2) // 3 * 4
CHALLENGE_PATH = "/.well-known/acme-challenge/"


class SelfCheck:
    """Makes nonces, answers them and asks for them. All processes with the same `key` answer each other's."""

    def __init__(self, *, clock: Clock, key: bytes | None = None) -> None:
        self.key = key or secrets.token_bytes(32)
        self._clock = clock

    def answer(self, token: str) -> str | None:
        """Return the answer to a nonce that was made with our key in the last minute, else None."""
        if len(token) != _TOKEN_LENGTH:
            return None
        try:
            raw = base64.urlsafe_b64decode(token)
        except ValueError:
            return None
        body, mac = raw[:-_MAC], raw[-_MAC:]
        age = self._clock.now().timestamp() - int.from_bytes(body[:_TIME])
        if not -_LIVES < age < _LIVES or not hmac.compare_digest(mac, self._mac(b"nonce", body)):
            return None
        return self._reply(token)

    async def ask(self, name: Hostname, address: str, port: int) -> Reached:
        """Return who answers for `name` at `address`. Never raises for what the network does; ends within 3 s."""
        body = int(self._clock.now().timestamp()).to_bytes(_TIME) + secrets.token_bytes(_RANDOM)
        token = base64.urlsafe_b64encode(body + self._mac(b"nonce", body)).decode()
        try:
            authority = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
            async with asyncio.timeout(_SECONDS):
                status, content, server = await _get(f"http://{authority}:{port}{CHALLENGE_PATH}{token}", name)
        except TimeoutError:
            return Reached(address, Port80.CLOSED, f"no answer within {_SECONDS:.0f} s")
        except aiohttp.ClientConnectorError as error:
            return _not_connected(address, error.os_error)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reached(address, Port80.OTHER, f"another server answers, not by HTTP ({type(error).__name__})")
        if status == 200 and hmac.compare_digest(content, self._reply(token).encode()):
            return Reached(address, Port80.OURS, "this server answers")
        return Reached(address, Port80.OTHER, f"another server answers (HTTP {status}{server})")

    def _reply(self, token: str) -> str:
        return self._mac(b"reply", token.encode()).hex()

    def _mac(self, purpose: bytes, content: bytes) -> bytes:
        return hmac.digest(self.key, purpose + content, "sha256")[:_MAC]


async def _get(url: str, name: Hostname) -> tuple[int, bytes, str]:
    host = f"[{name}]" if ":" in name.text else name.text
    connector = aiohttp.TCPConnector(force_close=True)
    # No proxy of the environment: the question is who answers at this very address.
    async with (
        aiohttp.ClientSession(connector=connector, trust_env=False, auto_decompress=False) as session,
        session.get(url, headers={"Host": host, "User-Agent": "proxyd"}, allow_redirects=False) as response,
    ):
        content = await response.content.read(_MOST_BODY)
        server = "".join(char if char.isprintable() else " " for char in response.headers.get("Server", ""))
        return response.status, content, f", Server: {server[:_MOST_TEXT]}" if server else ""


def _not_connected(address: str, error: OSError) -> Reached:
    if error.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return Reached(address, Port80.UNKNOWN, "this machine has no way there")
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "no connection"
    return Reached(address, Port80.CLOSED, f"nobody answers ({reason})")
