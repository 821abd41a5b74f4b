"""What the fake CA sends, and how a test bends it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PREFIX = "urn:ietf:params:acme:error:"


@dataclass(kw_only=True)
class Answer:
    """What goes out: `body` wins over `json`. `cut` closes the connection in the middle, `delay` comes before it."""

    status: int = 200
    json: Any = None
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    has_nonce: bool = True
    delay: float = 0
    cut: bool = False


class Problem(Exception):
    def __init__(self, kind: str, status: int = 400, detail: str = "no", **more: Any) -> None:
        super().__init__(kind)
        self.answer = problem(kind, status, detail, **more)


def problem(
    kind: str, status: int = 400, detail: str = "no", *, headers: dict[str, str] | None = None, **more: Any
) -> Answer:
    document = {"type": PREFIX + kind, "detail": detail, "status": status, **more}
    return Answer(status=status, json=document, headers={"Content-Type": "application/problem+json", **(headers or {})})


#: A step's script gets the honest answer and returns what goes out; None keeps it.
Script = Callable[[Answer], Answer | None]
