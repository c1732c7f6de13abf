"""One engine and its clients in virtual time, joined by a made-up network. A seed reproduces a run byte for byte.

The world is an event queue: arrivals, receive passes, server ticks, client ticks and client polls, each at its time.
Arrivals at the server are gathered for a few milliseconds and handed over as one batch, as the transports do. Nothing
here reads a clock or a global random source, and no decision depends on the order of a set.

    world = World(seed=7, num_players=8)
    world.join_all()
    world.autopilot = Habits()      # from here on, players do things by themselves
    world.run(20.0)
    world.settle()                  # stop doing things, wait until all is quiet, check every invariant
"""

import hashlib
import math
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from protocol.client import ClientConnection, Disconnected, Joined, Refused, Resumed, RoomReset
from protocol.constants import Kind, Refusal
from relay.addresses import pack_address
from relay.batch import Batch, Outgoing
from relay.config import RelayConfig
from relay.engine import Engine
from tests.sim.deeds import Deeds
from tests.sim.habits import Habits, act
from tests.sim.invariants import Witness
from tests.sim.lives import Life
from tests.sim.network import STANDARD, Conditions
from tests.sim.players import Player, RoomShape
from tests.sim.views import versions_of_engine, view_of_client, view_of_engine

SECRET = bytes(range(32))
"""The engine's secret, the same in every world."""
DEFAULT_CONFIG = RelayConfig(timeout_s=6.0, keepalive_s=0.25, grace_s=0)
"""The timeout is short, but longer than a whole attempt to join: a session must not end before its WELCOME arrives."""
LASTING_CONFIG = RelayConfig(timeout_s=2.0, keepalive_s=0.25, grace_s=8.0)
"""For rooms that last: soon away, and kept for long enough to come back."""
BATCH_ROWS = 64
SOCKET_BUFFER_BYTES = 65_536
"""What a Godot client's socket keeps while nobody reads it; the rest is lost."""
CHECK_EVERY_S = 0.1
"""How often caps are checked."""
SETTLE_STEP_S = 0.25
TRY_AGAIN_S = 0.5
"""After this a player whose attempt to join failed makes another."""


class World(Deeds):
    """See the head of this module."""

    def __init__(
        self,
        seed: object,
        *,
        conditions: Conditions = STANDARD,
        config: RelayConfig | None = None,
        num_players: int = 8,
        room: RoomShape | None = None,
        gather_s: float | None = None,
        engine: Engine | None = None,
        started_at: float | None = None,
    ) -> None:
        """Make a world in which nobody has joined yet.

        Args:
            seed: Anything with a repr of its own; two worlds of one seed do the same.
            gather_s: How long arrivals are gathered for one receive pass; None: chosen by the seed, 4 to 33 ms.
            engine: Use this one, which has run in another world up to `started_at`; None: a new one.
        """
        self.seed = seed
        self.config = config or DEFAULT_CONFIG
        self.room = room or RoomShape()
        self.rng = Random(f"{seed} world")
        self.now = self.rng.choice([0.0, 1_000.0, 1_000_000.0]) if started_at is None else started_at
        self.started_at = self.now
        self.gather_s = self.rng.choice([0.004, 0.016, 0.033]) if gather_s is None else gather_s
        self.engine = engine or Engine(self.config, SECRET, Random(f"{seed} engine"))
        self.judging = True
        """False: nothing that is sent or handed over is held against the invariants."""
        self.witness = Witness(seed, lambda: self.now - self.started_at)
        self.autopilot: Habits | None = None
        self.players = [Player(number, seed, conditions) for number in range(num_players)]
        self.player_at = {player.address: player for player in self.players}
        """Every address that a player has or had."""
        for player in self.players:
            player.identity = b"machine %8d" % (player.number % (self.room.num_identities or num_players))
        self.strangers: dict[bytes, list[bytes]] = {}
        """Address that belongs to nobody -> what the server sent to it."""
        self._num_strangers = 0
        self.on_upstream: Callable[[Player, bytes], None] | None = None
        """Called with every datagram that a player sends: for tests that record or listen in."""
        self.endings: list[Refused | Disconnected] = []
        """How connections ended, in order, whoever ended them."""
        self.digest = hashlib.blake2b(digest_size=16)
        """Over every datagram that anybody sent, with its time and address."""
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._num_events = 0
        self._staged: list[tuple[bytes, bytes]] = []
        self._batch = Batch(BATCH_ROWS)
        self._tick_s = 1.0 / self.config.tick_rate
        self._at(self.now + self._tick_s, self._server_tick)
        self._at(self.now, self._check_caps)
        for player in self.players:
            self._at(self.now + self.rng.random() * self._tick_s, self._client_tick, player)

    # --- time

    def _at(self, time: float, action: Callable[..., None], *args: Any) -> None:
        self._num_events += 1
        heappush(self._queue, (time, self._num_events, action, args))

    def call_at(self, time: float, action: Callable[..., None], *args: Any) -> None:
        """Do something at a time of the world."""
        self._at(time, action, *args)

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        end = self.now + seconds
        while self._queue[0][0] <= end:
            self.now, _, action, args = heappop(self._queue)
            action(*args)
        self.now = end

    def run_until(self, condition: Callable[[], bool], within_s: float, step_s: float = 0.02) -> float:
        """Let time pass until a condition holds.

        Returns: the seconds it took, in whole steps. Raises: InvariantBroken if it does not hold in time.
        """
        started = self.now
        while not condition():
            if self.now - started >= within_s:
                self.witness.broken(f"what was waited for did not come about within {within_s} s")
            self.run(step_s)
        return self.now - started

    # --- the server's side

    def _server_tick(self) -> None:
        self._at(self.now + self._tick_s, self._server_tick)
        self._receive_staged()
        self._send_all(self.engine.tick(self.now))

    def _receive_pass(self) -> None:
        if self._staged:
            self._receive_staged()
            self._send_all(self.engine.flush(self.now))

    def _receive_staged(self) -> None:
        staged, self._staged = self._staged, []
        for start in range(0, len(staged), BATCH_ROWS):
            self._batch.clear()
            for payload, address in staged[start : start + BATCH_ROWS]:
                self._batch.append(payload, address)
            self.engine.receive(self._batch, self.now)

    def _arrive_at_server(self, address: bytes, payload: bytes) -> None:
        if self.judging:
            self.witness.on_to_server(address, payload)
        if not self._staged:
            alone = self.rng.random() < 0.1
            self._at(self.now + (0.0 if alone else self.gather_s), self._receive_pass)
        self._staged.append((payload, address))

    def _send_all(self, outgoing: Outgoing) -> None:
        datagrams = list(outgoing.datagrams())
        cold_first = sorted(
            datagrams, key=lambda datagram: datagram[1][0] == Kind.UPDATE
        )  # a WELCOME tells of a session
        for address, payload in cold_first if self.judging else ():
            self.witness.on_from_server(address, payload)
        for address, payload in datagrams:
            self._log_bytes(b"down", address, payload)
            player = self.player_at.get(address)
            if player is None:
                self.strangers.setdefault(address, []).append(payload)
                continue
            player.bytes_down += len(payload)
            player.datagrams_down += 1
            for arrival, copy in player.down.fate(payload, self.now):
                self._at(arrival, self._arrive_at_client, player, address, copy)

    def _log_bytes(self, direction: bytes, address: bytes, payload: bytes) -> None:
        self.digest.update(b"%s %.9f %s " % (direction, self.now, address))
        self.digest.update(payload)

    def _check_caps(self) -> None:
        self._at(self.now + CHECK_EVERY_S, self._check_caps)
        if self.judging:
            self.witness.check_caps(self.engine.gauges())

    def shut_down(self) -> None:
        """End the server cleanly, as its owner would."""
        for turn in range(3):
            self._at(self.now + 0.02 * turn, lambda: self._send_all(self.engine.shutdown(self.now)))

    def restart_engine(self) -> None:
        """Replace the engine by a new one with the same secret: all sessions and rooms are gone."""
        self.engine = Engine(self.config, SECRET, Random(f"{self.seed} engine again"))
        self.witness.tap.book.on_restart()

    # --- the network's side

    def stranger(self) -> bytes:
        """Return an address that nobody has used."""
        self._num_strangers += 1
        return pack_address(f"192.168.{self._num_strangers >> 8 & 255}.{self._num_strangers & 255}", 1_000)

    def send_raw(self, address: bytes, payload: bytes, delay_s: float = 0.0) -> None:
        """Let a stranger (or a player's machine) send anything; nothing happens to it on the way."""
        self._log_bytes(b"raw", address, payload)
        self._at(self.now + delay_s, self._arrive_at_server, address, payload)

    def _send_up(self, player: Player, payloads: list[bytes]) -> None:
        for payload in payloads:
            self._log_bytes(b"up", player.address, payload)
            player.bytes_up += len(payload)
            if self.on_upstream is not None:
                self.on_upstream(player, payload)
            for arrival, copy in player.up.fate(payload, self.now):
                self._at(arrival, self._arrive_at_server, player.address, copy)

    def _arrive_at_client(self, player: Player, address: bytes, payload: bytes) -> None:
        if address != player.address or player.connection is None:
            return
        if self.now < player.frozen_until:
            if sum(map(len, player.socket_buffer)) + len(payload) <= SOCKET_BUFFER_BYTES:
                player.socket_buffer.append(payload)
            return
        player.connection.receive(payload, self.now)
        self._take_events(player)
        self._plan_poll(player)

    def set_conditions(self, conditions: Conditions, players: list[int] | None = None) -> None:
        """Change the network of some players, or of all."""
        for player in self.players if players is None else [self.players[n] for n in players]:
            player.up.conditions = player.down.conditions = conditions

    # --- the clients' side

    def _client_tick(self, player: Player) -> None:
        self._at(self.now + self._tick_s, self._client_tick, player)
        if player.rejoin_at is not None and self.now >= player.rejoin_at:
            self.join(player.number)
        if player.resume_at is not None and self.now >= player.resume_at:
            self.resume(player.number)
        if player.connection is None or self.now < player.frozen_until:
            return
        if self.autopilot is not None and player.playing is not None:
            act(self, player, self.autopilot)
        if player.connection is not None:
            self._send_up(player, player.connection.tick(self.now))
            self._take_events(player)
            self._plan_poll(player)

    def _plan_poll(self, player: Player) -> None:
        if player.connection is None:
            return
        at = player.connection.next_poll_at()
        if at < math.inf and (player.poll_at is None or at < player.poll_at):
            player.poll_at = max(at, self.now)
            self._at(player.poll_at, self._client_poll, player)

    def _client_poll(self, player: Player) -> None:
        if player.poll_at is None or player.poll_at > self.now:
            return
        player.poll_at = None
        if player.connection is None or self.now < player.frozen_until:
            return
        self._send_up(player, player.connection.poll(self.now))
        self._take_events(player)
        self._plan_poll(player)

    def _take_events(self, player: Player) -> None:
        connection = player.connection
        assert connection is not None
        for event in connection.take_events():
            life = player.life
            if life is None:  # an intruder's
                player.connection = None
            elif isinstance(event, Joined | Resumed):
                self._on_arrival(player, life, connection)
            elif isinstance(event, RoomReset):
                self._on_reset(player, life, connection)
            elif isinstance(event, Refused | Disconnected):
                self._on_end(player, life, event)
            elif self.judging:
                self.witness.on_event(life, event)

    def _on_arrival(self, player: Player, life: Life, connection: ClientConnection) -> None:
        """A player is in the room, or in it again, and knows all there is."""
        if life.joined_at is None:
            life.joined_at = self.now - self.started_at
            life.player_id, life.player_slots = connection.player_id, connection.player_slots
            life.forget_what_is_not_ours()
        token = connection.resume_token()
        if player.token is not None and player.token != token:
            player.old_tokens.append(player.token)
        player.token = token

    def _on_reset(self, player: Player, former: Life, connection: ClientConnection) -> None:
        """A client must forget what it knew: what it is told from here on is another life's, in the same seat."""
        former.ending = True
        life = self.witness.life_of.get(connection.session)
        if life is None:  # nobody is judging
            life = self.witness.begin_life(player.number, player.name, 0)
        life.states, life.removed = dict(former.states), set(former.removed)
        life.removal_asked, life.may_time_out = former.removal_asked, former.may_time_out
        player.life = life

    def _on_end(self, player: Player, life: Life, event: Refused | Disconnected) -> None:
        if life.joined_at is not None and self.judging:
            self.witness.on_end(life, event.reason)
        if event.reason == Refusal.BANNED:
            player.identity = self.rng.randbytes(16)  # it finds another machine
        wants_in = life.joined_at is None or self.witness.may_be_removed(life)
        if wants_in and not life.ending and player.rejoin_at is None:
            player.rejoin_at = self.now + TRY_AGAIN_S
        self.endings.append(event)
        life.ending, life.ended_at = True, self.now
        if player.connection is not None:
            self._poll_closing(player, player.connection)
        player.connection = None

    def _poll_closing(self, player: Player, connection: ClientConnection) -> None:
        """Send what a connection that is over still has to say: its BYEs."""
        self._send_up(player, connection.poll(self.now))
        at = connection.next_poll_at()
        if at < math.inf:
            self._at(max(at, self.now), self._poll_closing, player, connection)

    # --- quiet

    def settle(self, within_s: float = 20.0) -> None:
        """Let nobody do anything more, wait until all is quiet, and check every invariant.

        Raises: InvariantBroken, also if it does not become quiet in time.
        """
        self.autopilot = None
        for player in self.players:
            player.rejoin_at = None
        deadline = self.now + within_s
        while not self._is_quiet() and self.now < deadline:
            self.run(SETTLE_STEP_S)
        self.check()
        if not self._is_quiet():
            self.witness.broken(f"not quiet after {within_s} s: {self._unrest()}")

    def check(self) -> None:
        """Check the invariants that hold when all is quiet."""
        code = self.room.code
        clients = self._clients()
        views = [(life, view_of_client(life, connection)) for life, connection in clients]
        self.witness.check_end(view_of_engine(self.engine, code), versions_of_engine(self.engine, code), views)
        names = {life.player_id: life.name for life, _ in clients}
        if self.engine.room_members(code) != names:
            self.witness.broken(f"the server has members {self.engine.room_members(code)}, alive are {names}")

    def _clients(self) -> list[tuple[Life, ClientConnection]]:
        return [(p.playing, p.connection) for p in self.players if p.playing is not None and p.connection is not None]

    def _unrest(self) -> str:
        clients = self._clients()
        joining = [
            p.number
            for p in self.players
            if p.resume_at is not None or (p.connection is not None and p.playing is None)
        ]
        busy = [life.player for life, connection in clients if not (connection.is_whole and connection.is_idle())]
        if joining or busy or self.engine.num_sessions != len(clients):
            return (
                f"joining {joining}, busy {busy}, the server has {self.engine.num_sessions} of {len(clients)} sessions"
            )
        return ""

    def _is_quiet(self) -> bool:
        if self._unrest():
            return False
        server = view_of_engine(self.engine, self.room.code)
        if any(view_of_client(life, connection) != server for life, connection in self._clients()):
            return False
        return not self.witness.missing()
