"""What goes out on an HTTP/2 connection: frames in order, and bodies as far as the client has room for them.

Everything is gathered, and taken once in a turn of the event loop: one write for each costs a third more.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from proxyd.frontend.h2.fault import ConnectionFault, StreamFault
from proxyd.frontend.h2.frames import (
    DATA,
    DEFAULT_TABLE,
    DEFAULT_WINDOW,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    LARGEST_FRAME,
    MAX_FRAME,
    MAX_FRAME_SIZE,
    MAX_WINDOW,
    PROTOCOL_ERROR,
    SETTINGS_ACK,
    frame_head,
    headers,
)
from proxyd.frontend.h2.priority import DEFAULT

#: Of bodies in one turn: a small answer waits for no more than that.
_BUDGET = 65_536
#: A body that fills a smaller frame for want of room costs the client something.
_SMALL = 256
#: WINDOW_UPDATE frames that a DATA frame of ours may be answered with; how many can be saved up.
_UPDATES_EACH: Final = 4
_MOST_UPDATES: Final = 4000
#: How many are given at once for streams that were opened: who leaves out numbers gains nothing.
_MOST_GIVEN: Final = 200
#: How much of a response waits for its client until its upstream has to, and when that goes on again.
HIGH: Final = 65_536
LOW: Final = 16_384
#: Of all streams together.
HIGH_OF_ALL: Final = 1 << 20
#: A table of no size, as ours is (RFC 7541 §4.2, §6.3).
_NO_TABLE = b"\x20"
#: How long it is until a stream's next turn, by its urgency (RFC 9218): a step less has half the share, but never none.
_STRIDES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
#: Of most streams nothing is ever queued.
_NO_PIECES: Final[deque[memoryview]] = deque(maxlen=0)


class Outgoing:
    """The sending half of a stream. `sent`: bytes of the body that went out. `turn`: who has the least is the next."""

    __slots__ = (
        "id",
        "is_done",
        "is_ready",
        "last_block",
        "pieces",
        "queued",
        "sent",
        "stride",
        "turn",
        "will_end",
        "window",
    )

    turn: int  # these two since something was queued
    stride: int

    def __init__(self, stream: int, window: int) -> None:
        self.id = stream
        self.window = window
        self.pieces = _NO_PIECES
        self.queued = self.sent = 0
        self.will_end = self.is_done = self.is_ready = False
        self.last_block: bytes | None = None  # trailers behind the body

    def urgency(self) -> int:
        """Return how soon the client wants it, 0 to 7: who says nothing has what RFC 9218 §4.1 gives."""
        return DEFAULT

    def drained(self) -> None:
        """Hear that little is left of what was queued."""

    def ended(self) -> None:
        """Hear that all of the response went out."""


class Outbox:
    """Of one connection. `wake` is called when there is something to `take`; `forced` for each needlessly small frame.

    `window`: bytes that the client takes on the connection (RFC 9113 §5.2). `is_blocked`: the transport takes no more.
    """

    __slots__ = (
        "_controls",
        "_forced",
        "_frames",
        "_given_up_to",
        "_is_woken",
        "_most_controls",
        "_ready",
        "_updates",
        "_wake",
        "drops_table",
        "initial_window",
        "is_blocked",
        "queued",
        "sent",
        "window",
    )

    def __init__(self, *, wake: Callable[[], object], forced: Callable[[], None], most_controls: int) -> None:
        self._wake = wake
        self._forced = forced
        self._most_controls = most_controls
        self._frames: list[bytes | memoryview] = []
        self._controls = 0
        self._ready: deque[Outgoing] = deque()
        self._is_woken = False
        self.window = self.initial_window = DEFAULT_WINDOW
        self.is_blocked = False
        self.drops_table = False
        self.queued = self.sent = 0  # bytes of bodies
        self._updates = _UPDATES_EACH  # WINDOW_UPDATE frames that are free
        self._given_up_to = 0  # the last stream for which there were some

    @property
    def held(self) -> int:
        """How many frames wait until the transport takes them."""
        return len(self._frames)

    def put(self, frame: bytes) -> None:
        """Send a frame."""
        self._frames.append(frame)
        if not self._is_woken:
            self.wake()

    def control(self, frame: bytes) -> None:
        """Send a frame that a client can make us send. Raises ConnectionFault when it takes none of them."""
        self._controls += 1
        if self._controls > self._most_controls:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "answers that are not read", "http2_control_frames")
        self.put(frame)

    def head(self, stream: Outgoing, block: bytes, *, ends: bool) -> None:
        """Send the head of a response, or of an informational one; `ends`: that is all."""
        if self.drops_table:
            self.drops_table, block = False, _NO_TABLE + block
        self._frames.append(headers(stream.id, block, ends=ends))
        if not self._is_woken:
            self.wake()
        if ends:
            self._done(stream)

    def body(self, stream: Outgoing, data: bytes, *, ends: bool) -> None:
        """Send a piece of a body, now where there is room for it; `ends`: it is the last."""
        size = len(data)
        if not stream.queued and (not size or (self._has_room(stream, size) and not self._ready)):
            self._frames.append(frame_head(size, DATA, END_STREAM if ends else 0, stream.id))
            if size:
                self._spend(stream, size)
                self._frames.append(data)
            if not self._is_woken:
                self.wake()
            if ends:
                self._done(stream)
            return
        stream.will_end = ends
        if size:
            if stream.pieces is _NO_PIECES:
                stream.pieces = deque()
                stream.turn = stream.stride = 0
            stream.pieces.append(memoryview(data))
            stream.queued += size
            self.queued += size
        is_small_and_whole = ends and stream.queued <= MAX_FRAME
        self._offer(stream, first=is_small_and_whole)

    def whole(self, stream: Outgoing, block: bytes, data: bytes) -> None:
        """Send a response of which nothing went out yet: what most are is done in one step."""
        size = len(data)
        if not size:
            self.head(stream, block, ends=True)
        elif self._ready or self.drops_table or not self._has_room(stream, size):
            self.head(stream, block, ends=False)
            self.body(stream, data, ends=True)
        else:
            number = stream.id
            self._frames += (headers(number, block, ends=False), frame_head(size, DATA, END_STREAM, number), data)
            self._spend(stream, size)
            if not self._is_woken:
                self.wake()
            self._done(stream)

    def trailers(self, stream: Outgoing, block: bytes) -> None:
        """Send trailers, behind what is queued (RFC 9113 §8.1)."""
        if stream.queued:
            stream.will_end, stream.last_block = True, block
        else:
            self.head(stream, block, ends=True)

    def forget(self, stream: Outgoing) -> None:
        """Send nothing more of a stream."""
        self.queued -= stream.queued
        stream.queued = 0
        stream.pieces = _NO_PIECES
        stream.is_done = True

    def obey(self, settings: Iterable[tuple[int, int]], streams: Iterable[Outgoing]) -> None:
        """Do what the client's SETTINGS say, and tell it so (RFC 9113 §6.5). Raises ConnectionFault."""
        for key, value in settings:  # RFC 9113 §6.5.3: in order
            if key == INITIAL_WINDOW_SIZE:
                self.resize(value, streams)
            elif key == HEADER_TABLE_SIZE:  # RFC 7541 §4.2
                self.drops_table = self.drops_table or value < DEFAULT_TABLE
            elif key == MAX_FRAME_SIZE and not MAX_FRAME <= value <= LARGEST_FRAME:  # RFC 9113 §6.5.2
                raise ConnectionFault(PROTOCOL_ERROR, "a MAX_FRAME_SIZE that may not be")
            elif key in (ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL) and value > 1:
                raise ConnectionFault(PROTOCOL_ERROR, "a switch that is neither on nor off")
        self.control(SETTINGS_ACK)

    def is_update_free(self, last: int) -> bool:
        """Count a WINDOW_UPDATE frame; `last`: the stream that was opened last. False: it came for nothing.

        Firefox widens the window of each stream that it opens, whether a body comes back or not.
        """
        self._updates = min(self._updates, _MOST_UPDATES) - 1
        if self._updates < 0:
            opened, self._given_up_to = last - self._given_up_to, last  # two are a stream
            self._updates += min(opened, _MOST_GIVEN)
        return self._updates >= 0

    def widen(self, amount: int) -> None:
        """The client takes more on the connection. Raises ConnectionFault (RFC 9113 §6.9.1)."""
        self.window += amount
        if self.window > MAX_WINDOW:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "a window that is too large")
        if self._ready and not self._is_woken:
            self.wake()

    def widen_stream(self, stream: Outgoing, amount: int) -> None:
        """The client takes more on a stream, or less (RFC 9113 §6.9.2). Raises StreamFault (§6.9.1)."""
        stream.window += amount
        if stream.window > MAX_WINDOW:
            raise StreamFault(FLOW_CONTROL_ERROR, "a window that is too large")
        if stream.queued:
            self._offer(stream)

    def resize(self, size: int, streams: Iterable[Outgoing]) -> None:
        """The client changes the windows of all streams, which may become negative (RFC 9113 §6.9.2)."""
        more, self.initial_window = size - self.initial_window, size
        try:
            if size > MAX_WINDOW:
                raise StreamFault(FLOW_CONTROL_ERROR, "a window that is too large")
            for stream in streams:
                self.widen_stream(stream, more)
        except StreamFault as fault:
            raise ConnectionFault(fault.code, str(fault)) from None

    def wake(self) -> None:
        """Have what there is taken, in the next turn."""
        if not self._is_woken:
            self._is_woken = True
            self._wake()

    def take(self) -> bytes:
        """Return what goes out in this turn; more may follow in the next one, for which `wake` was called then."""
        self._is_woken = False
        if self.is_blocked:
            return b""
        if self._ready:
            self._serve()
            if self._ready and self.window > 0:
                self.wake()
        frames = self._frames
        if not frames:
            return b""
        self._frames = []
        self._controls = 0
        return bytes(frames[0]) if len(frames) == 1 else b"".join(frames)

    def close(self) -> None:
        """Send nothing any more, and know nobody."""
        self._wake = self._forced = _nothing
        self._ready.clear()
        self._frames.clear()

    # Inside

    def _has_room(self, stream: Outgoing, size: int) -> bool:
        return size <= stream.window and size <= self.window and size <= MAX_FRAME and not self.is_blocked

    def _spend(self, stream: Outgoing, size: int) -> None:
        stream.window -= size
        stream.sent += size
        self.window -= size
        self.sent += size
        self._updates += _UPDATES_EACH

    def _offer(self, stream: Outgoing, *, first: bool = False) -> None:
        """Let it send when its turn comes: what is small and whole before what is not."""
        if stream.is_ready or stream.window <= 0:
            return
        stream.is_ready = True
        ready = self._ready
        if not ready:
            ready.append(stream)
        elif first:
            stream.turn = ready[0].turn
            ready.appendleft(stream)
        else:
            stream.turn = max(stream.turn, ready[0].turn)
            self._place(stream)
        if not self._is_woken:
            self.wake()

    def _place(self, stream: Outgoing) -> None:
        """Put it behind those whose turn is not later."""
        ready = self._ready
        place = len(ready)
        while place and ready[place - 1].turn > stream.turn:
            place -= 1
        ready.insert(place, stream)

    def _serve(self) -> None:
        """Send of each stream one frame after the other's."""
        ready, budget = self._ready, _BUDGET
        while ready and budget > 0:
            stream = ready[0]
            room = min(MAX_FRAME, stream.window, self.window)
            if not stream.queued or room <= 0:
                if self.window <= 0 and stream.queued:
                    break
                ready.popleft()
                stream.is_ready = False
                continue
            budget -= self._send_some(stream, room)
            if stream.queued:
                if len(ready) > 1:
                    ready.popleft()
                    if not stream.stride:  # mostly nobody else waits, and it need not be known
                        stream.stride = _STRIDES[stream.urgency()]
                    stream.turn += stream.stride
                    self._place(stream)
            else:
                ready.popleft()
                stream.is_ready = False
            if stream.queued < LOW and not stream.is_done:
                stream.drained()

    def _send_some(self, stream: Outgoing, room: int) -> int:
        piece = stream.pieces[0]
        size = len(piece)
        if size <= room:
            stream.pieces.popleft()
        else:
            size = room
            stream.pieces[0], piece = piece[room:], piece[:room]
            if size < _SMALL:
                self._forced()
        stream.queued -= size
        self.queued -= size
        self._spend(stream, size)
        ends = not stream.queued and stream.will_end
        is_last = ends and stream.last_block is None
        self._frames += (frame_head(size, DATA, END_STREAM if is_last else 0, stream.id), piece)
        if is_last:
            self._done(stream)
        elif ends and stream.last_block is not None:
            self.head(stream, stream.last_block, ends=True)
        return size

    def _done(self, stream: Outgoing) -> None:
        stream.is_done = True
        stream.ended()


def _nothing() -> None:
    """Be called in the place of who is gone."""
