"""The targets with what long runs kept, and with damaged samples: the same every time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, kept

_EXAMPLES = {"config": 60, "cache": 100, "ca": 60}


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs(name: str) -> None:
    target = TARGETS[name]
    for data in [*target.samples(), *kept(name)]:
        target.check(data)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_inputs(name: str) -> None:
    target = TARGETS[name]
    wholes = [*target.samples(), *kept(name)]
    places = st.floats(0, 1, exclude_max=True)
    edits = st.lists(st.tuples(places, places, st.binary(max_size=4)), max_size=4)

    @settings(max_examples=_EXAMPLES.get(name, 300))
    @given(st.sampled_from(wholes), edits)
    def check(data: bytes, changes: list[tuple[float, float, bytes]]) -> None:
        for start, length, put in changes:
            at = int(start * len(data))
            data = data[:at] + put + data[at + int(length**4 * len(data)) :]
        target.check(data)

    check()
