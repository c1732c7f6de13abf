"""Our log messages on their way up (SPEC 9, Upstream): numbered, windowed, repeated until acknowledged.

Few bytes are repeated in every DATA, so that a lost packet costs no round trip. Many are sent again only after a
round trip and a half, and only those that did not arrive: go-back-N on a long path multiplies what it carries.

What arrived behind a gap is not sent again, but kept until the gap is filled: the server forgets what it holds behind
a gap when its session is resumed (SPEC 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from protocol.client.parcel import Parcel, fragment_bytes
from protocol.client.targets import encode_targets, split
from protocol.constants import (
    FIRST_REQUEST_KIND,
    MAX_KEPT_MESSAGE_BYTES,
    MAX_MESSAGE_BYTES,
    MESSAGE_WINDOW,
    DataSection,
    MessageFlag,
    RequestKind,
    Target,
)
from protocol.dtypes import MESSAGE_HEADER
from protocol.records import MAX_MESSAGE_FRAGMENTS
from protocol.sequence import extend

REPEAT_MAX_BYTES = 512
"""Payload bytes waiting up to which every DATA repeats them (SPEC 9)."""
RETRY_RTTS = 1.5
RETRY_EXTRA_S = 0.050
"""Otherwise each is sent again after 1.5 round trips and 50 ms (SPEC 9)."""
DEFAULT_RTT_S = 0.2
"""Round trip until one has been measured, seconds (chosen: a slow one, so that the first repeats are not a flood)."""
LARGE_FRAGMENTS = 16
LAST_BYTES = 256
"""A message of more than 16 fragments ends with a short one (SPEC 9): few bytes are repeated in every update, and what
others send behind it waits for it alone."""
MAX_MESSAGE_KIND = FIRST_REQUEST_KIND - 1
"""Highest kind of a game's message (SPEC 9)."""
MAX_WAITING_BYTES = 4 << 20
"""Payload that may wait: four of the largest messages (chosen)."""


class OutboxFull(Exception):
    """More than MAX_WAITING_BYTES would wait; send again when some have been acknowledged."""


@dataclass(slots=True)
class _Waiting:
    message_id: int
    """Whole number."""
    body: bytes
    """The section's body, ready to send."""
    payload_bytes: int
    due_at: float = 0.0
    """When it is to be sent (again), monotonic seconds."""
    is_sent: bool = False


class Outbox:
    """Messages that the server has not acknowledged, in order."""

    def __init__(self, message_id: int, message_credit: int) -> None:
        self.last_id = message_id
        """Whole id of the last message queued; `message_id` of WELCOME if none was."""
        self.num_resent = 0
        self._acked_id = message_id
        self._sent_id = message_id
        self._credit_id = extend(message_credit, message_id)
        self._waiting: dict[int, _Waiting] = {}
        self._arrived: dict[int, _Waiting] = {}  # behind a gap: at most MESSAGE_WINDOW
        self._waiting_bytes = 0

    @property
    def acked_id(self) -> int:
        """Whole id of the newest message that the server has accepted, as far as we know."""
        return self._acked_id

    @property
    def num_waiting(self) -> int:
        """Messages (and fragments) that are not acknowledged."""
        return len(self._waiting)

    @property
    def newest_permitted(self) -> int:
        """Id up to which the server takes messages now."""
        return min(self._acked_id + MESSAGE_WINDOW, self._credit_id)

    def queue(
        self,
        payload: bytes,
        kind: int,
        channel: int,
        target: Target,
        players: Sequence[int],
        flags: MessageFlag = MessageFlag(0),  # noqa: B008 - a number
    ) -> int:
        """Cut a message into fragments and queue them. Returns: whole id of the last.

        Raises: ValueError for a number out of range or a payload that is too large; OutboxFull.
        """
        targets = encode_targets(kind, channel, target, players, MAX_MESSAGE_KIND)
        pieces = self._cut(payload, len(players))
        if flags and (target != Target.ALL or len(payload) > MAX_KEPT_MESSAGE_BYTES):
            wrong = f"{len(payload)} bytes for {Target(target).name}"
            raise ValueError(f"message to keep is {wrong}; permitted: 0 to {MAX_KEPT_MESSAGE_BYTES} bytes for ALL")
        return self._put(pieces, kind, flags, channel, target, targets, len(players))

    def queue_request(self, kind: RequestKind, payload: bytes) -> int:
        """Queue a request to the server. Returns: its whole id. Raises: OutboxFull."""
        return self._put([payload], kind, MessageFlag(0), 0, Target.ALL, b"", 0)

    def _put(
        self,
        pieces: list[bytes],
        kind: int,
        flags: MessageFlag,
        channel: int,
        target: Target,
        targets: bytes,
        num_players: int,
    ) -> int:
        num_bytes = sum(map(len, pieces))
        if self._waiting_bytes + num_bytes > MAX_WAITING_BYTES:
            raise OutboxFull(f"{self._waiting_bytes} bytes wait; permitted: {MAX_WAITING_BYTES}")
        for number, piece in enumerate(pieces):
            self.last_id += 1
            header = MESSAGE_HEADER.encode(
                message_id=self.last_id & 0xFFFF,
                kind=kind,
                flags=flags,
                channel=channel,
                target=target if number == 0 else Target.ALL,  # SPEC 9: the target of the first counts
                target_count=num_players if number == 0 else 0,
                more=int(number < len(pieces) - 1),
            )
            body = header + (targets if number == 0 else b"") + piece
            self._waiting[self.last_id] = _Waiting(self.last_id, body, len(piece))
        self._waiting_bytes += num_bytes
        return self.last_id

    def may_be_acked(self, message_ack: int) -> bool:
        """Tell whether a `message_ack` (16 bits) is of something that was sent."""
        return 0 <= extend(message_ack, self._sent_id) <= self._sent_id

    def on_acked(self, message_ack: int, message_bits: int, message_credit: int) -> None:
        """Use the fields of the newest UPDATE: highest accepted, what came after it, highest permitted."""
        acked_id = extend(message_ack, self._sent_id)
        for message_id in range(self._acked_id + 1, acked_id + 1):
            self._settle(message_id)
            self._arrived.pop(message_id, None)
        self._acked_id = max(self._acked_id, acked_id)
        while message_bits:
            lowest = message_bits & -message_bits
            self._settle(acked_id + lowest.bit_length())
            message_bits ^= lowest
        self._credit_id = extend(message_credit, acked_id)

    def continues(self, message_id: int) -> bool:
        """Tell whether a WELCOME's `message_id` (16 bits) is of something sent and not below what was acknowledged."""
        return self._acked_id <= extend(message_id, self._acked_id) <= self._sent_id

    def on_resumed(self, message_id: int, message_credit: int) -> None:
        """Go on in a new session: all beyond `message_id`, which `continues`, is sent again at once."""
        self.on_acked(message_id, 0, message_credit)
        self._waiting = dict(sorted((self._arrived | self._waiting).items()))
        self._waiting_bytes += sum(message.payload_bytes for message in self._arrived.values())
        self._arrived = {}
        for message in self._waiting.values():
            message.due_at = 0.0

    def due(self, now: float) -> list[_Waiting]:
        """List what one tick has to send, in order: inside the window and the credit."""
        if not self._waiting:
            return []
        limit = self.newest_permitted
        repeats_all = self._waiting_bytes <= REPEAT_MAX_BYTES
        inside = takewhile(lambda message: message.message_id <= limit, self._waiting.values())
        return [message for message in inside if repeats_all or message.due_at <= now]

    def pack(self, todo: list[_Waiting], parcel: Parcel, now: float, rtt_s: float | None) -> list[_Waiting]:
        """Put as many of `todo` as fit into a DATA, in order. Returns: those that did not fit."""
        retry_s = RETRY_RTTS * (DEFAULT_RTT_S if rtt_s is None else rtt_s) + RETRY_EXTRA_S
        for position, message in enumerate(todo):
            if not parcel.fits(len(message.body)):
                return todo[position:]
            parcel.add(DataSection.MESSAGE, message.body)
            self.num_resent += message.is_sent
            message.is_sent = True
            message.due_at = now + retry_s
            self._sent_id = max(self._sent_id, message.message_id)
        return []

    def _settle(self, message_id: int) -> None:
        # A bit for an id that was never sent is nothing that a correct server sets; it must not lose a message.
        if message_id <= self._sent_id:
            message = self._waiting.pop(message_id, None)
            if message is not None:
                self._waiting_bytes -= message.payload_bytes
                self._arrived[message_id] = message

    @staticmethod
    def _cut(payload: bytes, num_players: int) -> list[bytes]:
        """Cut a payload; the first piece shares its DATA with the list of players and may be shorter."""
        if len(payload) > MAX_MESSAGE_BYTES:
            raise ValueError(f"payload is {len(payload)} bytes; permitted: 0 to {MAX_MESSAGE_BYTES}")
        first_bytes = fragment_bytes(MESSAGE_HEADER.size, num_players)
        pieces = [payload[:first_bytes]]
        if len(payload) > first_bytes:
            pieces += split(payload[first_bytes:], fragment_bytes(MESSAGE_HEADER.size, 0))
        if LARGE_FRAGMENTS < len(pieces) < MAX_MESSAGE_FRAGMENTS and len(pieces[-1]) > LAST_BYTES:
            pieces[-1:] = [pieces[-1][:-LAST_BYTES], pieces[-1][-LAST_BYTES:]]
        if len(pieces) > MAX_MESSAGE_FRAGMENTS:
            permitted = f"1 to {MAX_MESSAGE_FRAGMENTS}"
            raise ValueError(f"payload for {num_players} players takes {len(pieces)} fragments; permitted: {permitted}")
        return pieces
