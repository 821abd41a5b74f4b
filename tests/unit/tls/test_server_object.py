"""What our end of a connection knows of a client, and what it still says when it refuses one."""

import ssl
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.core.tls_policy import TlsPolicy
from proxyd.tls.context import certificate_context
from proxyd.tls.server_object import AskingContext, ClientRefused, client_chain, client_fault, shown_chain, unsent
from tests.support.certs import make_pem
from tests.support.client_certificates import ClientCa, client_context, der_of

HOST = Hostname("example.com")
BOTH = pytest.mark.parametrize("version", ["1.2", "1.3"])
_DAY = timedelta(days=1)


class Meeting:
    """A server and its clients, without a socket."""

    def __init__(self, ca: ClientCa, *, client_auth: str = "require") -> None:
        policy = TlsPolicy(client_auth=client_auth, client_ca=ca.file.read_bytes())  # type: ignore[arg-type]
        self.context = certificate_context(HOST, [Certificate.parse(make_pem(HOST.text))], policy=policy)

    def meet(
        self, client: ssl.SSLContext, session: ssl.SSLSession | None = None
    ) -> tuple[ssl.SSLObject, ssl.SSLObject, Sequence[Exception]]:
        """Return both ends, and what they raised."""
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        theirs = client.wrap_bio(down, up, server_hostname=HOST.text, session=session)
        ours = self.context.wrap_bio(up, down, server_side=True)
        errors: list[Exception] = []
        for one in (theirs, ours, theirs, ours, theirs):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                errors.append(error)
                if last := unsent(error):
                    down.write(last)
        if not errors:
            ours.write(b"hello")
            theirs.read(5)  # TLS 1.3 brings the ticket with it
        return ours, theirs, errors


@pytest.fixture
def ca(tmp_path: Path) -> ClientCa:
    return ClientCa(tmp_path, between=1)


@BOTH
def test_the_chain_of_a_client_is_known_also_when_it_comes_again(ca: ClientCa, version: str) -> None:
    file, meeting = ca.client(), Meeting(ca)
    context = client_context(version, file)
    ours, theirs, errors = meeting.meet(context)
    assert not errors
    chain = client_chain(ours)
    assert (len(chain), chain[0]) == (3, der_of(file))
    again, _, errors = meeting.meet(context, theirs.session)
    assert not errors
    assert again.session_reused
    assert client_chain(again) == chain


@BOTH
def test_who_shows_none_has_none(ca: ClientCa, version: str) -> None:
    ours, _, errors = Meeting(ca, client_auth="optional").meet(client_context(version))
    assert (client_chain(ours), errors) == ((), [])


@BOTH
def test_who_is_refused_is_told_and_has_seen_whom_it_met(ca: ClientCa, tmp_path: Path, version: str) -> None:
    for file, why in ((None, "it showed none"), (ClientCa(tmp_path, "Other").client(), "unable to get local issuer")):
        _, theirs, errors = Meeting(ca).meet(client_context(version, file))
        assert why in str(client_fault(errors[0]))
        assert unsent(errors[0])
        assert len(shown_chain(theirs)) == 1
        if version == "1.3":  # it was done before it was refused
            with pytest.raises(ssl.SSLError, match=r"ALERT_(CERTIFICATE_REQUIRED|UNKNOWN_CA)|CERTIFICATE_REQUIRED"):
                theirs.read(1)
        else:
            assert "ALERT" in str(errors[1])


def test_a_chain_that_is_too_long_or_over_is_refused(tmp_path: Path) -> None:
    chain = (der_of(ClientCa(tmp_path).client()),) * 5
    context = AskingContext(ssl.PROTOCOL_TLS_SERVER)
    assert context.chain(chain[0], chain) == chain
    assert context.chain(chain[0], ()) == chain
    with pytest.raises(ClientRefused, match="more than 5") as caught:
        context.chain(chain[0], (*chain, chain[0]))
    assert client_fault(caught.value) == "more than 5 certificates in its chain"
    over = der_of(ClientCa(tmp_path, "Short").client(begins=-2 * _DAY, lasts=_DAY))
    with pytest.raises(ClientRefused, match="certificate has expired"):
        context.chain(over, ())


def test_of_many_clients_the_last_ones_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyd.tls.server_object._MOST_KNOWN", 2)
    ca, context = ClientCa(tmp_path), AskingContext(ssl.PROTOCOL_TLS_SERVER)
    leaves = [der_of(ca.client(str(number))) for number in range(3)]
    for leaf in leaves:
        context.chain(leaf, (leaf, b"root"[:0] or leaf))
    assert [len(context.chain(leaf, ())) for leaf in leaves] == [1, 2, 2]


def test_what_is_not_about_a_client_is_no_fault_of_it() -> None:
    assert client_fault(OSError(1, "no")) is None
    assert client_fault(ssl.SSLError(1, "no")) is None
    assert unsent(OSError()) == b""
    assert client_chain(None) == ()
