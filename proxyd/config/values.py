"""The scalar values of the file: durations, sizes, addresses, upstreams, networks, host names."""

import base64
import ipaddress
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer, SecretStr, ValidationInfo, WithJsonSchema

from proxyd.core.hostname import Hostname, InvalidHostname
from proxyd.core.networks import PRIVATE, Network, network_of

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"B": 1, "KB": 1000, "MB": 10**6, "GB": 10**9, "KIB": 1024, "MIB": 2**20, "GIB": 2**30}
_NO_SECRET = "must be a secret in quotes, or ${ENV_NAME}, file:/path, credential:NAME"


class HiddenValueError(ValueError):
    """A wrong value that no message may show: it has something secret in it."""


def parse_duration(written: object) -> timedelta:
    """Return `10s`, `5m`, `1h30m`, `7d` or 0 as a duration. Raises ValueError."""
    if isinstance(written, timedelta):
        return written
    if written == 0 and not isinstance(written, bool):
        return timedelta(0)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", written) if isinstance(written, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != str(written).replace(" ", ""):
        hint = f": did you mean {written}s?" if type(written) in (int, float) else ", like 10s, 5m, 1h or 7d"
        raise ValueError(f"must be a duration with a unit{hint}")
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError:
        raise ValueError("is too long for a duration") from None


def show_duration(value: timedelta) -> str:
    """Return it as it is written: `1h30m`, `500ms`, `0s`."""
    left, text = round(value.total_seconds() * 1000), ""
    for unit, size in reversed(_UNITS.items()):
        count, left = divmod(left, round(size * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def parse_size(written: object) -> int:
    """Return `16KiB`, `10MiB` or a plain number of bytes. Raises ValueError."""
    if isinstance(written, int) and not isinstance(written, bool) and written >= 0:
        return written
    match = re.fullmatch(r"(\d+)\s*([KMG]i?B|B)?", written, re.IGNORECASE) if isinstance(written, str) else None
    if match is None:
        raise ValueError("must be a size, like 16KiB or 10MiB")
    return int(match[1]) * _SIZES[(match[2] or "B").upper()]


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen; `host` None means both families."""

    host: str | None
    port: int

    @classmethod
    def parse(cls, written: object) -> "ListenAddress":
        """Return `:443`, `443`, `127.0.0.1:8443` or `[::1]:8443`. Raises ValueError."""
        text = str(written) if isinstance(written, int | str) and not isinstance(written, bool) else ""
        host, _, port = text.rpartition(":")
        if not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(
                'must be HOST:PORT or ":PORT" with a port from 0 to 65535, like ":443" or "127.0.0.1:8443"'
            )
        bare = host.removeprefix("[").removesuffix("]")
        if not bare or bare == "*":
            return cls(None, int(port))
        if bare == "localhost":
            bare = "127.0.0.1"
        try:
            return cls(ipaddress.ip_address(bare).compressed, int(port))
        except ValueError:
            raise ValueError(
                f'must name an IP address of this machine, not {bare!r}; for all of them write ":{port}"'
            ) from None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.host and ":" in self.host else f"{self.host or ''}:{self.port}"


@dataclass(frozen=True, slots=True)
class DnsServerAddress:
    """A DNS server that is asked."""

    address: str
    port: int

    @classmethod
    def parse(cls, written: object) -> "DnsServerAddress":
        """Return `9.9.9.9`, `9.9.9.9:5353`, `2620:fe::fe` or `[2620:fe::fe]:5353`. Raises ValueError."""
        text = written.strip() if isinstance(written, str) else ""
        host, port = text, "53"
        if text.startswith("["):
            host, _, rest = text[1:].partition("]")
            port = rest.removeprefix(":") if rest else port
        elif text.count(":") == 1:
            host, _, port = text.partition(":")
        try:
            address = ipaddress.ip_address(host).compressed
        except ValueError:
            raise ValueError(
                "must be the IP address of a DNS server, with a port if it is not 53, "
                'like "9.9.9.9", "127.0.0.1:5353" or "[2001:db8::1]:53"'
            ) from None
        if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"must have a port from 1 to 65535, not {port[:20]!r}")
        return cls(address, int(port))

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class UpstreamAddress:
    """A server that requests are proxied to; `path` is set for unix sockets only."""

    scheme: str
    host: str
    port: int
    path: str | None = None

    @classmethod
    def parse(cls, written: object) -> "UpstreamAddress":
        """Return `http://127.0.0.1:8080`, `8080`, `:8080`, `localhost:8080` or `unix:/path`. Raises ValueError."""
        text = str(written).strip() if isinstance(written, int | str) and not isinstance(written, bool) else ""
        if not text:
            raise ValueError("must be the address of your application, like http://127.0.0.1:8080")
        if text.startswith("unix:"):
            path = text.removeprefix("unix:").removeprefix("//")
            if not path.startswith("/"):
                raise ValueError("a unix socket needs an absolute path: unix:/run/app.sock")
            return cls("unix", "localhost", 0, path)
        if text.isdigit():
            text = f"http://127.0.0.1:{text}"
        elif text.startswith(":") and text[1:].isdigit():
            text = f"http://127.0.0.1{text}"
        elif re.fullmatch(r"(localhost|127\.0\.0\.1|\[::1\]):\d+", text):
            text = f"http://{text}"
        elif "://" not in text:
            raise ValueError(f"{text!r} has no scheme: write http://{text} (or https://{text} if it speaks TLS)")
        return cls._from_url(text)

    @classmethod
    def _from_url(cls, text: str) -> "UpstreamAddress":
        try:
            url = urlsplit(text)
            port, host = url.port, url.hostname
        except ValueError as error:
            raise ValueError(f"{text!r} is not a URL: {error}") from None
        if url.scheme not in ("http", "https"):
            raise ValueError(f"{text!r}: the scheme must be http, https or unix, not {url.scheme!r}")
        if url.username is not None or url.query or url.fragment or url.path not in ("", "/"):
            raise ValueError(
                f"{text!r} has more than scheme, host and port: write {url.scheme}://{host}:{port or 80}; "
                "the path of each request is passed on as it is"
            )
        if port == 0:
            raise ValueError(f"{text!r}: nothing listens on port 0: write the port of your application")
        try:
            name = Hostname.parse(host or "")
        except InvalidHostname as error:
            raise ValueError(f"{text!r}: {error}") from None
        return cls(url.scheme, name.text, port if port is not None else (443 if url.scheme == "https" else 80))

    @property
    def authority(self) -> str:
        """Return host and port as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def host_field(self) -> bytes:
        """Return what a Host line says of it: without the port that its scheme implies."""
        is_implied = self.path is not None or self.port == {"http": 80, "https": 443}[self.scheme]
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (host if is_implied else self.authority).encode()

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{self.scheme}://{self.authority}"


def parse_hostname(written: object) -> Hostname:
    """Return a host name. Raises ValueError that says what to write."""
    if not isinstance(written, str):
        raise ValueError(f'must be a host name in quotes, like "{written}"')
    if "*" in written:
        raise ValueError(f'{written!r} is a wildcard: give it an entry of its own under hosts, "{written}": …')
    return Hostname.parse(written)


def read_secret(written: object, info: ValidationInfo) -> object:
    """Read a secret, but for who only looks at the file and may lack the right or the environment of the service."""
    if isinstance(written, SecretStr):
        return written
    is_elsewhere = isinstance(written, str) and is_credential(written) and not _credentials()
    reads = info.context is None or info.context["reads_secrets"]
    if not reads or (is_elsewhere and info.context is not None and not info.context["serves"]):
        return parse_reference(written)
    return parse_secret(written)


def parse_reference(written: object) -> str:
    """Return what stands for a secret, which is not read. Raises ValueError."""
    if not isinstance(written, str) or not written:
        raise HiddenValueError(_NO_SECRET)
    return written


def is_reference(written: str) -> bool:
    """Return whether it stands for a secret that is somewhere else."""
    return re.fullmatch(r"\$\{\w+\}", written) is not None or written.startswith("file:") or is_credential(written)


def is_credential(written: str) -> bool:
    """Return whether it stands for a secret that systemd passes to the service."""
    return written.startswith("credential:")


def parse_secret(written: object) -> str:
    """Return a secret given as it is, as `${ENV_NAME}`, `file:/path` or `credential:NAME`. Raises ValueError."""
    if not isinstance(written, str) or not written:
        raise HiddenValueError(_NO_SECRET)
    if match := re.fullmatch(r"\$\{(\w+)\}", written):
        if match[1] not in os.environ:
            raise ValueError(
                f"the environment has no {match[1]}: set it for the service (Environment=, EnvironmentFile=)"
            )
        if not (found := os.environ[match[1]]):
            raise ValueError(f"{match[1]} is empty in the environment: give it the secret")
        return found
    if written.startswith("file:"):
        return _secret_file(Path(written.removeprefix("file:")))
    if written.startswith("credential:"):
        directory, name = _credentials(), written.removeprefix("credential:")
        if not directory or "/" in name:
            raise ValueError(f"systemd passed no credential {name}: add LoadCredential={name}:/path to the unit")
        return _secret_file(Path(directory) / name)
    return written.replace("$$", "$")


def parse_pin(written: object) -> str:
    """Return `sha256:HEX` or `sha256:BASE64`, the hash of a public key, as the former. Raises ValueError."""
    kind, _, text = written.strip().partition(":") if isinstance(written, str) else ("", "", "")
    try:
        digest = bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text, validate=True)
    except ValueError:
        digest = b""
    if kind != "sha256" or len(digest) != 32:
        raise ValueError(
            "must be sha256: and the hash of the public key (SubjectPublicKeyInfo), 64 hexadecimal digits or base64"
        )
    return f"sha256:{digest.hex()}"


def _parse_wait(written: object) -> timedelta:
    if (found := parse_duration(written)) <= timedelta(0):
        raise ValueError("must be longer than 0, like 10s")
    return found


def _secret_file(path: Path) -> str:
    try:
        found = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ValueError(f"the secret in {path} cannot be read: {reason}") from None
    if not found:
        raise ValueError(f"the secret in {path} is empty")
    return found


def _credentials() -> str | None:
    return os.environ.get("CREDENTIALS_DIRECTORY")


def _network(written: object) -> Network:
    text = str(written)
    try:
        return network_of(text)
    except ValueError as error:
        raise ValueError(f"must be a network like 10.0.0.0/8 or 2001:db8::/32{_meant(text) or f': {error}'}") from None


def _meant(network: str) -> str:
    try:
        return f": did you mean {ipaddress.ip_network(network, strict=False)}?"
    except ValueError:
        return ""


def _with_private(written: object) -> object:
    """Read `private` among networks as the private ones."""
    if not isinstance(written, list | tuple | str):
        return written
    networks: list[object] = []
    for one in as_list(written):
        networks += PRIVATE if one == "private" else [one]
    return networks


def as_list(written: object) -> list[object]:
    """Read one value as a list of it."""
    return list(written) if isinstance(written, list | tuple) else [written]


def _schema(kind: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **more})


_text = PlainSerializer(str, return_type=str)
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["10s", "5m", "1h", "7d"]}),
]
Wait = Annotated[timedelta, BeforeValidator(_parse_wait), _schema("string", examples=["10s", "5m"])]
Count = Annotated[int, Field(ge=1)]
Size = Annotated[
    int, BeforeValidator(parse_size), WithJsonSchema({"type": ["string", "integer"], "examples": ["16KiB"]})
]
#: Of file names.
Patterns = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(as_list),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
Listen = Annotated[
    tuple[Annotated[ListenAddress, BeforeValidator(ListenAddress.parse), _text, _schema("string")], ...],
    BeforeValidator(as_list),
    WithJsonSchema({"type": ["string", "integer", "array"], "items": {"type": ["string", "integer"]}}),
]
Upstreams = Annotated[
    tuple[Annotated[UpstreamAddress, BeforeValidator(UpstreamAddress.parse), _text, _schema("string")], ...],
    BeforeValidator(as_list),
    WithJsonSchema({"type": ["string", "integer", "array"], "items": {"type": ["string", "integer"]}}),
]
DnsServers = Annotated[
    tuple[Annotated[DnsServerAddress, BeforeValidator(DnsServerAddress.parse), _text, _schema("string")], ...],
    BeforeValidator(as_list),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
Pin = Annotated[str, BeforeValidator(parse_pin), _schema("string", examples=["sha256:…"])]
Secret = Annotated[SecretStr, BeforeValidator(read_secret)]
Name = Annotated[Hostname, BeforeValidator(parse_hostname), _text, _schema("string")]
Networks = Annotated[
    tuple[Annotated[Network, BeforeValidator(_network), _text, _schema("string")], ...],
    BeforeValidator(_with_private),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
File = Annotated[
    Path, BeforeValidator(lambda written: Path(written).expanduser() if isinstance(written, str) else written)
]
