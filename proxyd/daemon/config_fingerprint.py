"""What tells two configurations apart, without telling what is in them."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache

from proxyd.config.model import Config
from proxyd.config.option import Options

Fingerprint = Mapping[str, str]
_OF_HOSTS = ("hosts", "defaults", "include")


def host_fingerprints(config: Config) -> dict[str, Fingerprint]:
    """Return for each name the options that are not the default, hashed. Hidden secrets look alike."""
    common, its_hash = config.common_acme, _hash(config.common_acme)  # of nearly all
    found: dict[str, Fingerprint] = {}
    for name, options in config.names.items():
        acme = config.acme_of(name)
        found[name.text] = {**_fingerprint(options), "acme": its_hash if acme is common else _hash(acme)}
    return found


def option_fingerprint(config: Config) -> Fingerprint:
    """Return the other options of the file that are not the default, hashed."""
    return {key: text for key, text in _fingerprint(config).items() if key not in _OF_HOSTS}


def changed(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Return the options that differ."""
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _fingerprint(options: Options) -> dict[str, str]:
    found = {}
    for key, default in _defaults(type(options)).items():
        value = getattr(options, key)
        if key not in _OF_HOSTS and value is not default and value != default:
            found[key] = _hash(value)
    return found


@lru_cache
def _defaults(kind: type[Options]) -> Mapping[str, object]:
    return {key: field.get_default(call_default_factory=True) for key, field in kind.model_fields.items()}


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]
