"""What can never work is refused with its place; what hardly will is a warning."""

import pytest

from proxyd.config.document import ConfigError
from proxyd.config.load import parse
from proxyd.core.hostname import Hostname

HOST = "hosts:\n  example.com: 8080\n"
NO_HTTP = "listen: {http: [], http2: false}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HOST + "acme: {challenges: []}\n", ["f:3:20: acme.challenges: leaves no way to prove that a host is yours"]),
        (
            HOST + NO_HTTP + "acme: {challenges: [http-01]}\n",
            ["f:4:20: acme.challenges: nothing listens for http-01, because listen.http is []"],
        ),
        (
            HOST + "listen: {https: []}\nacme: {challenges: [tls-alpn-01]}\n",
            ["f:4:20: acme.challenges: nothing listens for tls-alpn-01, because listen.https is []"],
        ),
        (
            HOST + "listen: {https: [], http: []}\n",
            ["acme.challenges: nothing listens for tls-alpn-01 and http-01, because listen.https and listen.http is"],
        ),
        (
            HOST + "acme: {fallback: [{server: letsencrypt}]}\n",
            ["f:3:28: acme.fallback[0].server: letsencrypt is asked before: name another CA"],
        ),
        (
            HOST + "acme: {fallback: [{server: 'https://ca.test/d'}, {server: 'https://ca.test/d'}]}\n",
            ["acme.fallback[1].server: https://ca.test/d is asked before"],
        ),
        (
            HOST + "acme: {fallback: [{server: 'https://ca.test/d', key_type: p384, challenges: [http-01]}]}\n",
            [
                "f:3:59: acme.fallback[0].key_type: belongs to acme itself and holds for every CA",
                "acme.fallback[0].challenges: belongs to acme itself",
            ],
        ),
        (
            "hosts:\n  a.com: {upstream: 1, acme: {challenges: []}}\n  b.com: {upstream: 1, acme: {challenges: []}}\n",
            ["f:2:43: hosts.a.com.acme.challenges:", "f:3:43: hosts.b.com.acme.challenges:"],
        ),
        (
            "acme: {challenges: []}\nhosts:\n  a.com: {upstream: 1, acme: {email: a@b.com}}\n  b.com: 1\n",
            ["f:1:20: acme.challenges:"],  # once, not for each host
        ),
        (
            "defaults: {acme: {challenges: []}}\nhosts:\n  a.com: 1\n  b.com: 1\n",
            ["f:1:31: defaults.acme.challenges:"],
        ),
        (
            NO_HTTP + "hosts:\n  a.com: {upstream: 1, acme: {challenges: [http-01]}}\n  b.com: 1\n",
            ["f:3:43: hosts.a.com.acme.challenges: nothing listens for http-01"],
        ),
        (
            "acme: {challenges: []}\nhosts:\n  a.com: {upstream: 1, acme: {email: a@b.com}}\n",
            ["f:3:30: hosts.a.com.acme.challenges:"],
        ),
    ],
)
def test_what_can_never_work_is_refused(text: str, says: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    shown = [one.show("f") for one in caught.value.mistakes]
    assert len(shown) == len(says)
    assert all(one in line for one, line in zip(says, shown, strict=True)), shown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HOST, None),
        (HOST + "acme: {server: zerossl, eab: {kid: a, hmac_key: b}}\n", None),
        (HOST + NO_HTTP, None),
        (
            HOST + "acme: {server: zerossl}\n",
            "f:3:16: acme.server: warning: zerossl makes no account without eab: add the kid and hmac_key",
        ),
        (
            HOST + "acme: {fallback: [{server: google}]}\n",
            "f:3:28: acme.fallback[0].server: warning: google makes no account without eab",
        ),
        (
            HOST + NO_HTTP + "acme: {challenges: [http-01, tls-alpn-01]}\n",
            "f:4:20: acme.challenges: warning: http-01 is not tried, because listen.http is []",
        ),
        (
            "acme: {server: zerossl}\nhosts:\n  a.com: {upstream: 1, acme: {email: a@b.com}}\n  b.com: 1\n",
            "f:1:16: acme.server: warning:",
        ),
    ],
)
def test_what_may_work_all_the_same_is_a_warning(text: str, says: str | None) -> None:
    found = parse(text, "f").warnings
    assert len(found) == (says is not None)
    assert says is None or found[0].startswith(says)


def test_only_what_something_listens_for_is_tried() -> None:
    config = parse(HOST + NO_HTTP + "acme: {fallback: [{server: 'https://ca.test/d'}]}\n", "f")
    chosen = config.acme_of(Hostname("example.com"))
    assert chosen.challenges == ("tls-alpn-01",)
    assert chosen.fallback[0].challenges == ("tls-alpn-01",)
    assert parse(HOST, "f").acme_of(Hostname("example.com")).challenges == ("tls-alpn-01", "http-01")


def test_a_host_may_have_a_fallback_of_all_as_its_first_ca() -> None:
    text = "acme: {fallback: [{server: 'https://a.test/d'}, {server: 'https://b.test/d'}]}\n"
    text += "hosts:\n  example.com: {upstream: 1, acme: {server: 'https://a.test/d'}}\n"
    chosen = parse(text, "f").acme_of(Hostname("example.com"))
    assert (chosen.server, [one.server for one in chosen.fallback]) == ("https://a.test/d", ["https://b.test/d"])
