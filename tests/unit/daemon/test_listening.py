"""What other addresses change in what we listen on: nothing is closed before all of it is there."""

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pebble.server import free_port
from proxyd.config.model import ListenOptions
from proxyd.daemon.listening import Listening, Sockets
from proxyd.frontend.listener import ListenError


def listen(https: object = (), http: object = ()) -> ListenOptions:
    return ListenOptions.model_validate({"https": https, "http": http})


@pytest.fixture
def before() -> Iterator[Listening]:
    one = Listening(workers=2).changed(listen(["127.0.0.1:0"], ["127.0.0.1:0"]))
    yield one
    one.close()


def port(one: Listening) -> int:
    return int(one.sockets().https[0].getsockname()[1])


def test_what_stays_is_the_same_socket(before: Listening) -> None:
    after = before.changed(listen(["127.0.0.1:0", "127.0.0.2:0"]))
    assert after.sockets(1).https[0] is before.sockets(1).https[0]
    assert [len({*after.sockets(number).https}) for number in (0, 1)] == [2, 2]
    before.close(but=after)
    assert before.sockets().http[0].fileno() == -1
    assert after.sockets().https[0].fileno() > 0
    after.close()


def test_one_that_is_taken_changes_nothing(before: Listening) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(ListenError, match=rf"listen.https: .* another program uses port {taken}"):
            before.changed(listen(["127.0.0.2:0", f"127.0.0.1:{taken}"]))
    assert all(sock.fileno() > 0 for sock in before.all())


def test_the_same_port_on_other_addresses(before: Listening) -> None:
    everywhere = before.changed(listen(f":{port(before)}"))
    assert {sock.getsockname()[:2] for sock in everywhere.all()} <= {("0.0.0.0", port(before)), ("::", port(before))}
    one_family = everywhere.changed(listen(f"0.0.0.0:{port(before)}"))
    assert one_family.all() < everywhere.all(), "what is there already is taken over"
    for one in (everywhere, one_family):
        one.close()


def test_a_place_cannot_be_for_something_else(before: Listening) -> None:
    with pytest.raises(ListenError, match="restart the daemon instead"):
        before.changed(listen([], f"127.0.0.1:{port(before)}"))


def test_what_is_passed_in_stays_when_nothing_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as passed:
        address = f"127.0.0.1:{passed.getsockname()[1]}"
        named = Listening(passed=[passed], workers=2).changed(listen(address))
        unnamed = named.changed(listen())
        named.close(but=unnamed)
        again = unnamed.changed(listen(address))
        assert again.sockets(1).https_at == passed.getsockname()
        again.close()


def test_places_tell_the_sockets_of_each_worker(before: Listening) -> None:
    first, second = before.sockets(0), before.sockets(1)
    assert [*first.by_place()] == [*second.by_place()]
    assert Sockets.at(first.by_place()) == first


def test_what_was_kept_gets_the_family_that_the_machine_lacked() -> None:
    number = free_port()
    lacking = Listening(workers=2).changed(listen(f"0.0.0.0:{number}", "127.0.0.1:0"))
    everywhere = listen(f":{number}").https[0]
    kept = Listening(bindings=[replace(lacking.bindings[0], address=everywhere), lacking.bindings[1]], workers=2)
    whole = kept.made_whole()
    assert kept.all() < whole.all()
    for worker in (0, 1):
        families = [sock.getsockname()[:2] for sock in whole.sockets(worker).https]
        assert families == [("0.0.0.0", number), ("::", number)]
    assert whole.made_whole() == whole
    whole.close()


def test_a_family_that_somebody_else_has_meanwhile_is_told() -> None:
    number = free_port()
    lacking = Listening(workers=2).changed(listen(f"0.0.0.0:{number}"))
    kept = Listening(bindings=[replace(lacking.bindings[0], address=listen(f":{number}").https[0])], workers=2)
    with (
        socket.create_server(("::", number), family=socket.AF_INET6),
        pytest.raises(ListenError, match=f"another program uses port {number}"),
    ):
        kept.made_whole()
    assert all(sock.fileno() > 0 for sock in kept.all())
    kept.close()
