"""What the files that serve are called, in a directory that autocert reads too."""

from proxyd.core.hostname import Hostname
from proxyd.core.key_family import KeyFamily

_RSA = "+rsa"
#: For the longest names, of 252 and 253 characters: a file's has at most 255.
_SHORT = "+r"
_LONGEST = 255


def live_file(host: Hostname, family: KeyFamily) -> str:
    """Return the name of the file with a host's certificate of a family."""
    if family == "ec":
        return host.text
    return host.text + (_RSA if len(host.text) + len(_RSA) <= _LONGEST else _SHORT)


def host_of(file: str) -> Hostname | None:
    """Return whose certificate a file of this name holds, or None: it is none of ours."""
    host = Hostname.from_wire(file.removesuffix(_RSA).removesuffix(_SHORT))
    return host if host and file in (live_file(host, "ec"), live_file(host, "rsa")) else None
