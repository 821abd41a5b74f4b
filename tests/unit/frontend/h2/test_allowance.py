from proxyd.frontend.h2.allowance import Allowance


def test_some_at_once_then_so_many_a_second() -> None:
    now = 100.0
    allowance = Allowance(3, 2, lambda: now)
    assert [allowance.take() for _ in range(3)] == [True] * 3
    now = 100.4
    assert not allowance.take()
    now = 101.5
    assert [allowance.take() for _ in range(2)] == [True, True]
    assert not allowance.take(5)
    now = 1000.0
    assert [allowance.take(0.5) for _ in range(3)] == [True] * 3
