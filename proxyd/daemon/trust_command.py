"""`proxyd trust`: the roots of the internal CA, from a running daemon or from what one left in the cache."""

from collections.abc import Mapping
from typing import Any

from proxyd.config.model import Config
from proxyd.core.hostname import Hostname
from proxyd.core.internal_ca import is_local
from proxyd.core.status import rfc3339
from proxyd.store.directory import PRIVATE
from proxyd.store.internal_roots import PLACE, InternalRoots, root_file
from proxyd.store.store import StoreError

Document = Mapping[str, Any]
_MOST_HOSTS = 20


def roots_document(config: Config, roots: InternalRoots) -> Document:
    """Return the roots in use, the limited one first, with the hosts that need each. Blocks on the disk.

    `errors`: what cannot be read; `waiting`: hosts whose root is made with their first certificate.
    """
    named = {one: config.acme_of(one) for one in config.served}
    internal = [Hostname(one.text) for one, acme in named.items() if acme.is_internal]
    found: list[Document] = []
    errors: list[str] = []
    waiting: list[str] = []
    for limited in (True, False):
        hosts = [one.text for one in internal if is_local(one) == limited]
        try:
            root = roots.read(limited=limited)
        except StoreError as error:
            errors.append(str(error))
            continue
        if root is None:
            waiting += hosts
            continue
        if not limited and not hosts:  # nobody should trust more than is needed
            continue
        found.append(
            {
                "name": root.name,
                "limited": limited,
                "hosts": hosts[:_MOST_HOSTS],
                "more_hosts": max(0, len(hosts) - _MOST_HOSTS),
                "fingerprint": root.fingerprint,
                "not_after": rfc3339(root.validity.not_after),
                "file": str(config.cache_directory / PRIVATE / PLACE / root_file(limited=limited)),
                "pem": root.certificate_pem.decode(),
            }
        )
    return {"roots": found, "waiting": waiting[:_MOST_HOSTS], "errors": errors}
