"""What is written about certificates of clients and cannot work, or is hardly meant."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from proxyd.config.client_trust import ClientTrustError, Key, read_trust
from proxyd.config.document import Location
from proxyd.config.host import HostOptions, HostTls

_KEYS: tuple[Key, ...] = ("client_ca", "client_crl")


class ClientCheck:
    """Looks at one host after the other; each file is read once."""

    def __init__(self, defaults: HostOptions) -> None:
        self._defaults = defaults.tls
        self._seen: dict[tuple[Key, Path], str | None] = {}
        self._said: set[Location] = set()

    def mistakes(self, hosts: Mapping[str, HostOptions]) -> Iterator[tuple[Location, str]]:
        """Yield what says whom to ask, or not to believe, where nothing says whom to believe."""
        is_used = any(options.tls.client_ca is not None for options in hosts.values())
        if self._defaults.client_ca is None and not is_used:
            yield from _without_ca(("defaults",), self._defaults, HostTls())
        for key, options in hosts.items():
            if options.tls is not self._defaults and options.tls.client_ca is None:
                yield from _without_ca(("hosts", key), options.tls, self._defaults)

    def unused(self, place: Location, options: HostOptions) -> Iterator[tuple[Location, str]]:
        """Yield that a host says as which CA, and how, clients are to be asked, and that it is none."""
        tls = options.tls
        if tls.client_ca is None and tls.client_auth == "require" and _is_all_written(tls):
            message = "is null, so that clients are asked for no certificate: name a file if client_auth is meant"
            yield (*place, "tls", "client_ca"), message

    def files(self, place: Location, options: HostOptions) -> Iterator[tuple[Location, str]]:
        """Yield which files of a host cannot be used, once where hosts have them in common."""
        tls = options.tls
        if tls.client_ca is None or tls.client_auth == "none":
            return
        for key in _KEYS:
            file: Path | None = getattr(tls, key)
            if file is None or (broken := self._broken(key, file)) is None:
                continue
            where = ("defaults",) if file == getattr(self._defaults, key) else place
            location = (*where, "tls", key)
            if location not in self._said:
                self._said.add(location)
                yield location, broken

    def _broken(self, key: Key, file: Path) -> str | None:
        if (key, file) not in self._seen:
            try:
                read_trust(key, file)
            except ClientTrustError as error:
                self._seen[key, file] = str(error)
            else:
                self._seen[key, file] = None
        return self._seen[key, file]


def _without_ca(place: Location, tls: HostTls, under: HostTls) -> Iterator[tuple[Location, str]]:
    """Yield what was written in `tls` itself, on top of `under`."""
    is_written = "client_auth" in tls.model_fields_set - under.model_fields_set or tls.client_auth != under.client_auth
    # The example has both, with their defaults.
    is_default = tls.client_auth == "require" and _is_all_written(tls)
    if is_written and tls.client_auth != "none" and not is_default:
        message = (
            "asks for nothing without client_ca: add `client_ca: FILE`, the PEM of the CA that signs your clients' "
            f"certificates, or remove client_auth: {tls.client_auth}"
        )
        yield (*place, "tls", "client_auth"), message
    if tls.client_crl is not None and tls.client_crl != under.client_crl:
        message = "has no effect without client_ca: add `client_ca: FILE`, the PEM of the CA whose list it is"
        yield (*place, "tls", "client_crl"), message


def _is_all_written(tls: HostTls) -> bool:
    return {"client_auth", "client_ca"} <= tls.model_fields_set
