"""What TLS clients of other people can and cannot do: every line of the table of docs/tls.md."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.cached import start_cached
from tests.support.certs import make_pem
from tests.support.client_certificates import SERVER, ClientCa
from tests.support.daemon import DaemonProcess
from tests.support.tls_cases import ASKED, CASES, ELSEWHERE, MODERN, OPEN, OPTIONAL, OTHER, Case, document
from tests.support.tls_clients import CLIENTS, Asking
from tests.support.upstream import Upstream

pytestmark = pytest.mark.peers
_DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return what clients show, and `ca`, `list`, `another`: what the hosts are told."""
    place = tmp_path_factory.mktemp("clients")
    ca, through = ClientCa(place), ClientCa(place, "Through CA", between=1)
    narrow, another = ClientCa(place, "Narrow CA", between=1, allowed=0), ClientCa(place, "Another CA")
    revoked = ca.client("revoked")
    trusted, lists = place / "trusted.pem", place / "lists.pem"
    trusted.write_text("".join(one.file.read_text() for one in (ca, through, narrow)))
    lists.write_text("".join(one.revoke(*gone).read_text() for one, *gone in ((ca, revoked), (through,), (narrow,))))
    alone = place / "self-signed.pem"
    alone.write_bytes(make_pem("alice"))
    return {
        "ca": trusted,
        "list": lists,
        "another": another.file,
        "good": ca.client(),
        "through": through.client(),
        "long": narrow.client(),
        "other": another.client(),
        "self-signed": alone,
        "expired": ca.client("expired", begins=-10 * _DAY, lasts=5 * _DAY),
        "early": ca.client("early", begins=5 * _DAY),
        "server": ca.client("server", usage=SERVER),
        "revoked": revoked,
    }


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, certificates: dict[str, Path]) -> Iterator[int]:
    ours = {"client_ca": str(certificates["ca"]), "client_crl": str(certificates["list"])}
    policies: dict[str, dict[str, str]] = {
        OPEN: {},
        OTHER: {},
        MODERN: {"min_version": "1.3"},
        ASKED: ours,
        OPTIONAL: {**ours, "client_auth": "optional"},
        ELSEWHERE: {"client_ca": str(certificates["another"])},
    }
    with Upstream() as upstream:
        daemon = DaemonProcess(tmp_path_factory.mktemp("daemon"))
        hosts = {host: {"upstream": upstream.port, "tls": policy} for host, policy in policies.items()}
        start_cached(daemon, hosts, workers=1)  # sessions are known to the process that gave them
        try:
            yield daemon.https_port
        finally:
            daemon.stop()


@pytest.mark.parametrize(
    ("client", "case"),
    [pytest.param(client, case, id=f"{client}-{case.what}") for case in CASES for client in case.only],
)
def test_the_table_is_true(client: str, case: Case, port: int, certificates: dict[str, Path], tmp_path: Path) -> None:
    for version in case.versions:
        asking = Asking(
            name=case.name,
            host=case.host,
            version=version,
            certificate=certificates[case.certificate] if case.certificate else None,
            first=case.first,
            first_certificate=certificates[case.first_certificate] if case.first_certificate else None,
            protocol=case.protocol,
        )
        assert CLIENTS[client](port, asking, tmp_path) == case.expected(version), version


def test_the_document_has_the_table() -> None:
    text = document()
    assert Path("docs/tls.md").read_text() == text
