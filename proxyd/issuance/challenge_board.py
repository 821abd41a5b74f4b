"""Where challenge answers are published: memory that port 80 reads."""

from proxyd.core.hostname import Hostname


class ChallengeBoard:
    """HTTP-01 answers by host and token (RFC 8555 §8.3)."""

    def __init__(self) -> None:
        self._answers: dict[tuple[Hostname, str], str] = {}

    def publish(self, host: Hostname, token: str, answer: str) -> None:
        """Answer `token` of `host` from now on."""
        self._answers[host, token] = answer

    def withdraw(self, host: Hostname, token: str) -> None:
        """Stop answering; harmless when it never began."""
        self._answers.pop((host, token), None)

    def answer(self, host: Hostname, token: str) -> str | None:
        """Return the key authorization, or None for a token that is not pending."""
        return self._answers.get((host, token))
