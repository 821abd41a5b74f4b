"""Where challenge answers are published: memory that port 80 reads."""

from collections.abc import Callable, Mapping

from proxyd.core.hostname import Hostname


class ChallengeBoard:
    """HTTP-01 answers by host and token (RFC 8555 §8.3). `changed` hears of each change."""

    def __init__(self) -> None:
        self._answers: dict[tuple[Hostname, str], str] = {}
        self.changed: Callable[[], None] = lambda: None

    def publish(self, host: Hostname, token: str, answer: str) -> None:
        """Answer `token` of `host` from now on."""
        self._answers[host, token] = answer
        self.changed()

    def withdraw(self, host: Hostname, token: str) -> None:
        """Stop answering; harmless when it never began."""
        self._answers.pop((host, token), None)
        self.changed()

    def only(self, answers: Mapping[tuple[Hostname, str], str]) -> None:
        """Answer these from now on, and no other."""
        self._answers = dict(answers)

    def pending(self) -> Mapping[tuple[Hostname, str], str]:
        """Return all answers."""
        return self._answers

    def answer(self, host: Hostname, token: str) -> str | None:
        """Return the key authorization, or None for a token that is not pending."""
        return self._answers.get((host, token))
