"""What a CA takes."""

from proxyd.core.certifiable import may_be_certified
from proxyd.core.hostname import Hostname


def test_names_that_no_ca_takes() -> None:
    good = ["a.example.com", "xn--bcher-kva.example.com", "1.2.3.4.5.6.7.8.example.com"]
    bad = ["a_b.example.com", "_dmarc.example.com", "1.2.3.4.5.6.7.8.9.example.com", "8.8.8.8", "2001:db8::1"]
    bad.append(".".join(["a" * 60] * 4))
    assert [name for name in good + bad if may_be_certified(Hostname(name), public=True)] == good
    assert not may_be_certified(Hostname("nas.local"), public=True)
    assert may_be_certified(Hostname("nas.local"), public=False)
