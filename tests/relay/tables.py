"""Writes by hand into the tables of a `Rig`: for tests of one stage without datagrams."""

import numpy as np

from relay.columns import Ints
from tests.reference.rig import Rig

Write = tuple[int, int, int, bytes]
"""(session row, entity id, seq, state; empty: removed)"""


def ints(*values: int) -> Ints:
    """Build a column."""
    return np.array(values, np.int64)


def write(rig: Rig, *writes: Write, stamp: int = 1, sample_ms: int = 0) -> None:
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
        sample_ms=np.full(len(writes), sample_ms, np.int64),
        stride=stride,
        state_at=np.cumsum(stride) - stride,
        stamp=stamp,
    )
