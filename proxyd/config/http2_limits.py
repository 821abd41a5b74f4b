"""Bounds on what one HTTP/2 connection may use: against clients that make us work for nothing."""

from typing import Annotated

from pydantic import Field

from proxyd.config.option import Options, option
from proxyd.config.values import Count, Size

_LARGEST_WINDOW = 0x7FFFFFFF
_DEFAULT_WINDOW = 65_535
#: What one frame may have, which is looked at whole.
_FRAME = 16_384


class Http2Limits(Options):
    """Of one connection. Whoever goes over one that is not about a single request is disconnected."""

    max_streams: Annotated[int, Field(ge=1, le=10_000)] = option(100, "requests under way at a time")
    resets: Count = option(200, "requests that a client takes back, or breaks, at once")
    resets_per_second: Count = option(20, "and so many more a second")
    glitches: Count = option(400, "frames that bring nothing: pings, settings, empty or tiny pieces of a body")
    glitches_per_second: Count = option(100, "and so many more a second")
    max_header_block: Annotated[Size, Field(ge=_FRAME)] = option("32KiB", "a request's head as it is sent, compressed")
    max_continuations: Count = option(16, "frames that one head is continued in")
    max_control_frames: Count = option(1000, "answers of ours that a client has not taken")
    stream_window: Annotated[Size, Field(ge=_DEFAULT_WINDOW, le=_LARGEST_WINDOW)] = option(
        "128KiB", "of a request's body that an upstream has not taken"
    )
    connection_window: Annotated[Size, Field(ge=_DEFAULT_WINDOW, le=_LARGEST_WINDOW)] = option(
        "1MiB", "of all bodies together that upstreams have not taken"
    )
