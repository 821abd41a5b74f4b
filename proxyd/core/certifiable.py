"""Which names a CA could take at all."""

import re

from proxyd.core.hostname import Hostname

#: Let's Encrypt's boulder takes no more labels, and needs room for `_acme-challenge.`
_MAX_LABELS, _MAX_LENGTH = 10, 230
_LABEL = re.compile(r"[a-z0-9-]+\Z")


def may_be_certified(host: Hostname, *, public: bool) -> bool:
    """Return whether a CA, a public one with `public`, could take the name at all."""
    labels = host.text.split(".")
    return (
        not host.is_ip_address
        and len(labels) <= _MAX_LABELS
        and len(host.text) <= _MAX_LENGTH
        and all(_LABEL.match(label) for label in labels)
        and (host.is_public or not public)
    )
