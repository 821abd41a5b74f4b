"""How many handshakes may wait for a certificate."""

from collections import Counter

from proxyd.core.hostname import Hostname

_WAITING, _WAITING_OF_NETWORK, _WAITING_OF_NAME = 512, 64, 128


class WaitingRoom:
    """Places in all, of one network, for one name."""

    def __init__(self) -> None:
        self._all = 0
        self._of: Counter[str | Hostname] = Counter()

    def __len__(self) -> int:
        return self._all

    def enter(self, host: Hostname, network: str) -> bool:
        """Take a place, or return False: there is none."""
        if self._all >= _WAITING or self._of[network] >= _WAITING_OF_NETWORK or self._of[host] >= _WAITING_OF_NAME:
            return False
        self._all += 1
        self._of[host] += 1
        self._of[network] += 1
        return True

    def leave(self, host: Hostname, network: str) -> None:
        """Give the place back."""
        self._all -= 1
        for key in (host, network):
            self._of[key] -= 1
            if self._of[key] <= 0:
                del self._of[key]
