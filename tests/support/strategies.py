"""What hypothesis makes of our values, right and damaged ones."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from proxyd.core.failure import Failure, FailureKind

NOW = datetime(2027, 1, 1, tzinfo=UTC)

#: Moments within ten years, to the second.
moments = st.integers(-(10**9) // 3, 10**9 // 3).map(lambda seconds: NOW + timedelta(seconds=seconds))

_leaves: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), moments.map(datetime.isoformat)
)
#: Whatever a JSON file may hold, times among it.
json_values: st.SearchStrategy[Any] = st.recursive(
    _leaves | st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2027-01-01T00:00:00"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


def damaged(document: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return documents like this one, with anything in place of some of its values, at each level."""
    return st.fixed_dictionaries(
        {},
        optional={
            key: st.one_of(st.just(value), json_values, *([damaged(value)] if isinstance(value, dict) else []))
            for key, value in document.items()
        },
    )


failures = st.builds(
    Failure,
    kind=st.sampled_from(FailureKind),
    message=st.just("a.example: no"),
    retry_after=st.none() | st.timedeltas(timedelta(0), timedelta(days=4000)),
    retry_at=st.none() | moments,
    problem=st.none() | st.just("unauthorized"),
    challenge=st.none() | st.just("http-01"),
)
