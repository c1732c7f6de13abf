"""Faults to plant: small patches of the engine and the client, each a context manager.

A proof that cannot fail proves nothing. Every fault here is one that somebody could write, and `test_faults.py` asserts
that a game in the simulator finds each. A patch names the function that it replaces; when that moves, the patch
raises instead of planting nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from protocol.client.uploads import Uploads
from protocol.constants import PART_MORE, AckFlag
from protocol.sequence import ReceiveWindow
from relay import acks, delivery, egress, ingress, membership, messages, signals, snapshots
from relay.entities import Entities
from relay.handshake import Cookies
from relay.lobby import Lobby
from relay.log import Log


@contextmanager
def patched(owner: Any, name: str, build: Callable[[Any], Any]) -> Iterator[None]:
    """Replace `owner.name` by `build(original)` for a while. Raises: AttributeError if there is no such name."""
    original = owner.__dict__[name] if name in vars(owner) else getattr(owner, name)
    setattr(owner, name, build(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def duplicate_check_off() -> Any:
    """A datagram that arrives twice is taken twice."""

    def build(original: Any) -> Any:
        def check_window(received: Any, sessions: Any, stats: Any) -> Any:
            mask = sessions.table.recv_mask.copy()
            sessions.table.recv_mask[:] = 0
            try:
                return original(received, sessions, stats)
            finally:
                sessions.table.recv_mask[:] = mask

        return check_window

    return patched(ingress, "check_window", build)


def ack_bit_off_by_one() -> Any:
    """A client's bit i means ack - i instead of ack - 1 - i."""
    return patched(ReceiveWindow, "ack_bits", lambda original: lambda self: original(self) << 1 & 0xFFFFFFFF | 1)


def ack_bit_of_the_server_off_by_one() -> Any:
    """The same on the other side."""

    def build(original: Any) -> Any:
        def build_headers(session: Any, rank: Any, table: Any, *rest: Any) -> Any:
            headers = original(session, rank, table, *rest)
            headers["ack_bits"] = table.recv_mask[session] & np.uint64(0xFFFFFFFF)
            return headers

        return build_headers

    return patched(egress, "_build_headers", build)


def wrong_baseline() -> Any:
    """What was sent is believed to have arrived."""

    def build(original: Any) -> Any:
        def note_sent(sessions: Any, rooms: Any, entities: Any, session: Any, page: Any, tick: int) -> Any:
            original(sessions, rooms, entities, session, page, tick)
            entities.seats.acked_tick[sessions.table.pages_first[session] + page] = tick

        return note_sent

    return patched(snapshots, "note_sent", build)


def removal_forgotten() -> Any:
    """A removed entity leaves no trace of its removal."""

    def build(original: Any) -> Any:
        def remove_rows(self: Any, rooms: Any, room_rows: Any, rows: Any, stamp: int) -> Any:
            original(self, rooms, room_rows, rows, stamp)
            self.table.removed_tick[rows] = 0

        return remove_rows

    return patched(Entities, "remove_rows", build)


def everybody(original: Any) -> Any:
    """Build a `read_audiences` that takes every target for "all"."""

    def read_audiences(*args: Any) -> Any:
        return ~np.zeros_like(original(*args))

    return read_audiences


def target_of_messages_ignored() -> Any:
    """Messages go to everybody."""
    return patched(messages, "read_audiences", everybody)


def target_of_signals_ignored() -> Any:
    """Signals go to everybody."""
    return patched(signals, "read_audiences", everybody)


def cursor_skips_one() -> Any:
    """An acknowledged cursor is taken for one more than it says."""

    def build(original: Any) -> Any:
        def handle_log_acks(received: Any, newest: Any, sessions: Any) -> Any:
            header = received.header
            received.header = header.copy()
            received.header["log_cursor"] += 1
            original(received, newest, sessions)
            received.header = header

        return handle_log_acks

    return patched(acks, "handle_log_acks", build)


def upstream_repeat_off() -> Any:
    """A client sends each state once and relies on its arrival."""

    def build(original: Any) -> Any:
        def due(self: Any) -> Any:
            sent = self.__dict__.setdefault("_sent_versions", set())
            fresh = [entity for entity in original(self) if entity.version not in sent]
            sent.update(entity.version for entity in fresh)
            return fresh

        return due

    return patched(Uploads, "due", build)


def credit_cap_ignored() -> Any:
    """Everybody may always send 32 messages more, whatever lies unread."""

    def build(original: Any) -> Any:
        def creditable(table: Any, rows: Any) -> Any:
            return table.message_accepted[rows] + 32

        return creditable

    return patched(messages, "creditable", build)


def replay_window_too_wide() -> Any:
    """Datagrams up to 4,096 behind the newest are taken although nobody remembers whether they came before."""
    return patched(ingress, "WINDOW", lambda original: 4096)


def cookie_unchecked() -> Any:
    """Any cookie proves any address."""
    return patched(Cookies, "check", lambda original: lambda self, *args: True)


def path_proof_unneeded() -> Any:
    """Answers follow a datagram's source address at once."""

    def build(original: Any) -> Any:
        def challenge_path(self: Any, row: int, address: bytes, now: float) -> Any:
            self._world.sessions.set_address(row, address)

        return challenge_path

    return patched(Lobby, "challenge_path", build)


def nonce_forgotten() -> Any:
    """A JOIN that arrives twice makes two players."""

    def build(original: Any) -> Any:
        def handle_join(self: Any, *args: Any) -> Any:
            self._nonces.clear()
            original(self, *args)

        return handle_join

    return patched(Lobby, "_handle_join", build)


def fragment_lost() -> Any:
    """A fragment of a large message is sent once and never again."""

    def build(original: Any) -> Any:
        def resend_ticks(found: Any, *rest: Any) -> Any:
            return np.where(found.fragment, 1_000_000, original(found, *rest))

        return resend_ticks

    return patched(delivery, "_resend_ticks", build)


def signal_position_ignored() -> Any:
    """A signal waits for no entry of the log."""
    return patched(signals, "_positions", lambda original: lambda part, *rest: np.zeros(len(part.session), np.int64))


def signal_does_not_wait_at_the_server() -> Any:
    """A signal is passed on although the message it follows has not arrived at the server."""

    def build(original: Any) -> Any:
        def read(self: Any, *args: Any) -> Any:
            result = original(self, *args)
            result.after[:] = 0
            return result

        return read

    return patched(signals.SignalRelay, "read", build)


def player_id_reused_at_once() -> Any:
    """A player id is given out again the moment its player has left, the lowest first."""

    def build(original: Any) -> Any:
        def free_player_id(world: Any, room: Any) -> Any:
            return next((number for number, slot in enumerate(room.slots) if slot.session is None), None)

        return free_player_id

    return patched(membership, "_free_player_id", build)


def message_ack_one_too_high() -> Any:
    """The server acknowledges one message more than it has."""

    def build(original: Any) -> Any:
        def build_headers(session: Any, *rest: Any) -> Any:
            headers = original(session, *rest)
            headers["message_ack"] += headers["message_ack"] > 0
            return headers

        return build_headers

    return patched(egress, "_build_headers", build)


def late_state_wins() -> Any:
    """A state in a late datagram overwrites a newer one."""

    def build(original: Any) -> Any:
        def apply_writes(self: Any, *args: Any, **named: Any) -> Any:
            self.table.write_seq[:] = 0
            original(self, *args, **named)

        return apply_writes

    return patched(Entities, "apply_writes", build)


def late_joiner_sees_the_rest_of_a_message() -> Any:
    """The audience of a fragment is fixed when that fragment is written, not the message's first."""

    def build(original: Any) -> Any:
        def append(self: Any, rooms: Any, room_row: Any, header: Any, owner: Any, first: Any, *rest: Any) -> Any:
            return original(self, rooms, room_row, header, owner, np.zeros_like(first), *rest)

        return append

    return patched(Log, "append", build)


def fragments_hold_nobody_up() -> Any:
    """A message is handed over although fragments before its last one are missing: `more` is lost on the way."""

    def build(original: Any) -> Any:
        def append(self: Any, rooms: Any, room_row: Any, header: Any, *rest: Any) -> Any:
            header["part"] &= ~np.uint16(PART_MORE)
            return original(self, rooms, room_row, header, *rest)

        return append

    return patched(Log, "append", build)


def leaver_stays_in_the_table() -> Any:
    """The entities of a player who left are not removed."""
    return patched(Entities, "leave_seat", lambda original: lambda self, *args: [])


def says_nothing_received() -> Any:
    """The server says that nothing has arrived, so that its clients never stop repeating."""

    def build(original: Any) -> Any:
        def build_headers(*args: Any) -> Any:
            headers = original(*args)
            headers["flags"] = int(AckFlag.NOTHING_RECEIVED)
            return headers

        return build_headers

    return patched(egress, "_build_headers", build)
