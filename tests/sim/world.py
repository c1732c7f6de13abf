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

from protocol.client import (
    ClientConnection,
    Disconnected,
    HostChanged,
    Joined,
    JoinRequest,
    Message,
    PlayerJoined,
    PlayerLeft,
    Refused,
    Signal,
    StateChanged,
)
from protocol.constants import EntryKind, JoinMode, Kind, Target
from relay.addresses import pack_address
from relay.batch import Batch, Outgoing
from relay.config import RelayConfig
from relay.engine import Engine
from tests.sim.habits import Habits, act
from tests.sim.invariants import Witness
from tests.sim.lives import (
    Life,
    SentMessage,
    SentSignal,
    build_message_payload,
    build_state,
)
from tests.sim.network import STANDARD, Conditions
from tests.sim.players import Player, RoomShape

SECRET = bytes(range(32))
"""The engine's secret, the same in every world."""
DEFAULT_CONFIG = RelayConfig(timeout_s=6.0, keepalive_s=0.25, grace_s=0)
"""The timeout is short, but longer than a whole attempt to join: a session must not end before its WELCOME arrives."""
BATCH_ROWS = 64
SOCKET_BUFFER_BYTES = 65_536
"""What a Godot client's socket keeps while nobody reads it; the rest is lost."""
CHECK_EVERY_S = 0.1
"""How often caps are checked."""
SETTLE_STEP_S = 0.25
TRY_AGAIN_S = 0.5
"""After this a player whose attempt to join failed makes another."""


class World:
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
        self._uids = 0
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
        assert player.connection is not None and player.life is not None
        connection = player.connection
        for event in connection.take_events():
            if isinstance(event, Joined):
                player.life.joined_at = self.now - self.started_at
                player.life.player_id, player.life.player_slots = event.player_id, 2 * self.room.max_players
            elif isinstance(event, Refused | Disconnected):
                self._on_end(player, player.life, event)
            elif self.judging:
                self._judge(player.life, event)

    def _judge(self, life: Life, event: object) -> None:
        witness = self.witness
        match event:
            case StateChanged():
                for entity_id, state, _ in event.changed:
                    witness.on_state(life, entity_id, state)
            case Message():
                witness.on_message(life, event.sender, event.kind, event.channel, event.payload, event.index)
            case Signal():
                witness.on_signal(life, event.sender, event.kind, event.channel, event.payload)
            case PlayerJoined():
                witness.on_presence(life, EntryKind.PLAYER_JOINED, event.player_id)
            case PlayerLeft():
                witness.on_presence(life, EntryKind.PLAYER_LEFT, event.player_id)
            case HostChanged():
                witness.on_presence(life, EntryKind.HOST_CHANGED, event.player_id)

    def _on_end(self, player: Player, life: Life, event: Refused | Disconnected) -> None:
        if life.joined_at is not None and self.judging:
            self.witness.on_end(life, event.reason)
        if life.joined_at is None and not life.ending and player.rejoin_at is None:
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

    # --- what players do

    def join(self, number: int, mode: JoinMode = JoinMode.JOIN_OR_CREATE, **options: Any) -> Life:
        """Let a player begin to join. One that has a session drops it first, without a word."""
        player = self.players[number]
        player.rejoin_at = player.poll_at = None
        if player.life is not None:
            player.life.ending = True
        room = self.room
        nonce = self.rng.getrandbits(64)
        request = JoinRequest(
            **(
                dict(
                    mode=mode,
                    code=room.code,
                    name=player.name,
                    max_players=room.max_players,
                    entities_per_player=room.entities_per_player,
                    max_state_bytes=room.max_state_bytes,
                )
                | options
            )
        )
        player.connection = ClientConnection(request, nonce=nonce, now=self.now)
        lives = self.witness.lives
        life = Life(
            number=len(lives) + 1, player=number, name=player.name, nonce=nonce, started_at=self.now - self.started_at
        )
        lives.append(life)
        self.witness.on_attempt(life, player.address)
        player.life = life
        self._send_up(player, player.connection.poll(self.now))
        self._plan_poll(player)
        return life

    def join_all(self, within_s: float = 10.0) -> None:
        """Let everybody join, player 0 first, and wait until all have."""
        for player in self.players:
            self.join(player.number)
            if player.number == 0:
                self.run_until(lambda: self.players[0].playing is not None, within_s)
        self.run_until(lambda: all(player.playing is not None for player in self.players), within_s)

    def leave(self, number: int) -> None:
        """Let a player say BYE."""
        player = self.players[number]
        if player.connection is not None and player.life is not None:
            player.life.ending = True
            player.connection.close(self.now)
            self._take_events(player)

    def crash(self, number: int) -> None:
        """Let a player vanish without a word."""
        player = self.players[number]
        if player.life is not None:
            player.life.ending = True
            player.connection = None

    def move(self, number: int) -> None:
        """Give a player a new address; what is under way to the old one is lost."""
        player = self.players[number]
        player.num_moves += 1
        player.address = pack_address(f"10.{player.num_moves % 200 + 1}.{number}.1", 40_000 + player.num_moves)
        self.player_at[player.address] = player
        if player.life is not None:
            self.witness.on_attempt(player.life, player.address)

    def freeze(self, number: int, seconds: float) -> None:
        """Let a player neither read nor send for a while, as a game that loads a scene."""
        player = self.players[number]
        player.frozen_until = self.now + seconds
        self._at(player.frozen_until, self._thaw, player)

    def _thaw(self, player: Player) -> None:
        waiting, player.socket_buffer = player.socket_buffer, []
        for payload in waiting:
            self._arrive_at_client(player, player.address, payload)
        self._plan_poll(player)

    def publish(self, number: int, local_index: int = 0, size: int = 24) -> None:
        """Publish a new state of one of a player's entities."""
        player = self.players[number]
        life = player.playing
        if life is None or player.connection is None:
            return
        told = player.connection
        if not self.judging and (local_index >= told.entities_per_player or size > told.max_state_bytes):
            return  # a damaged WELCOME was taken for valid, and says less than the room permits
        version = life.versions[local_index] = life.versions.get(local_index, 0) + 1
        state = build_state(life.number, version, size, self.rng)
        life.states[local_index] = life.history[local_index, version] = state
        player.connection.publish(local_index, state, self.now)

    def remove(self, number: int, local_index: int = 0) -> None:
        """Remove one of a player's entities."""
        player = self.players[number]
        if player.playing is not None and player.connection is not None and local_index in player.playing.states:
            del player.playing.states[local_index]
            player.connection.remove(local_index)

    def send_message(
        self,
        number: int,
        size: int = 32,
        target: Target = Target.ALL,
        players: tuple[int, ...] = (),
        kind: int = 1,
        channel: int = 0,
    ) -> SentMessage | None:
        """Queue a log message of a player. Returns None if it is not in the room."""
        player = self.players[number]
        life = player.playing
        if life is None or player.connection is None:
            return None
        message = SentMessage(
            uid=self._next_uid(),
            life=life,
            order=len(life.messages),
            payload=build_message_payload(b"M", self._uids, size, self.rng),
            kind=kind,
            channel=channel,
            target=target,
            players=players,
            queued_at=self.now - self.started_at,
        )
        life.messages.append(message)
        self.witness.messages[message.uid] = message
        player.connection.send_message(message.payload, kind=kind, channel=channel, target=target, players=players)
        return message

    def send_signal(
        self,
        number: int,
        size: int = 32,
        target: Target = Target.ALL,
        players: tuple[int, ...] = (),
        kind: int = 1,
        channel: int = 0,
        newest_first: bool = False,
        after_log: bool = False,
    ) -> SentSignal | None:
        """Queue a signal of a player. Returns None if it is not in the room."""
        player = self.players[number]
        life = player.playing
        if life is None or player.connection is None:
            return None
        signal = SentSignal(
            uid=self._next_uid(),
            life=life,
            order=len(life.signals),
            payload=build_message_payload(b"S", self._uids, size, self.rng),
            kind=kind,
            channel=channel,
            target=target,
            players=players,
            newest_first=newest_first,
            after=life.messages[-1] if after_log and life.messages else None,
            queued_at=self.now - self.started_at,
        )
        life.signals.append(signal)
        self.witness.signals[signal.uid] = signal
        player.connection.send_signal(
            signal.payload,
            kind=kind,
            channel=channel,
            target=target,
            players=players,
            newest_first=newest_first,
            after_log=after_log,
        )
        return signal

    def _next_uid(self) -> int:
        self._uids += 1
        return self._uids

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
        self.witness.check_end(self.engine.room_table(code), [(life, self._others(c)) for life, c in self._clients()])
        names = {life.player_id: life.name for life, _ in self._clients()}
        if self.engine.room_members(code) != names:
            self.witness.broken(f"the server has members {self.engine.room_members(code)}, alive are {names}")
        for life, connection in self._clients():
            if dict(connection.members) != names:
                self.witness.broken(f"{life} knows members {dict(connection.members)}, alive are {names}")

    def _clients(self) -> list[tuple[Life, ClientConnection]]:
        return [(p.playing, p.connection) for p in self.players if p.playing is not None and p.connection is not None]

    def _others(self, connection: ClientConnection) -> dict[int, bytes]:
        """Return a client's table without its own entities."""
        slots = 2 * self.room.max_players
        return {id_: state for id_, state in connection.table.items() if id_ % slots != connection.player_id}

    def _unrest(self) -> str:
        clients = self._clients()
        joining = [p.number for p in self.players if p.connection is not None and p.playing is None]
        busy = [life.player for life, connection in clients if not connection.is_idle()]
        if joining or busy or self.engine.num_sessions != len(clients):
            return (
                f"joining {joining}, busy {busy}, the server has {self.engine.num_sessions} of {len(clients)} sessions"
            )
        return ""

    def _is_quiet(self) -> bool:
        if self._unrest():
            return False
        table = dict(self.engine.room_table(self.room.code))
        slots = 2 * self.room.max_players
        for life, connection in self._clients():
            if self._others(connection) != {i: s for i, s in table.items() if i % slots != life.player_id}:
                return False
        return not self.witness.missing()
