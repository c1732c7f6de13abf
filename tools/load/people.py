"""The players of a load as columns: one row per life, from WELCOME to the end of its session.

A row is never used again, so whatever a content claims to be from can be looked up for as long as the run lasts. A
player who leaves and comes back has two lives.
"""

import numpy as np
import numpy.typing as npt

from relay.columns import Bools, Columns, Ints
from tools.load.reading import Shape

Masks = npt.NDArray[np.uint64]
Times = npt.NDArray[np.float64]

FLIGHT = 64
"""Own datagrams whose fate is still open. At 30 a second that is a round trip of two seconds."""
REMEMBERED = 128
"""States, messages and signals of one life whose time of sending is remembered (chosen: four seconds at 30 Hz)."""
MESSAGE_SLOTS = 32
"""Messages that may be under way: MESSAGE_WINDOW."""
UNKNOWN = -1
"""Where a number of the wire is not known yet."""


COLUMNS: dict[str, tuple[str, tuple[int, ...]]] = {
    "session": ("u8", ()),
    "live": ("?", ()),  # joined and not ended
    "room": ("i8", ()),
    "log": ("i8", ()),  # a room that was empty is opened anew, with another log
    "player_id": ("i8", ()),
    "shard": ("u1", ()),
    "joined_at": ("f8", ()),
    # received
    "recv_newest": ("i8", ()),
    "recv_mask": ("u8", ()),
    "recv_at": ("f8", ()),
    "recv_count": ("i8", ()),
    "heard_at": ("f8", ()),
    "owed": ("i8", ()),
    "ack_due_at": ("f8", ()),
    "newest_tick": ("i8", ()),
    "first_tick": ("i8", ()),  # of its first UPDATE; 0 = none yet
    "clock_best_s": ("f8", ()),
    "clock_before_s": ("f8", ()),
    "clock_ends_at": ("f8", ()),
    # sent
    "send_seq": ("i8", ()),
    "sent_at": ("f8", ()),
    "told_newest": ("i8", ()),  # the newest that the relay has acknowledged
    "told_mask": ("u8", ()),  # bit i: it has told that told_newest - i arrived, ACK_BITS + 1 of them
    "told": ("i8", ()),  # of how many it has told so
    "untold": ("i8", ()),  # of how many no ack told anything, because UPDATEs are missing
    "flight_at": ("f8", (FLIGHT,)),
    "rtt_s": ("f8", ()),  # UNKNOWN until measured
    # its one entity
    "published": ("i8", ()),  # counter of its newest state
    "state_open": ("?", ()),
    "state_mask": ("u8", ()),  # carried the newest state
    "sample_ms": ("i8", ()),
    "published_at": ("f8", (REMEMBERED,)),
    # its messages: counter = message id
    "said": ("i8", ()),
    "said_at": ("f8", (REMEMBERED,)),
    "message_sent": ("i8", ()),
    "message_acked": ("i8", ()),
    "message_bits": ("u8", ()),  # bit i: message_acked + 1 + i has arrived
    "message_credit": ("i8", ()),
    "message_due_at": ("f8", (MESSAGE_SLOTS,)),
    # its signals: counter = sequence
    "signalled": ("i8", ()),
    "signal_packed": ("i8", ()),
    "signalled_at": ("f8", (REMEMBERED,)),
    # the log and the table as it knows them
    "log_start": ("i8", ()),
    "cursor": ("i8", ()),  # = done, but for those in Log's care
}
"""Name -> dtype and shape of one life's part."""


def columns_of(shape: Shape) -> dict[str, tuple[str, tuple[int, ...]]]:
    """List all columns: those above, and what each life knows of the table and the seats of its room."""
    slots = (shape.player_slots,)
    return COLUMNS | {
        "page_tick": ("i8", (shape.num_pages,)),
        "known": ("u8", slots),  # of each player's entity: 0, or the word of `claims.keys_of`
        "member": ("i1", slots),  # downlink.Membership
        "signal_newest": ("i8", slots),  # UNKNOWN, or newest sequence handed over
    }


class People(Columns):
    """Times are monotonic seconds, sequence numbers whole. Masks: bit i is the newest number less i."""

    session: Masks
    live: Bools
    room: Ints
    log: Ints
    player_id: Ints
    shard: npt.NDArray[np.uint8]
    joined_at: Times
    recv_newest: Ints
    recv_mask: Masks
    recv_at: Times
    recv_count: Ints
    heard_at: Times
    owed: Ints
    ack_due_at: Times
    newest_tick: Ints
    first_tick: Ints
    clock_best_s: Times
    clock_before_s: Times
    clock_ends_at: Times
    send_seq: Ints
    sent_at: Times
    told_newest: Ints
    told_mask: Masks
    told: Ints
    untold: Ints
    flight_at: Times
    rtt_s: Times
    published: Ints
    state_open: Bools
    state_mask: Masks
    sample_ms: Ints
    published_at: Times
    said: Ints
    said_at: Times
    message_sent: Ints
    message_acked: Ints
    message_bits: Masks
    message_credit: Ints
    message_due_at: Times
    signalled: Ints
    signal_packed: Ints
    signalled_at: Times
    log_start: Ints
    cursor: Ints
    page_tick: Ints
    known: Masks
    member: npt.NDArray[np.int8]
    signal_newest: Ints

    def __init__(self, rows: int, shape: Shape) -> None:
        """Make room for that many lives in rooms of one shape; more are added as they come."""
        self.COLUMNS = columns_of(shape)  # type: ignore[misc]
        super().__init__(rows)
        self.used = 0
        """Lives so far; rows from here on are empty."""
        self._order = np.zeros(0, np.int64)
        self._sorted = np.zeros(0, np.uint64)
        self._is_stale = False

    @property
    def living(self) -> Ints:
        """Rows of those who are joined, ascending."""
        return np.flatnonzero(self.live[: self.used])

    def add(self) -> int:
        """Begin a life. Returns its row, zeroed."""
        row = self.used
        self.used += 1
        self.grow_to(self.used)
        self.rtt_s[row] = UNKNOWN
        self.ack_due_at[row] = np.inf
        self.signal_newest[row] = UNKNOWN
        self._is_stale = True
        return row

    def end(self, row: int) -> None:
        """End a life: nothing more is sent or taken for it. What it knew stays."""
        self.live[row] = False
        self._is_stale = True

    def count_lost(self) -> tuple[int, int]:
        """Count own datagrams of which the relay has told whether they arrived, and those of them that did not.

        One that is merely late counts as lost until it is told of.
        """
        decided = int((self.told_newest[: self.used] - self.untold[: self.used]).sum())
        return decided, decided - int(self.told[: self.used].sum())

    def find(self, session: npt.NDArray[np.uint64]) -> tuple[Ints, Bools]:
        """Look sessions up, (n,): rows, and which of them are joined."""
        if self._is_stale:
            rows = self.living
            self._order = rows[np.argsort(self.session[rows], kind="stable")]
            self._sorted = self.session[self._order]
            self._is_stale = False
        if not len(self._order):
            return np.zeros(len(session), np.int64), np.zeros(len(session), np.bool_)
        place = np.minimum(np.searchsorted(self._sorted, session), len(self._order) - 1)
        return self._order[place], self._sorted[place] == session
