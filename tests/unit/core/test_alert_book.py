"""Each trouble is told once, again when it grows, and once when it is over."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from proxyd.core.alert_book import AlertBook, Told
from proxyd.core.hostname import Hostname
from proxyd.core.trouble import Trouble, TroubleKind, Urgency

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def trouble(
    host: str = "a.example", urgency: Urgency = Urgency.NOTICED, kind: TroubleKind = TroubleKind.RENEWAL_FAILED
) -> Trouble:
    name = Hostname(host)
    return Trouble(key=f"certificate {host}", kind=kind, urgency=urgency, reason=f"{host}: DNS", hosts=(name,))


def book() -> AlertBook:
    return AlertBook({}, server="machine")


def told(one: AlertBook, at: datetime, *troubles: Trouble) -> list[str]:
    return [notice.summary for notice in one.look(troubles, at)]


def test_once_again_when_it_grows_and_at_its_end() -> None:
    one = book()
    assert told(one, NOW, trouble()) == ["a.example: no new certificate"]
    assert told(one, NOW + MINUTE, trouble()) == []
    fifth = told(one, NOW + HOUR, trouble(urgency=Urgency.FIFTH_LEFT))
    assert fifth == ["a.example: no new certificate, a fifth of its life left"]
    assert told(one, NOW + HOUR, trouble()) == []  # less again
    assert told(one, NOW + 2 * HOUR) == ["resolved: a.example: no new certificate"]
    assert told(one, NOW + 3 * HOUR) == []


def test_another_kind_is_told_once() -> None:
    one, blocked = book(), trouble(kind=TroubleKind.BLOCKED)
    told(one, NOW, trouble())
    assert told(one, NOW + MINUTE, blocked) == ["a.example: no new certificate until somebody does something"]
    for minute in range(2, 20, 2):
        assert told(one, NOW + minute * MINUTE, trouble()) == []
        assert told(one, NOW + (minute + 1) * MINUTE, blocked) == []


def test_what_comes_and_goes_is_told_twice_and_not_all_day() -> None:
    one, seen = book(), 0
    for minute in range(0, 600, 10):
        seen += len(told(one, NOW + minute * MINUTE, trouble()))
        seen += len(told(one, NOW + (minute + 5) * MINUTE))
    assert seen == 3  # that it is there, that it is over, that it is there again
    assert told(one, NOW + 20 * HOUR) == ["resolved: a.example: no new certificate"]


def test_many_hosts_are_one_notice_and_those_that_follow_soon_another_one() -> None:
    one = book()
    assert told(one, NOW, *(trouble(f"{number}.example") for number in range(3))) == [
        "0.example and 2 more: no new certificate"
    ]
    many = [trouble(f"{number}.example") for number in range(9)]
    assert told(one, NOW + MINUTE, *many) == []
    assert told(one, NOW + 6 * MINUTE, *many) == ["3.example and 5 more: no new certificate"]


def test_a_restart_tells_nothing_again() -> None:
    one = book()
    told(one, NOW, trouble(urgency=Urgency.FIFTH_LEFT))
    kept = {key: read for key, was in one.told.items() if (read := Told.read(key, was.to_document()))}
    again = AlertBook(kept, server="machine")
    assert told(again, NOW + MINUTE, trouble()) == []
    assert told(again, NOW + MINUTE, trouble(urgency=Urgency.FIFTH_LEFT)) == []
    assert told(again, NOW + HOUR, trouble(urgency=Urgency.TENTH_LEFT)) != []
    assert told(again, NOW + HOUR + MINUTE) == ["resolved: a.example: no new certificate"]


def test_what_was_not_seen_since_a_restart_is_over_an_hour_later() -> None:
    one = book()
    told(one, NOW, trouble())
    kept = {key: read for key, was in one.told.items() if (read := Told.read(key, was.to_document()))}
    again = AlertBook(kept, server="machine")
    assert told(again, NOW + MINUTE) == []
    assert told(again, NOW + 2 * MINUTE, trouble()) == []  # it is there after all
    again = AlertBook(kept, server="machine")
    assert told(again, NOW + MINUTE) == []
    assert told(again, NOW + HOUR) == []
    assert told(again, NOW + HOUR + MINUTE) == ["resolved: a.example: no new certificate"]


def test_documents_of_another_version_are_no_trouble() -> None:
    for document in ({}, {"kind": "new"}, {"kind": "blocked", "urgency": "x"}, {"kind": "blocked", "urgency": 9}):
        assert Told.read("key", document) is None


def test_what_is_sent() -> None:
    late = replace(trouble(urgency=Urgency.TENTH_LEFT), to_do="Mend the DNS.", runs_out_at=NOW + HOUR, next_try=NOW)
    (notice,) = book().look([late], NOW)
    document = notice.to_document()
    assert document["event"] == "problem"
    assert document["kind"] == "renewal_failed"
    assert document["severity"] == "critical"
    assert document["escalation"] == "one_tenth_left"
    assert document["troubles"] == [
        {
            "key": "certificate a.example",
            "hosts": ["a.example"],
            "host_count": 1,
            "reason": "a.example: DNS",
            "to_do": "Mend the DNS.",
            "runs_out_at": "2026-06-01T13:00:00Z",
            "next_try": "2026-06-01T12:00:00Z",
        }
    ]
    assert "Runs out of road at 2026-06-01 13:00 UTC" in notice.text
    assert "What to do: Mend the DNS." in notice.text
    many = [trouble(f"{number}.example") for number in range(200)]
    (crowd,) = book().look(many, NOW)
    assert len(crowd.text) < 10_000
    assert crowd.to_document()["count"] == 200
