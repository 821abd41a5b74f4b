from time import monotonic

from proxyd.daemon.patience import Patience, rest


def test_after_waiting_in_vain_nobody_is_waited_for() -> None:
    patience = Patience()
    assert patience.until() > monotonic()
    patience.was_in_vain()
    assert patience.until() <= monotonic()


def test_a_rest_ends_with_the_time() -> None:
    until = monotonic() + 0.02
    while rest(until):
        pass
    assert monotonic() >= until
