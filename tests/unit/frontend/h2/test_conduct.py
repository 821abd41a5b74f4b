import pytest

from proxyd.config.http2_limits import Http2Limits
from proxyd.frontend.h2.conduct import Conduct
from proxyd.frontend.h2.fault import ConnectionFault
from proxyd.frontend.h2.frames import ENHANCE_YOUR_CALM


def test_what_is_too_much_is_told_with_its_limit() -> None:
    conduct = Conduct(Http2Limits(resets=2, glitches=4), lambda: 0.0)
    conduct.reset("resets")
    conduct.reset("resets")
    with pytest.raises(ConnectionFault, match="too many resets") as raised:
        conduct.reset("resets")
    assert (raised.value.code, raised.value.limit) == (ENHANCE_YOUR_CALM, "http2_resets")
    conduct.glitch("pings", 3.5)
    conduct.glitch("pings", 0.5)
    with pytest.raises(ConnectionFault, match="too many pings") as raised:
        conduct.glitch("pings", 0.1)
    assert (raised.value.code, raised.value.limit) == (ENHANCE_YOUR_CALM, "http2_glitches")
