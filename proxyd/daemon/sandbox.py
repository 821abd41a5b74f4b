"""What the sandbox of the systemd unit forbids that the configuration asks for."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from proxyd.config.host import Export
from proxyd.config.model import Config

_UNIT = "proxyd.service"
_SECONDS = 5.0
_ASKED = (
    "LoadState",
    "ProtectSystem",
    "ProtectHome",
    "PrivateTmp",
    "ReadWritePaths",
    "StateDirectory",
    "RuntimeDirectory",
    "SupplementaryGroups",
)
#: The unit that comes with proxyd, for machines on which none is installed yet.
SHIPPED: Mapping[str, str] = {
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "StateDirectory": "proxyd",
    "RuntimeDirectory": "proxyd",
}
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))


def sandbox_hints(config: Config) -> list[str]:
    """Return what to add to the unit for the exports of the configuration. Blocks."""
    exports = dict.fromkeys(one.export for one in config.hosts.values() if one.export is not None)
    if not exports:
        return []
    installed = _installed_unit()
    return [*hints(exports, SHIPPED if installed is None else installed)]


def hints(exports: Mapping[Export, object], unit: Mapping[str, str]) -> Iterator[str]:
    """Yield what is to be added for each directory and group, given the properties of the unit."""
    for directory in dict.fromkeys(one.dir for one in exports):
        if _is_under(directory, _TEMPORARY) and unit.get("PrivateTmp") == "yes":
            yield f"export to {directory}: {_UNIT} has a /tmp of its own (PrivateTmp=yes): choose another place"
        elif _is_under(directory, _HOMES) and unit.get("ProtectHome") not in (None, "", "no"):
            yield f"export to {directory}: {_UNIT} sees no home directories (ProtectHome=): choose another place"
        elif unit.get("ProtectSystem") == "strict" and not _is_under(directory, _writable(unit)):
            yield (
                f"export to {directory}: {_UNIT} may not write there (ProtectSystem=strict): make the directory and "
                f"add under [Service] (systemctl edit proxyd): ReadWritePaths={directory}"
            )
    groups = {one.group for one in exports if one.group is not None}
    for group in sorted(groups.difference(unit.get("SupplementaryGroups", "").split())):
        yield (
            f"export.group {group}: the daemon must be a member; add under [Service] (systemctl edit proxyd): "
            f"SupplementaryGroups={group}"
        )


def _writable(unit: Mapping[str, str]) -> tuple[Path, ...]:
    named = (one.lstrip("-+") for one in unit.get("ReadWritePaths", "").split())
    places = {"StateDirectory": ("/var/lib", "/var/lib/private"), "RuntimeDirectory": ("/run",)}
    own = (Path(root, one) for key, roots in places.items() for one in unit.get(key, "").split() for root in roots)
    return (*map(Path, named), *own)


def _is_under(path: Path, places: tuple[Path, ...]) -> bool:
    return any(path == one or one in path.parents for one in places)


def _installed_unit() -> Mapping[str, str] | None:
    """Return the properties of the unit with all its drop-ins, or None when systemd does not know it."""
    command = ["systemctl", "show", _UNIT, *(f"--property={one}" for one in _ASKED)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return found if found.get("LoadState") == "loaded" else None
