"""The one line that the service manager shows."""

from typing import Any

from proxyd.core.hostname import Hostname
from proxyd.core.status import HostStatus
from proxyd.core.status_words import status_words


def _rows(*rows: HostStatus) -> dict[Hostname, HostStatus]:
    return {row.host: row for row in rows}


def _row(name: str, state: str = "ready", **more: Any) -> HostStatus:
    return HostStatus(host=Hostname(name), state=state, issuer=None, **more)


_FAILING = _row("api.example.com", "waiting", needs_a_person=True, last_error="api.example.com: 404\nfrom somewhere")


def test_all_is_well() -> None:
    assert status_words(_rows(_row("a.test"), _row("b.test")), lambda _: "") == "2 hosts ok"
    assert status_words(_rows(_row("a.test")), lambda _: "") == "1 host ok"


def test_who_fails_is_named_with_the_reason_in_a_few_words_or_as_it_failed() -> None:
    rows = _rows(_row("a.test"), _FAILING)
    said = status_words(rows, lambda _: "DNS points elsewhere")
    assert said == "1 host ok, 1 failing: api.example.com: DNS points elsewhere"
    assert status_words(rows, lambda _: "") == "1 host ok, 1 failing: api.example.com: 404 from somewhere"


def test_an_alarm_is_told_first() -> None:
    alarmed = _row("a.test", needs_a_person=True, alarms=("it is not kept",))
    assert status_words(_rows(alarmed), lambda _: "other") == "0 hosts ok, 1 failing: a.test: it is not kept"


def test_who_waits_for_the_first_certificate_does_not_fail() -> None:
    rows = _rows(_row("a.test", "missing", needs_a_person=True), _row("b.test", "ordering", needs_a_person=True))
    assert status_words(rows, lambda _: "") == "0 hosts ok, 2 waiting for a first certificate"


def test_troubles_of_the_whole_come_first_and_no_line_is_endless() -> None:
    said = status_words(_rows(_FAILING), lambda _: "x" * 1000, ["the disk is full\nindeed", "y" * 1000])
    assert said.startswith("the disk is full indeed; yyy")
    assert "\n" not in said
    assert len(said) < 500
