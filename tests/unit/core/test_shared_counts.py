"""Processes count together, and exactly unless four strangers meet."""

from proxyd.core.shared_counts import SharedCounts, alone, size_for


def three() -> list[SharedCounts]:
    memory = memoryview(bytearray(size_for(3)))
    return [SharedCounts(memory, number, secret=b"secret") for number in range(3)]


def test_all_see_what_each_has() -> None:
    processes = three()
    for times, one in enumerate(processes, 1):
        for _ in range(times):
            one.add_to_total(1)
            one.add(one.cells("192.0.2.1"), 1)
    processes[0].add(processes[0].cells("192.0.2.2"), 1)
    for one in processes:
        assert one.total == 6
        assert one.count(one.cells("192.0.2.1")) == 6
        assert one.count(one.cells("192.0.2.2")) == 1
        assert one.count(one.cells("192.0.2.3")) == 0


def test_what_is_taken_back_is_gone() -> None:
    one, *_ = three()
    cells = one.cells("192.0.2.1")
    one.add(cells, 1)
    one.add(cells, -1)
    assert one.count(cells) == 0


def test_what_a_dead_process_had_is_given_back() -> None:
    first, second, _ = three()
    for one in (first, second):
        one.add_to_total(1)
        one.add(one.cells("192.0.2.1"), 1)
    first.clear()
    assert second.total == 1
    assert second.count(second.cells("192.0.2.1")) == 1


def test_ten_thousand_clients_are_told_apart() -> None:
    counts = alone()
    places = [counts.cells(f"client {number}") for number in range(10_000)]
    for cells in places:
        counts.add(cells, 1)
    assert sum(1 for cells in places if counts.count(cells) > 1) < 40  # 0.05 % are expected


def test_another_secret_puts_them_elsewhere() -> None:
    assert alone(secret=b"one").cells("192.0.2.1") != alone(secret=b"another").cells("192.0.2.1")
