"""What tells two configurations apart, without telling what is in them."""

import hashlib
from collections.abc import Mapping

from proxyd.config.model import Config
from proxyd.config.option import Options

Fingerprint = Mapping[str, str]
_OF_HOSTS = ("hosts", "defaults", "include")


def host_fingerprints(config: Config) -> dict[str, Fingerprint]:
    """Return for each name the options that are not the default, hashed. Hidden secrets look alike."""
    return {
        name.text: {**_fingerprint(options), "acme": _hash(config.acme_of(name))}
        for name, options in config.names.items()
    }


def option_fingerprint(config: Config) -> Fingerprint:
    """Return the other options of the file that are not the default, hashed."""
    return {key: text for key, text in _fingerprint(config).items() if key not in _OF_HOSTS}


def changed(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Return the options that differ."""
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _fingerprint(options: Options) -> dict[str, str]:
    found = {}
    for key, field in type(options).model_fields.items():
        value = getattr(options, key)
        if key not in _OF_HOSTS and value != field.get_default(call_default_factory=True):
            found[key] = _hash(value)
    return found


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]
