"""What differs between two configurations, and when a person has to agree."""

import pytest

from proxyd.core.config_change import ConfigChange, change_lines


def change(old: int, new: int) -> ConfigChange:
    hosts: list[dict[str, dict[str, str]]] = [{f"{n}.example.com": {} for n in range(count)} for count in (old, new)]
    return ConfigChange.between(hosts[0], hosts[1], options=({}, {}))


def test_hosts_and_options() -> None:
    old = {"a": {"upstream": "1"}, "b": {"upstream": "1", "acme": "x"}, "c": {}}
    new = {"b": {"upstream": "2"}, "c": {}, "d": {}}
    found = ConfigChange.between(old, new, options=({"drain": "1"}, {"workers": "2"}))
    assert found.to_document() == {
        "added": ["d"],
        "removed": ["a"],
        "changed": {"b": ["acme", "upstream"]},
        "options": ["drain", "workers"],
        "restart": ["workers"],
    }
    assert [*change_lines(found.to_document())] == [
        "host added: d",
        "host removed: a",
        "host changed: b (acme, upstream)",
        "option changed: drain",
        "option changed: workers (takes effect at the next restart)",
    ]
    assert ConfigChange.between(old, old, options=({}, {})).is_empty


def test_what_a_restart_has_still_to_take_over() -> None:
    now = {"cache": "2"}
    found = ConfigChange.between({}, {}, options=(now, now), started={"cache": "1"})
    assert (found.options, found.restart) == ([], ["cache"])
    assert [*change_lines(found.to_document())] == ["option changed: cache (takes effect at the next restart)"]
    assert ConfigChange.between({}, {}, options=(now, {"cache": "1"}), started={"cache": "1"}).restart == []


@pytest.mark.parametrize(
    ("old", "new", "is_refused"),
    [(10, 5, False), (10, 4, True), (30, 24, False), (29, 23, True), (100, 80, False), (100, 79, True), (6, 0, True)],
)
def test_more_than_five_and_more_than_a_fifth_need_a_yes(old: int, new: int, is_refused: bool) -> None:
    objection = change(old, new).objection
    assert (objection is not None) is is_refused
    if objection is not None:
        assert f"it would drop {old - new} of {old} hosts" in objection
        assert "run `proxyd reload --yes`" in objection
