from bench.measure import Figures
from bench.peer import PeerPlan
from bench.results import Report, ratio


def figures(cpu: float, *, errors: int = 0) -> Figures:
    return Figures(cpu=cpu, rate=1000, p50=1.0, p99=2.0, errors=errors, tls="TLS 1.3 TLS_AES_128_GCM_SHA256 X25519")


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    # The second round was a bad one for both: medians of each alone would say 0.5 or 2.
    ours, theirs = [figures(1.0), figures(8.0), figures(2.0)], [figures(1.0), figures(8.0), figures(1.0)]
    assert ratio(ours, theirs) == "1.00 (1.00 to 2.00)"


def test_one_round_has_no_range() -> None:
    assert ratio([figures(1.0)], [figures(2.0)]) == "0.50"


def test_errors_stand_in_the_table() -> None:
    plans = [PeerPlan(name=name, version="1", command=[], port=1) for name in ("proxyd", "nginx", "nginx, no log")]
    report = Report(plans, rounds=1, seconds=1)
    report.add("post", "proxyd", figures(20e-6, errors=3))
    report.add("post", "nginx", figures(10e-6))
    report.end("post")
    text = report.show()
    assert "| proxyd (3 errors) | 20.0 | 1000 | 1.00 | 2.00 | 2.00 |" in text
    assert "proxyd 1; nginx 1." in text
