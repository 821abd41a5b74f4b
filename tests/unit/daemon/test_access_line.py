import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.hostname import Hostname
from proxyd.daemon.access_line import AccessLine
from proxyd.frontend.head_reader import UNREADABLE
from proxyd.proxy.access_log import AccessRecord

#: As log analysers read it.
COMBINED = re.compile(
    r'(\S+) - - \[(\d\d/[A-Z][a-z]{2}/\d{4,}:\d\d:\d\d:\d\d \+0000)\] "([^"]*)" (\d+) (\d+) "([^"]*)" "([^"]*)"'
)
_AT = datetime(2026, 1, 2, 3, 4, 5, 6789, UTC)


def milliseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def record(
    *,
    host: str | None = "a.example.com",
    target: bytes = b"/x?y=z",
    user_agent: bytes = b"",
    seconds: float = 0.01234567,
    client: str = "2001:db8::1",
    kept: bytes = b"",
    user: str = "",
) -> AccessRecord:
    name = None if host is None else Hostname(host)
    block = replace(UNREADABLE.block, user_agent=user_agent)
    request = replace(UNREADABLE, method=b"GET", target=target, block=block, kept=kept)
    return AccessRecord(1.0, seconds, name, client, request, 200, 12, "0123abcd", user)


def test_a_line_of_json() -> None:
    assert json.loads(AccessLine().json(record(user_agent=b"curl/8"), milliseconds(_AT))) == {
        "time": "2026-01-02T03:04:05.006Z",
        "level": "info",
        "logger": "proxyd.access",
        "event": "request",
        "host": "a.example.com",
        "client": "2001:db8::1",
        "user": None,
        "method": "GET",
        "target": "/x?y=z",
        "status": 200,
        "bytes": 12,
        "seconds": 0.0123,
        "request_id": "0123abcd",
        "protocol": "HTTP/1.1",
        "user_agent": "curl/8",
    }


def test_a_line_of_json_never_tells_of_the_one_before() -> None:
    line, at = AccessLine(), milliseconds(_AT)
    told: dict[str, object] = {
        "host": "a.example.com",
        "client": "2001:db8::1",
        "user": None,
        "method": "GET",
        "protocol": "HTTP/1.1",
    }
    one = record()
    others: list[tuple[AccessRecord, dict[str, object]]] = [
        (one, {}),
        (record(host="b.example.com"), {"host": "b.example.com"}),
        (record(host=None), {"host": None}),
        (record(client="192.0.2.1"), {"client": "192.0.2.1"}),
        (record(user="alice"), {"user": "alice"}),
        (one._replace(request=replace(one.request, method=b"POST")), {"method": "POST"}),
        (one._replace(request=replace(one.request, version=20)), {"protocol": "HTTP/2.0"}),
        (record(user_agent=b"x" * 600), {"user_agent": "x" * 600}),
        (record(user_agent=b'"'), {"user_agent": '"'}),
    ]
    for other, said in others:
        assert json.loads(line.json(other, at)).items() >= {**told, "user_agent": None, **said}.items()
        assert json.loads(line.json(one, at)).items() >= {**told, "user_agent": None}.items()


def test_what_it_knows_of_clients_is_bounded() -> None:
    line = AccessLine()
    for number in range(3000):
        assert json.loads(line.json(record(client=f"host{number}"), 0))["client"] == f"host{number}"
    assert len(line._known) <= 1024


def test_who_was_let_in() -> None:
    line, at = AccessLine(), milliseconds(_AT)
    assert json.loads(line.json(record(user='J"örg'), at))["user"] == 'J"örg'
    assert 'client=2001:db8::1 user="a b" method=GET' in line.plain(record(user="a b"), at)
    assert "user=" not in line.plain(record(), at)
    assert line.combined(record(user='a "b" ö'), at).startswith(
        r"2001:db8::1 - a\x20\x22b\x22\x20\xC3\xB6 [02/Jan/2026:"
    )


def test_what_is_not_known() -> None:
    line = AccessLine()
    found = json.loads(line.json(record(host=None), milliseconds(_AT)))
    assert (found["host"], found["user_agent"]) == (None, None)
    assert line.plain(record(host=None), milliseconds(_AT)) == (
        '2026-01-02T03:04:05.006Z INFO    request client=2001:db8::1 method=GET target="/x?y=z" status=200 bytes=12 '
        "seconds=0.0123 request_id=0123abcd"
    )


def test_the_journal_knows_the_time() -> None:
    line = AccessLine().journal(record(target=b"/", user_agent=b"a b"), milliseconds(_AT))
    assert line.startswith("<6>request host=a.example.com client=")
    assert line.endswith(' target=/ status=200 bytes=12 seconds=0.0123 request_id=0123abcd user_agent="a b"')


@given(st.binary(), st.binary(), st.floats(0, 1e6), st.timedeltas(timedelta(0), timedelta(days=800)))
def test_nothing_that_a_client_sends_forges_a_line(
    target: bytes, user_agent: bytes, seconds: float, later: timedelta
) -> None:
    line, one, at = AccessLine(), record(target=target, user_agent=user_agent, seconds=seconds), _AT + later
    for _ in range(2):
        shown = milliseconds(at)
        found = json.loads(line.json(one, shown))
        assert found["target"] == target.decode("latin-1")
        assert found["user_agent"] == (user_agent.decode("latin-1") or None)
        assert found["time"] == at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert abs(found["seconds"] - seconds) <= 0.00005 + seconds * 1e-12
        for text in (
            line.json(one, shown),
            line.plain(one, shown),
            line.journal(one, shown),
            line.combined(one, shown),
        ):
            assert text.isprintable()
        assert COMBINED.fullmatch(line.combined(one, shown))


def test_the_time_goes_on() -> None:
    line = AccessLine()
    for at in (_AT, _AT + timedelta(milliseconds=1), _AT + timedelta(seconds=58), _AT - timedelta(days=1), _AT):
        found = json.loads(line.json(record(), milliseconds(at)))
        assert found["time"] == at.isoformat(timespec="milliseconds")[:-6] + "Z"


def test_the_combined_format() -> None:
    kept = b"\r\nAccept: */*\r\nReferer:  https://a.example.com/?q=1 \r\nX-Referer: no"
    one = record(target=b'/"\x1b\xe4\\', user_agent=b'Mozilla/5.0 "(X11)"', kept=kept)
    assert AccessLine().combined(one, milliseconds(_AT)) == (
        '2001:db8::1 - - [02/Jan/2026:03:04:05 +0000] "GET /\\x22\\x1B\\xE4\\x5C HTTP/1.1" 200 12 '
        '"https://a.example.com/?q=1" "Mozilla/5.0 \\x22(X11)\\x22"'
    )
    assert '"https://a.example.com/"' in AccessLine(query=False).combined(one, milliseconds(_AT))
    nothing = record(client="", target=b"/")
    assert AccessLine().combined(nothing, milliseconds(_AT)) == (
        '- - - [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 12 "-" "-"'
    )
