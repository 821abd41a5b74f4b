"""What is to be added to the unit for exports."""

from pathlib import Path

from proxyd.config.host import Export
from proxyd.daemon.sandbox import SHIPPED, hints

UNIT = {**SHIPPED, "ReadWritePaths": "/etc/dovecot/tls -/srv/tls", "SupplementaryGroups": "mail ssl-cert"}


def told(directory: str, group: str | None = None, unit: dict[str, str] = UNIT) -> list[str]:
    return [*hints({Export.model_validate({"dir": directory, "group": group}): None}, unit)]


def test_what_the_unit_allows_is_no_hint() -> None:
    for directory in ("/etc/dovecot/tls", "/srv/tls/here", "/var/lib/proxyd/out", "/run/proxyd/tls"):
        assert told(directory, "mail") == []
    assert told("/etc/tls", unit={"ProtectSystem": "full"}) == []


def test_each_is_said_with_the_line_to_add() -> None:
    (closed,) = told("/etc/postfix/tls")
    assert closed.endswith("ReadWritePaths=/etc/postfix/tls")
    (group,) = told("/etc/dovecot/tls", "postfix")
    assert group.endswith("SupplementaryGroups=postfix")
    assert "ProtectHome" in told("/home/me/tls")[0]
    assert "PrivateTmp" in told("/tmp/tls")[0]


def test_the_shipped_unit_is_what_is_assumed() -> None:
    lines = (Path(__file__).parents[3] / "systemd/proxyd.service").read_text().splitlines()
    assert {f"{key}={value}" for key, value in SHIPPED.items()} <= set(lines)
