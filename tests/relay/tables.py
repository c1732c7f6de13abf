"""Writes by hand into the tables and logs of a `Rig`: for tests of one stage without datagrams."""

import numpy as np

from protocol import dtypes
from relay.audience import EVERYBODY, Audience
from relay.columns import Ints
from relay.log import NO_SESSION
from tests.reference.rig import Rig

Write = tuple[int, int, int, bytes]
"""(session row, entity id, seq, state; empty: removed)"""


def ints(*values: int) -> Ints:
    """Build a column."""
    return np.array(values, np.int64)


def write(rig: Rig, *writes: Write, stamp: int = 1, sample_ms: int = 0, log_cursor: int = 0) -> None:
    """Hand writes to the tables as one pass, in this order."""
    source = np.frombuffer(b"".join(state for *_, state in writes) + bytes(256), np.uint8).copy()
    session, entity_id, seq = (ints(*[w[n] for w in writes]) for n in range(3))  # type: ignore[misc]
    stride = ints(*[len(state) for *_, state in writes])
    rig.entities.apply_writes(
        rig.rooms,
        rig.stats,
        source,
        session=session,
        room_row=rig.sessions.table.room[session],
        entity_id=entity_id,
        seq=seq,
        log_cursor=np.full(len(writes), log_cursor, np.int64),
        sample_ms=np.full(len(writes), sample_ms, np.int64),
        stride=stride,
        state_at=np.cumsum(stride) - stride,
        stamp=stamp,
    )


def append(
    rig: Rig,
    *entries: tuple[int, bytes],
    owner: int = NO_SESSION,
    audience: Audience = EVERYBODY,
    part: int = 0,
    first: int = 0,
    sender: int = 0,
) -> Ints:
    """Append entries of (room number, payload), those of one room side by side. Returns their indexes."""
    n = len(entries)
    header = np.zeros(n, dtypes.ENTRY_HEADER_DTYPE)
    header["kind"], header["sender"], header["part"], header["channel"] = 1, sender, part, 7
    lengths = ints(*[len(payload) for _, payload in entries])
    return rig.log.append(
        rig.rooms,
        ints(*[rig.room_list[number].row for number, _ in entries]),
        header,
        np.full(n, owner),
        np.full(n, first),
        np.tile(audience, (n, 1)),
        np.frombuffer(b"".join(payload for _, payload in entries) + bytes(8), np.uint8),
        np.cumsum(lengths) - lengths,
        lengths,
    )


def read_entry(rig: Rig, number: int, index: int) -> tuple[int, int, int, bytes]:
    """Read an entry's own bytes: (low 16 bits of the index, sender, part, payload)."""
    [row] = rig.log.entry_rows(rig.rooms, ints(rig.room_list[number].row), ints(index))
    at, length = int(rig.log.table.at[row]), int(rig.log.table.length[row])
    data = rig.log.arena.bytes[at : at + length].tobytes()
    header = dtypes.ENTRY_HEADER.decode(data)
    assert header.length == length - dtypes.ENTRY_HEADER.size and (header.kind, header.channel) == (1, 7)
    return header.index, header.sender, header.part, data[dtypes.ENTRY_HEADER.size :]
