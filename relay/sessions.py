"""The session table: who is connected, what has arrived from each, what is under way to each.

A session is named by 64 bits: the low 20 are its row, the others are random and make it unguessable. Comparing the
whole number is what makes a row number from the wire safe to use.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from protocol.constants import LOG_WINDOW, MAX_SLOTS, WINDOW
from relay.addresses import ADDRESS_WORDS
from relay.columns import Bools, Columns, Ints, RowPool, places

ROW_BITS = 20
"""Low bits of a session id that are its row: a million sessions; 44 random bits are left."""
NUM_BUDGETS = 4
"""Token buckets of a session, see `budgets`."""
MAX_FORMER = 4
"""Ids and secrets of a session that was resumed again and again without a word from it (chosen)."""
KEPT_COLUMNS = (
    "room", "player_id", "tokens", "tokens_at", "message_accepted", "message_permitted", "message_index",
    "message_held", "message_bits", "unfinished_parts", "unfinished_first", "unfinished_audience",
    "entry_charge", "unread_bytes", "log_start", "log_cursor", "log_bits", "log_effective", "log_seen", "log_mark",
    "pages_first",
)  # fmt: skip
"""Columns of SessionTable that belong to the player, not to its connection: a resume keeps them."""


class Random(Protocol):
    """What the core asks of a random source: `random.SystemRandom` outside, a seeded `random.Random` in tests."""

    def getrandbits(self, k: int, /) -> int:
        """Return k random bits as a number."""
        ...


class SessionTable(Columns):
    """One row per session. Times are monotonic seconds, sequence numbers extended, bytes on the wire."""

    COLUMNS = {
        "id": ("u8", ()),  # 0 = free row
        "room": ("i8", ()),
        "player_id": ("i8", ()),
        "address": ("u4", (ADDRESS_WORDS,)),
        # received
        "recv_newest": ("i8", ()),  # 0 = nothing yet
        "recv_mask": ("u8", ()),  # bit i: recv_newest - i has arrived
        "recv_at": ("f8", ()),  # when recv_newest arrived
        "heard_at": ("f8", ()),
        "ack_owed": ("i8", ()),  # datagrams with a section not yet acknowledged
        "ack_due_at": ("f8", ()),  # inf = none
        # sent
        "send_seq": ("i8", ()),
        "acked_seq": ("i8", ()),
        "flight_mask": ("u8", ()),  # bit i: send_seq - i is not acknowledged
        "sent_bytes": ("i8", ()),
        "acked_bytes": ("i8", ()),  # sent_bytes when acked_seq was sent
        "sent_at": ("f8", ()),
        "send_tokens": ("f8", ()),  # bytes that may be sent now, see pacing
        "send_tokens_at": ("f8", ()),
        "history_tick": ("i8", (WINDOW,)),  # slot seq % 64, for the seqs in flight_mask
        "history_page": ("i4", (WINDOW,)),  # a multiple of 64
        "history_pages": ("u8", (WINDOW,)),  # bit i: carried page history_page + i
        "history_at": ("f8", (WINDOW,)),
        "history_bytes": ("i8", (WINDOW,)),  # sent_bytes after it
        # estimates
        "rtt_s": ("f8", ()),  # 0 = not measured
        "rtt_var_s": ("f8", ()),
        "rtt_min_s": ("f8", ()),
        "loss_down": ("f8", ()),
        "loss_up": ("f8", ()),
        "tick_interval": ("i8", ()),  # a snapshot every so many ticks
        # budgets
        "tokens": ("f8", (NUM_BUDGETS,)),
        "tokens_at": ("f8", ()),
        # messages upstream
        "message_accepted": ("i8", ()),
        "message_permitted": ("i8", ()),  # highest id that it was allowed to send
        "message_index": ("i8", ()),  # log index of message_accepted
        "message_held": ("i8", ()),  # messages kept behind a gap
        "message_bits": ("u4", ()),  # bit i: accepted + 1 + i is held
        "unfinished_parts": ("i8", ()),  # fragments so far of a message that is not finished
        "unfinished_first": ("i8", ()),  # log index of its first fragment
        "unfinished_audience": ("u8", (MAX_SLOTS // 64,)),
        "entry_charge": ("i8", ()),  # that of its room
        "unread_bytes": ("i8", ()),  # of its entries that a member has not read, see log
        # log downstream
        "log_start": ("i8", ()),
        "log_cursor": ("i8", ()),
        "log_bits": ("u8", (LOG_WINDOW // 64,)),  # bit j of all: log_cursor + 1 + j is complete
        "log_effective": ("i8", ()),
        "log_seen": ("i8", ()),  # highest index that was open
        "log_sent_tick": ("u4", (LOG_WINDOW,)),  # slot index % 256: when sent last, 0 = never; valid up to log_seen
        "log_mark": ("i8", ()),  # the log's head when the effective cursor last reached the mark before
        "log_marked_at": ("f8", ()),
        "acked_at": ("f8", ()),  # when acked_seq last moved, or nothing was under way
        # pages
        "pages_first": ("i8", ()),  # first row in SessionPages
        "page_next": ("i8", ()),  # where the next round of pages begins
        # path check
        "challenged_at": ("f8", ()),
    }

    id: npt.NDArray[np.uint64]
    room: Ints
    player_id: Ints
    address: npt.NDArray[np.uint32]
    recv_newest: Ints
    recv_mask: npt.NDArray[np.uint64]
    recv_at: npt.NDArray[np.float64]
    heard_at: npt.NDArray[np.float64]
    ack_owed: Ints
    ack_due_at: npt.NDArray[np.float64]
    send_seq: Ints
    acked_seq: Ints
    flight_mask: npt.NDArray[np.uint64]
    sent_bytes: Ints
    acked_bytes: Ints
    sent_at: npt.NDArray[np.float64]
    send_tokens: npt.NDArray[np.float64]
    send_tokens_at: npt.NDArray[np.float64]
    history_tick: Ints
    history_page: npt.NDArray[np.int32]
    history_pages: npt.NDArray[np.uint64]
    history_at: npt.NDArray[np.float64]
    history_bytes: Ints
    rtt_s: npt.NDArray[np.float64]
    rtt_var_s: npt.NDArray[np.float64]
    rtt_min_s: npt.NDArray[np.float64]
    loss_down: npt.NDArray[np.float64]
    loss_up: npt.NDArray[np.float64]
    tick_interval: Ints
    tokens: npt.NDArray[np.float64]
    tokens_at: npt.NDArray[np.float64]
    message_accepted: Ints
    message_permitted: Ints
    message_index: Ints
    message_held: Ints
    message_bits: npt.NDArray[np.uint32]
    unfinished_parts: Ints
    unfinished_first: Ints
    unfinished_audience: npt.NDArray[np.uint64]
    entry_charge: Ints
    unread_bytes: Ints
    log_start: Ints
    log_cursor: Ints
    log_bits: npt.NDArray[np.uint64]
    log_effective: Ints
    log_seen: Ints
    log_sent_tick: npt.NDArray[np.uint32]
    log_mark: Ints
    log_marked_at: npt.NDArray[np.float64]
    acked_at: npt.NDArray[np.float64]
    pages_first: Ints
    page_next: Ints
    challenged_at: npt.NDArray[np.float64]


class Sessions:
    """The session table with its rows, and what only Python needs to know of a session."""

    def __init__(self, rng: Random) -> None:
        self.table = SessionTable(64)
        self._pool = RowPool(self.table)
        self._rng = rng
        self.secret: dict[int, bytes] = {}
        """Row -> the session's secret."""
        self.name: dict[int, str] = {}
        """Row -> the player's name."""
        self.nonce: dict[int, int] = {}
        """Row -> nonce of the JOIN that made it."""
        self.identity: dict[int, bytes] = {}
        """Row -> the identity given in JOIN, b"" if none was."""
        self._former: dict[int, int] = {}
        """Former session id -> row that was resumed, until the new session's first DATA is known to have come."""
        self._former_secrets: dict[int, dict[int, bytes]] = {}
        """Row -> former session id -> secret, newest last."""
        self._live: Ints | None = None

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self.name)

    @property
    def live(self) -> Ints:
        """Rows of all sessions, ascending. Found anew after a session came or went."""
        if self._live is None:
            self._live = places(self.table.id[: self._pool.used] != 0)
        return self._live

    def open(self, address: bytes, name: str, nonce: int, now: float, identity: bytes = b"") -> int:
        """Make a session for a proven address. Returns its row; id and secret are new random bits."""
        row = self._pool.take()
        self.name[row], self.identity[row] = name, identity
        self._begin(row, address, nonce, now)
        return row

    def renew(self, row: int, address: bytes, nonce: int, now: float) -> None:
        """Begin a player's connection anew, from another address: new id and secret, all else of it as at first.

        What is kept for the player stays; the caller decides about its log. The former id and secret are remembered.
        """
        table = self.table
        self._forget_former_if_heard(row)
        former_id = int(table.id[row])
        secrets = self._former_secrets.setdefault(row, {})
        secrets[former_id] = self.secret[row]
        self._former[former_id] = row
        if len(secrets) > MAX_FORMER:
            oldest = next(iter(secrets))
            del secrets[oldest], self._former[oldest]
        kept = {name: getattr(table, name)[row].copy() for name in KEPT_COLUMNS}
        table.clear(row, 1)
        for name, value in kept.items():
            getattr(table, name)[row] = value
        self._begin(row, address, nonce, now)

    def find_former(self, session_id: int) -> tuple[int | None, bytes]:
        """Return row and secret of a session that was resumed, as long as nothing came from the new one."""
        row = self._former.get(session_id)
        if row is None:
            return None, b""
        self._forget_former_if_heard(row)
        secret = self._former_secrets.get(row, {}).get(session_id)
        return (row, secret) if secret is not None else (None, b"")

    def _forget_former_if_heard(self, row: int) -> None:
        if self.table.recv_newest[row] > 0:
            self._forget_former(row)

    def _forget_former(self, row: int) -> None:
        for session_id in self._former_secrets.pop(row, {}):
            del self._former[session_id]

    def _begin(self, row: int, address: bytes, nonce: int, now: float) -> None:
        """Fill in what every connection begins with."""
        table = self.table
        table.id[row] = self._rng.getrandbits(64 - ROW_BITS) << ROW_BITS | row
        if table.id[row] >> np.uint64(ROW_BITS) == 0:  # an id of 0 would mean a free row
            table.id[row] = 1 << ROW_BITS | row
        self.set_address(row, address)
        table.heard_at[row] = table.sent_at[row] = table.log_marked_at[row] = table.acked_at[row] = now
        table.recv_at[row] = now
        table.ack_due_at[row] = np.inf
        table.tick_interval[row] = 1
        table.challenged_at[row] = table.send_tokens_at[row] = -np.inf
        self.secret[row] = self._rng.getrandbits(128).to_bytes(16, "little")
        self.nonce[row] = nonce
        self._live = None

    def set_address(self, row: int, address: bytes) -> None:
        """Let a session's datagrams go to another address, which the caller has seen proven."""
        self.table.address[row] = np.frombuffer(address, np.uint32)

    def close(self, row: int) -> None:
        """Forget a session."""
        self.table.id[row] = 0
        self._live = None
        self._forget_former(row)
        del self.secret[row], self.name[row], self.nonce[row], self.identity[row]
        self._pool.give(row)

    def find(self, session_id: int) -> int | None:
        """Return the row of a session id from the wire, or None."""
        row = session_id & ((1 << ROW_BITS) - 1)
        if row < self.table.rows and session_id and int(self.table.id[row]) == session_id:
            return row
        return None

    def find_rows(self, session_ids: npt.NDArray[np.uint64]) -> tuple[Ints, Bools]:
        """Array form of `find`: rows (n,), valid where the mask (n,) is True; 0 elsewhere."""
        rows = (session_ids & np.uint64((1 << ROW_BITS) - 1)).astype(np.int64)
        rows[rows >= self.table.rows] = 0
        known = (self.table.id[rows] == session_ids) & (session_ids != 0)
        return np.where(known, rows, 0), known
