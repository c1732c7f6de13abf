"""The events that wait for a game, bounded without losing any.

A game that reads slowly, or not at all, must not fill the memory. Pictures of the table can be merged, so they are.
Everything else must arrive exactly once: when too much of it waits, the queue says so, its owner takes no more from the
connection, and the connection stops acknowledging; the server keeps what is missing until the game reads again.
"""

from collections import deque
from collections.abc import Iterable

from protocol.client import Event, StateChanged

MERGE_FROM = 64
"""Events from which pictures that follow one another become one: two seconds of a game that does not read (chosen)."""
MAX_EVENTS = 16_384
"""Events that may wait here, and again in the connection."""


class EventQueue:
    """First in, first out."""

    def __init__(self) -> None:
        """Start empty."""
        self._events: deque[Event] = deque()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._events)

    @property
    def is_full(self) -> bool:
        """Whether no more should be put in for now."""
        return len(self._events) >= MAX_EVENTS

    def extend(self, events: Iterable[Event]) -> None:
        """Put events in, in order."""
        waiting = self._events
        for event in events:
            if len(waiting) >= MERGE_FROM and isinstance(event, StateChanged) and isinstance(waiting[-1], StateChanged):
                waiting[-1] = merge_pictures(waiting[-1], event)
            else:
                waiting.append(event)

    def popleft(self) -> Event:
        """Take the oldest out. Raises: IndexError if there is none."""
        return self._events.popleft()


def merge_pictures(older: StateChanged, newer: StateChanged) -> StateChanged:
    """Make one event of two, with the same result for who does `removed` first and then `changed`."""
    gone = set(newer.removed)
    changed = {entry[0]: entry for entry in older.changed if entry[0] not in gone}
    changed.update((entry[0], entry) for entry in newer.changed)
    removed = tuple(dict.fromkeys(older.removed + newer.removed))
    return StateChanged(newer.tick, tuple(changed.values()), removed)
