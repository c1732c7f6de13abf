"""Reference of the log's way down: what one receiver lacks, and the ranges that say so (SPEC 9)."""

from dataclasses import dataclass

from protocol import schemas
from protocol.constants import LOG_WINDOW, UpdateSection


@dataclass
class LogEntry:
    """One entry of a room's log."""

    index: int
    audience: set[int]
    """Player ids that it is for."""
    message_first: int
    """Index of its message's first fragment: who joined later does not see it."""
    is_fragment: bool
    """Not the last of its message."""
    wire: bytes
    """The entry as it is sent, header included."""


@dataclass
class Receiver:
    """One session's place in the log."""

    player_id: int
    log_start: int
    cursor: int
    effective: int
    """Everything up to this index is acknowledged or hidden from it; at or beyond the cursor."""
    complete: set[int]
    """Indexes beyond the cursor that it has reported complete."""


@dataclass
class Lacking:
    """One entry that a receiver may see and has not acknowledged, and how far a range around it may reach."""

    entry: LogEntry
    first: int
    last: int
    after: int


def may_see(entry: LogEntry, receiver: Receiver) -> bool:
    """Tell whether an entry is visible to a receiver."""
    return receiver.player_id in entry.audience and entry.message_first > receiver.log_start


def find_lacking(log: dict[int, LogEntry], head: int, receiver: Receiver) -> tuple[list[Lacking], int]:
    """List what a receiver lacks, in order, no further than the window beyond its effective cursor.

    Returns: that, and the new effective cursor: the index before the first of it, or all that was looked at.
    """
    limit = min(head, receiver.effective + LOG_WINDOW)
    lacks = [
        index
        for index in range(receiver.cursor + 1, limit + 1)
        if may_see(log[index], receiver) and index not in receiver.complete
    ]
    result = []
    for n, index in enumerate(lacks):
        before = lacks[n - 1] if n else receiver.cursor
        blocking = [other for other in lacks[:n] if not log[other].is_fragment]
        last = lacks[n + 1] - 1 if n + 1 < len(lacks) else limit
        result.append(Lacking(log[index], before + 1, last, blocking[-1] if blocking else receiver.cursor))
    return result, lacks[0] - 1 if lacks else limit


def build_ranges(chosen: list[Lacking]) -> list[bytes]:
    """Build LOG_RANGE sections for entries that are sent together: neighbours share one.

    `chosen`: some of what `find_lacking` listed, in order. Neighbours: one begins where the other's range ends.
    """
    runs: list[list[Lacking]] = []
    for lacking in chosen:
        if runs and runs[-1][-1].last + 1 == lacking.entry.index and is_alike(runs[-1][-1], lacking):
            runs[-1].append(lacking)
        else:
            runs.append([lacking])
    sections = []
    for run in runs:
        header = {"first": run[0].first, "last": run[-1].last, "after": run[0].after}
        body = schemas.RANGE_HEADER.build(header) + b"".join(lacking.entry.wire for lacking in run)
        sections.append(schemas.SECTION_HEADER.build({"type": UpdateSection.LOG_RANGE, "length": len(body)}) + body)
    return sections


def is_alike(one: Lacking, other: Lacking) -> bool:
    """Tell whether two entries may stand in one range: fragments and others are sent apart."""
    return one.entry.is_fragment == other.entry.is_fragment
