"""What clients try at hosts of several policies, and what comes of it: the table of docs/tls.md.

`python -m tests.support.tls_cases` writes the table anew; tests/peers/test_tls_matrix.py sees that it is true.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.support.daemon import ROOT

OPEN, OTHER, MODERN = "open.example.test", "other.example.test", "modern.example.test"
ASKED, OPTIONAL, ELSEWHERE = "asked.example.test", "optional.example.test", "elsewhere.example.test"
CLIENTS: Final = ("openssl", "curl", "Go", "Python")
VERSIONS: Final = ("1.2", "1.3")
_DOCUMENT = ROOT / "docs/tls.md"
_BEGIN, _END = "<!-- the table of tests/support/tls_cases.py -->\n", "<!-- the end of the table -->\n"

_SERVED, _MISDIRECTED = "served", "421"
_VERSION, _NAME = "refused: protocol_version", "refused: unrecognized_name"
#: TLS 1.2 has no alert of its own for a certificate that is missing (RFC 8446 §6.2).
_NONE = {"1.2": "refused: handshake_failure", "1.3": "refused: certificate_required"}
Outcome = str | Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`certificate`, `first_certificate`: the name of one that the test has made. `only`: clients that can do it."""

    what: str
    outcome: Outcome
    name: str | None
    host: str
    certificate: str | None = None
    first: str | None = None
    first_certificate: str | None = None
    protocol: str = "http/1.1"
    versions: Sequence[str] = VERSIONS
    only: Sequence[str] = CLIENTS

    def expected(self, version: str) -> str:
        """Return what comes of it."""
        return self.outcome if isinstance(self.outcome, str) else self.outcome[version]


def _shows(certificate: str, outcome: Outcome, what: str, name: str = ASKED) -> Case:
    return Case(what=what, name=name, host=name, certificate=certificate, outcome=outcome)


def _session(what: str, first: str, name: str, outcome: Outcome, **certificates: str) -> Case:
    return Case(
        what=what, first=first, name=name, host=name, outcome=outcome, only=("openssl", "Go", "Python"), **certificates
    )


CASES: Final = (
    Case(what="a host of any TLS", name=OPEN, host=OPEN, outcome=_SERVED),
    Case(what="TLS 1.1", name=OPEN, host=OPEN, versions=("1.1",), outcome=_VERSION, only=("openssl", "curl", "Go")),
    Case(what="a host with `min_version: 1.3`", name=MODERN, host=MODERN, outcome={"1.2": _VERSION, "1.3": _SERVED}),
    Case(what="no server name", name=None, host=OPEN, outcome=_NAME),
    Case(what="a server name that is not listed", name="unknown.example.test", host=OPEN, outcome=_NAME),
    Case(what="the Host of another host", name=OPEN, host=OTHER, outcome=_MISDIRECTED),
    Case(what="the Host of a host that asks for certificates", name=OPEN, host=ASKED, outcome=_MISDIRECTED),
    Case(
        what="the Host of another host, from one that asks for certificates",
        name=ASKED,
        host=OPEN,
        certificate="good",
        outcome=_MISDIRECTED,
    ),
    Case(
        what="the Host of a host that asks by another CA",
        name=ASKED,
        host=ELSEWHERE,
        certificate="good",
        outcome=_MISDIRECTED,
    ),
    Case(
        what="`acme-tls/1`, and no challenge is under way",
        name=ASKED,
        host=ASKED,
        protocol="acme-tls/1",
        outcome=_NAME,
        only=("openssl", "Go", "Python"),
    ),
    Case(what="no certificate, and one is required", name=ASKED, host=ASKED, outcome=_NONE),
    _shows("good", _SERVED, "a good certificate"),
    _shows("through", _SERVED, "a good certificate through an intermediate CA"),
    _shows("other", "refused: unknown_ca", "a certificate of another CA"),
    _shows("self-signed", "refused: unknown_ca", "a self-signed certificate"),
    # curl 7.88 says of this alert that the server's certificate is self-signed.
    replace(
        _shows("expired", "refused: certificate_expired", "a certificate that has expired"),
        only=("openssl", "Go", "Python"),
    ),
    _shows("early", "refused: bad_certificate", "a certificate that is not valid yet"),
    _shows("server", "refused: unsupported_certificate", "a certificate for servers only"),
    _shows("long", "refused: unknown_ca", "a chain that is longer than its CA allows"),
    _shows("revoked", "refused: certificate_revoked", "a revoked certificate"),
    Case(what="no certificate, and it is optional", name=OPTIONAL, host=OPTIONAL, outcome=_SERVED),
    _shows("good", _SERVED, "a good certificate, optional", OPTIONAL),
    _shows("other", "refused: unknown_ca", "a certificate of another CA, optional", OPTIONAL),
    _session("the session of the host itself", OPEN, OPEN, "served, resumed"),
    _session("the session of another host", OPEN, OTHER, _SERVED),
    _session("the session of a host that asks nobody", OPEN, ASKED, _NONE),
    _session("the session of a host where a certificate is optional", OPTIONAL, ASKED, _NONE),
    _session(
        "the session of a client that a host knows",
        ASKED,
        ASKED,
        "served, resumed",
        certificate="good",
        first_certificate="good",
    ),
    _session(
        "the session of a client that a host of another CA knows",
        ELSEWHERE,
        ASKED,
        "refused: unknown_ca",
        certificate="other",
        first_certificate="other",
    ),
)


def table() -> str:
    """Return the table."""
    lines = ["| what the client does | TLS 1.2 | TLS 1.3 | tried with |", "|---|---|---|---|"]
    for case in CASES:
        cells = [_cell(case, version) for version in VERSIONS]
        lines.append(f"| {case.what} | {' | '.join(cells)} | {', '.join(case.only)} |")
    return "\n".join(lines) + "\n"


def _cell(case: Case, version: str) -> str:
    if case.versions != VERSIONS:
        return case.expected(case.versions[0])
    return case.expected(version)


def document() -> str:
    """Return the document with the table as it is to be."""
    text = _DOCUMENT.read_text()
    assert _BEGIN in text, f"{_DOCUMENT} has no place for the table"
    return re.sub(f"{_BEGIN}.*?{_END}", lambda _: f"{_BEGIN}{table()}{_END}", text, flags=re.S)


if __name__ == "__main__":
    _DOCUMENT.write_text(document())
