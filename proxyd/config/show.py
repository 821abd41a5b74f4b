"""The configuration as it is in force: everything that was written or is the default, without secrets."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from proxyd.config.acme import AcmeOptions
from proxyd.config.document import Location
from proxyd.config.model import Config
from proxyd.config.values import show_duration

HIDDEN = "(hidden)"
#: Whose values are secrets, or URLs that are: who knows the address of a webhook may send to it.
_SECRET_KEY = re.compile(r"(?i)secret|passw|token|hmac|credentials|api_?key")
_SECRET_URLS = ("webhook", "heartbeat")
#: Of header rules: Authorization and Cookie are set, too.
_HEADERS, _SET = "headers", "set"
#: Whose values are shown, but not as they were written: a mistake may be that the secret stands in the wrong place.
_HAVE_SECRETS = ("eab", "ask", "forward_auth")
#: Where null means the defaults.
_ACCESS = "access"


def shown(config: Config) -> dict[str, Any]:
    """Return plain data, as the file would say it; hosts have the `defaults`, and how they get certificates."""
    found = {key: _plain(getattr(config, key)) for key in type(config).model_fields}
    del found["defaults"]
    found["cache"] = str(config.cache_directory)
    found["hosts"] = {host.text: _host(_plain(options), config.acme_of(host)) for host, options in config.hosts.items()}
    return found


def _host(options: dict[str, Any], acme: AcmeOptions) -> dict[str, Any]:
    """Return them with who certifies the host; of `acme` our own CA needs little."""
    shown = _plain(acme)
    if not acme.is_internal:
        return {**options, "acme": shown}
    tls = {**options["tls"], "issuer": acme.server}
    return {**options, "tls": tls, "acme": {key: shown[key] for key in ("key_type", "on_demand")}}


def hides(location: Location) -> bool:
    """Return whether what was written there may be a secret, or have one in it: then no message shows it."""
    keys = [str(part) for part in (location[2:] if location[:1] == ("hosts",) else location)]
    is_header = _HEADERS in keys and _SET in keys
    may_have = any(key in _HAVE_SECRETS or _SECRET_KEY.search(key) for key in keys)
    return keys[:1] == ["alerts"] or is_header or may_have


def _plain(value: object) -> Any:
    match value:
        case BaseModel():
            return {key: _plain_of(key, getattr(value, key)) for key in type(value).model_fields}
        case SecretStr():
            return HIDDEN
        case timedelta():
            return show_duration(value)
        case Mapping():
            return {str(key): _plain_of(str(key), one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case None | bool() | int() | float():
            return value
        case _:
            return without_password(str(value))


def _plain_of(key: str, value: object) -> Any:
    if value is None or isinstance(value, BaseModel):
        return False if value is None and key == _ACCESS else _plain(value)
    if key in _SECRET_URLS:
        url = urlsplit(value.get_secret_value() if isinstance(value, SecretStr) else str(value))
        return f"{url.scheme}://{url.hostname}/{HIDDEN}"
    if key != _SET and _SECRET_KEY.search(key) is None:
        return _plain(value)
    return {str(one): HIDDEN for one in value} if isinstance(value, Mapping) else HIDDEN


def without_password(text: str) -> str:
    """Return it with what stands for a password in its URLs hidden."""
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", rf"\1:{HIDDEN}@", text)
