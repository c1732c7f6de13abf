"""Wrong codes and passwords, counted per host: nobody finds a private room by trying codes (SPEC 4, "Finding").

To open a room by a code of one's own choice is a guess too, for it tells that there was none: it counts in part.
"""

from relay.addresses import host_of, is_loopback

GUESSES_AT_ONCE = 20
"""Wrong codes and passwords of one IPv4 address or IPv6 /64 before it must wait: a class behind one NAT mistypes."""
GUESSES_PER_S = 0.2
"""... and how fast it may go on: with made-up codes of 31 ** 6 and 10,000 rooms a hit takes 2.5 days (chosen)."""
SHARE_OF_OPENING = 0.25
"""To open a room by a chosen code counts as such a share of a guess, and less where a host may have more than 80
players: it may open as many rooms at once (chosen)."""
MAX_GUESSERS = 4096
"""Hosts remembered; for one more that which guessed wrong longest ago is forgotten (chosen)."""


class Guesses:
    """Token buckets by host, in the order of their last wrong guess."""

    def __init__(self) -> None:
        self._left: dict[bytes, tuple[float, float]] = {}
        """Host -> (guesses left, when that was)."""

    def __len__(self) -> int:
        """Return how many hosts are remembered."""
        return len(self._left)

    def may_guess(self, address: bytes, now: float) -> bool:
        """Tell whether a host has a guess left. Loopback is exempt."""
        return self._left_of(host_of(address), now) >= 1.0

    def note(self, address: bytes, now: float, share: float = 1.0) -> None:
        """Count a wrong guess, or a share of one."""
        if is_loopback(address):
            return
        host = host_of(address)
        left = self._left_of(host, now)
        self._left.pop(host, None)
        if len(self._left) >= MAX_GUESSERS:
            del self._left[next(iter(self._left))]
        self._left[host] = (left - share, now)

    def _left_of(self, host: bytes, now: float) -> float:
        left, at = self._left.get(host, (float(GUESSES_AT_ONCE), now))
        return min(float(GUESSES_AT_ONCE), left + (now - at) * GUESSES_PER_S)
