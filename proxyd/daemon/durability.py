"""Whether what is written into the cache will be there tomorrow. Looks without leaving a trace."""

import os
import tempfile
from pathlib import Path

#: File systems in memory.
_GONE_AT_REBOOT = frozenset({"tmpfs", "ramfs", "devtmpfs"})


def durability(cache: Path) -> str:
    """Return in words where the cache is and whether it keeps. Blocks on the disk; never raises OSError."""
    place = cache
    while not place.is_dir() and place != place.parent:
        place = place.parent
    kind = _file_system(place)
    if kind in _GONE_AT_REBOOT:
        return f"NOT durable: {place} is in memory ({kind}), certificates are lost at a reboot: set `cache`"
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"probe")
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            if file.read() != b"probe":
                return f"NOT durable: {place} does not keep what is written: check the disk"
    except OSError as error:
        return f"not writable for this user ({error.strerror}): run this as the user of the daemon"
    if kind == "overlay":
        return "durable only as long as this container (overlay): mount a volume there"
    missing = "" if place == cache else "; the directory will be made at the first start"
    return f"durable ({kind}: written, synced and read back){missing}"


def _file_system(place: Path) -> str:
    """Return the type of the file system, by the longest mount point over `place`; "unknown" when it is not told."""
    try:
        real = place.resolve()
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return "unknown"
    found = (Path("/"), "unknown")
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        mount = Path(fields[4].replace("\\040", " "))
        if real.is_relative_to(mount) and len(mount.parts) >= len(found[0].parts):
            found = (mount, after.split(" ")[0])
    return found[1]
