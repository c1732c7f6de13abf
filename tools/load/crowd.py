"""The players of a load, without their sockets: thousands of `protocol.client` connections in numpy passes.

    row = crowd.adopt(welcome, room, now)            a handshake by `ClientConnection` ended with WELCOME
    crowd.receive(source, at, length, arrived)       UPDATEs, many at a time, in order of arrival
    crowd.publish / say / signal(rows, now)          what players do
    crowd.build_tick(rows, now)                      DATA of players whose tick it is
    crowd.build_words(now)                           acks that are due, keepalives
    crowd.handle_cold(data, now)                     everything else that a relay sends

`tests/tools/load/test_crowd.py` plays the same life with a `ClientConnection` beside each player, over networks that
lose, double and reorder: equal bytes up, equal tables, messages and signals.
"""

from typing import Any

import numpy as np

from protocol import codec
from protocol.client.clock import WINDOW_S
from protocol.constants import ByeReason, Kind
from protocol.drops import DropReason
from protocol.proofs import path_proof
from protocol.sequence import extend
from relay.columns import Bools, Bytes, Ints
from tools.load.downlink import Downlink, Times, Witness
from tools.load.log import Log
from tools.load.people import People
from tools.load.reading import Shape
from tools.load.uplink import Habits, Outbound, Uplink


class Crowd:
    """Joined players and what they know. One run's rooms all have one shape."""

    def __init__(self, shape: Shape, habits: Habits, tick_rate: int, keepalive_s: float, witness: Witness) -> None:
        """Begin with nobody."""
        self.people = People(64, shape)
        self.shape = shape
        self.habits = habits
        self.log = Log(self.people, habits.message_bytes)
        self.downlink = Downlink(self.people, self.log, shape, habits.signal_bytes, tick_rate, witness)
        self.uplink = Uplink(self.people, self.log, habits, tick_rate)
        self._tick_rate = tick_rate
        self._keepalive_s = keepalive_s
        self._log_of: dict[int, int] = {}  # room -> the log that it has now
        self._num_logs = 0
        self._secrets: dict[int, tuple[bytes, bytes]] = {}  # row -> secret, reset token
        self.receive = self.downlink.receive
        self.publish = self.uplink.publish
        self.say = self.uplink.say
        self.signal = self.uplink.signal
        self.build_tick = self.uplink.build_tick

    def adopt(self, welcome: Any, room: int, now: float) -> int:
        """Take over a player whom the relay has let in.

        Args:
            welcome: Fields of WELCOME (SPEC 4).
            room: Number of the room within the load.
        Returns: its row.
        """
        people = self.people
        row = people.add()
        people.log[row] = self._find_log(room, welcome.log_index)
        people.session[row], people.live[row] = welcome.session, True
        people.room[row], people.player_id[row] = room, welcome.player_id
        people.shard[row] = welcome.shard
        people.joined_at[row] = people.heard_at[row] = people.sent_at[row] = now
        people.message_acked[row] = people.message_sent[row] = people.said[row] = welcome.message_id
        people.message_credit[row] = extend(welcome.message_credit, welcome.message_id)
        people.log_start[row] = people.cursor[row] = welcome.log_index
        people.clock_best_s[row] = welcome.tick / self._tick_rate - now
        people.clock_before_s[row] = -np.inf
        people.clock_ends_at[row] = now + WINDOW_S
        self._secrets[row] = welcome.secret, welcome.reset_token
        return row

    def _find_log(self, room: int, log_index: int) -> int:
        """Find the log that a newcomer reads: when all had left, the relay closed the room, and this is another."""
        living = self.people.living
        is_fresh = log_index == 0 and not (self.people.room[living] == room).any()
        if room not in self._log_of or is_fresh:
            self._log_of[room] = self._num_logs
            self._num_logs += 1
        return self._log_of[room]

    def end(self, row: int) -> None:
        """End a life; what it was told stays known."""
        self.people.end(row)
        self.log.forget(row)
        self._secrets.pop(row, None)

    def build_words(self, now: float) -> Outbound:
        """Build the acknowledgements that are due and the keepalives."""
        return self.uplink.build_words(now, self._keepalive_s)

    def build_bye(self, row: int) -> bytes:
        """Build what a player says who leaves."""
        people = self.people
        return codec.encode(
            Kind.BYE,
            shard=int(people.shard[row]),
            session=int(people.session[row]),
            reason=ByeReason.LEFT,
            text=b"",
        )

    def handle_cold(self, data: bytes, now: float) -> tuple[int, bytes] | tuple[int, ByeReason | int] | None:
        """Take BYE, RESET or PATH_CHALLENGE.

        Returns: (row, what to answer where it came from), (row, why its session is over), or None for what is not ours.
        """
        value = codec.decode(data)
        if isinstance(value, DropReason):
            return None
        rows, known = self.people.find(np.array([value.session], np.uint64))
        if not known[0]:
            return None
        row = int(rows[0])
        secret, reset_token = self._secrets[row]
        if data[0] == Kind.PATH_CHALLENGE:
            self.people.heard_at[row] = now
            proof = path_proof(secret, value.challenge, value.session)
            shard, session = int(self.people.shard[row]), value.session
            answer = codec.encode(
                Kind.PATH_RESPONSE, shard=shard, session=session, challenge=value.challenge, proof=proof
            )
            return row, answer
        if data[0] == Kind.BYE:
            return row, value.reason
        return (row, ByeReason.RESET) if value.reset_token == reset_token else None

    def unsettled(self) -> Ints:
        """List the living whose state or messages the relay has not acknowledged."""
        rows = self.people.living
        settled: Bools = ~self.people.state_open[rows] & (self.people.message_acked[rows] == self.people.said[rows])
        return rows[~settled]


__all__ = ["Bytes", "Crowd", "Habits", "Outbound", "Shape", "Times"]
