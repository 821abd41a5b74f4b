"""What a look says about a first order, and when it is believed."""

import pytest

from proxyd.core.caa import CaaRecord
from proxyd.core.hostname import Hostname
from proxyd.core.name_view import NameView, Port80, Reached
from proxyd.core.preflight import Score, findings

NAME = Hostname("shop.example.com")
OURS = ("ca.example",)
FOR_OTHERS = (CaaRecord(0, "issue", "other.example"),)


def seen(*addresses: str, port80: Port80 = Port80.OURS, caa: tuple[CaaRecord, ...] = ()) -> NameView:
    reached = tuple(Reached(one, port80, "words") for one in addresses)
    return NameView(addresses=addresses, caa=caa, reached=reached)


def test_a_healthy_host_has_no_findings() -> None:
    assert list(findings(NAME, seen("192.0.2.1", caa=(CaaRecord(0, "issue", "ca.example"),)), OURS)) == []


@pytest.mark.parametrize(
    ("view", "definite", "text"),
    [
        (seen(), True, "no address for shop.example.com"),
        (seen("192.0.2.1", caa=FOR_OTHERS), True, "add one that issues to ca.example"),
        (seen("192.0.2.1", port80=Port80.OTHER), False, "192.0.2.1, an address of shop.example.com: words"),
        (seen("192.0.2.1", port80=Port80.CLOSED), False, "port 80 of 192.0.2.1"),
        (NameView(addresses=None, caa=None, trouble="no server answered"), False, "no server answered"),
    ],
)
def test_only_what_the_ca_must_see_too_is_definite(view: NameView, definite: bool, text: str) -> None:
    (found,) = findings(NAME, view, OURS)
    assert found.is_definite is definite
    assert text in found.text


def test_nothing_is_said_of_caa_when_the_ca_does_not_say_its_name() -> None:
    assert list(findings(NAME, seen("192.0.2.1", caa=FOR_OTHERS), ())) == []


def test_it_is_ignored_where_it_was_wrong() -> None:
    score = Score()
    assert score.is_trusted
    score = score.count(predicted=True, definite=True, failed=True).count(predicted=False, definite=False, failed=True)
    assert (score.hits, score.misses, score.is_trusted) == (1, 1, True)
    score = score.count(predicted=True, definite=False, failed=False)
    assert score.is_trusted  # it was not sure
    score = score.count(predicted=True, definite=True, failed=False)
    assert not score.is_trusted
    assert Score.read(score.to_document()) == score


def test_a_broken_score_counts_nothing() -> None:
    assert Score.read({"hits": -1, "misses": "x", "false_alarms": 10**9}) == Score()
