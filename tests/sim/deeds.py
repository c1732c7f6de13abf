"""What players of a world do: join, leave, vanish, come back, move, publish, talk, and ask the server for things."""

from collections.abc import Callable
from random import Random
from typing import Any

from protocol.client import ANYTHING, ClientConnection, JoinRequest, ResumeToken
from protocol.constants import NO_PLAYER, JoinMode, Target
from relay.addresses import pack_address
from relay.config import RelayConfig
from tests.sim.invariants import Witness
from tests.sim.lives import Life, SentMessage, SentRequest, SentSignal, build_message_payload, build_state
from tests.sim.network import STANDARD
from tests.sim.players import Player, RoomShape

RETURN_S = 7.0
"""How long coming back may take when the line is there again, in the worst weather that games are played in: some
HELLOs or their answers are lost, one a second."""


class Deeds:
    """The half of a `World` in which players do things."""

    now: float
    started_at: float
    config: RelayConfig
    judging: bool
    rng: Random
    room: RoomShape
    players: list[Player]
    player_at: dict[bytes, Player]
    witness: Witness
    _uids = 0
    _num_intruders = 0

    # what the other half does for this one
    _at: Callable[..., None]
    _send_up: Callable[[Player, list[bytes]], None]
    _take_events: Callable[[Player], None]
    _plan_poll: Callable[[Player], None]
    _arrive_at_client: Callable[[Player, bytes, bytes], None]
    stranger: Callable[[], bytes]
    run_until: Callable[..., float]

    # --- coming and going

    def join(self, number: int, mode: JoinMode = JoinMode.JOIN_OR_CREATE, **options: Any) -> Life:
        """Let a player begin to join. One that has a session drops it first, without a word."""
        player, room = self.players[number], self.room
        chosen = dict(
            mode=mode,
            code=room.code,
            name=player.name,
            max_players=room.max_players,
            entities_per_player=room.entities_per_player,
            max_state_bytes=room.max_state_bytes,
            anyone_sets=room.anyone_sets,
            identity=player.identity,
        )
        return self._begin(player, JoinRequest(**(chosen | options)))

    def resume(self, number: int) -> Life:
        """Let a player begin to come back as a new process, by the token that its last one has saved."""
        player = self.players[number]
        assert player.token is not None
        former = player.life
        life = self._begin(player, JoinRequest(mode=JoinMode.RESUME, resume=player.token, identity=player.identity))
        life.removal_asked = former is not None and former.removal_asked
        return life

    def _begin(self, player: Player, request: JoinRequest) -> Life:
        player.rejoin_at = player.resume_at = player.poll_at = None
        if player.life is not None:
            player.life.ending = True
        nonce = self.rng.getrandbits(64)
        player.connection = ClientConnection(request, nonce=nonce, now=self.now)
        life = player.life = self.witness.begin_life(player.number, player.name, nonce)
        self.witness.on_attempt(life, player.address)
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

    def crash_and_resume(self, number: int, after_s: float = 0.5) -> None:
        """Let a player's process be killed, and a new one come back by what it has saved; one without that joins."""
        player = self.players[number]
        is_here = player.playing is not None and player.connection is not None
        player.token = player.connection.resume_token() if is_here and player.connection is not None else None
        self.crash(number)
        player.resume_at = self.now + after_s if is_here else None
        player.rejoin_at = None if is_here else self.now + after_s

    def lose_connection(self, number: int, seconds: float) -> None:
        """Let nothing pass between a player and the server for a while; the player does not know why."""
        player = self.players[number]
        self._expect_absence(player, self.now + seconds)
        player.lost_until = max(player.lost_until, self.now + seconds)
        player.up.blocked = player.down.blocked = True
        self._at(player.lost_until, self._regain, player)

    def _expect_absence(self, player: Player, until: float) -> None:
        """Note that nothing comes from a player until then. One that is absent for too long may lose its place."""
        if self.now >= player.absent_until and (player.connection is None or player.connection.is_whole):
            player.absent_since = self.now
        player.absent_until = max(player.absent_until, until)
        place_s = self.config.timeout_s + self.config.grace_s
        if player.life is not None and player.absent_until - player.absent_since > place_s - RETURN_S:
            player.life.may_time_out = True

    def _regain(self, player: Player) -> None:
        if self.now >= player.lost_until:
            player.up.blocked = player.down.blocked = False

    def intrude(self, token: ResumeToken) -> Player:
        """Let a stranger try to come back in somebody's place: with an old token, or with a secret that it guessed."""
        self._num_intruders += 1
        intruder = Player(255, f"{self.witness.seed} intruder {self._num_intruders}", STANDARD)
        intruder.address = self.stranger()
        self.player_at[intruder.address] = intruder
        request = JoinRequest(mode=JoinMode.RESUME, resume=token)
        intruder.connection = ClientConnection(request, nonce=self.rng.getrandbits(64), now=self.now)
        self._send_up(intruder, intruder.connection.poll(self.now))
        self._plan_poll(intruder)
        return intruder

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
        self._expect_absence(player, self.now + seconds)
        player.frozen_until = self.now + seconds
        self._at(player.frozen_until, self._thaw, player)

    def _thaw(self, player: Player) -> None:
        waiting, player.socket_buffer = player.socket_buffer, []
        for payload in waiting:
            self._arrive_at_client(player, player.address, payload)
        self._plan_poll(player)

    # --- entities

    def publish(self, number: int, local_index: int = 0, size: int = 24) -> None:
        """Publish a new state of one of the entities with a player's number."""
        player = self.players[number]
        life = player.playing
        if life is None or player.connection is None:
            return
        told = player.connection
        if not self.judging and (local_index >= told.entities_per_player or size > told.max_state_bytes):
            return  # a damaged WELCOME was taken for valid, and says less than the room permits
        self.publish_entity(number, local_index * life.player_slots + life.player_id, size)

    def publish_entity(self, number: int, entity_id: int, size: int = 24) -> None:
        """Publish a new state of any entity, if it is the player's."""
        player = self.players[number]
        life = player.playing
        if life is None or player.connection is None:
            return
        version = life.versions[entity_id] = life.versions.get(entity_id, 0) + 1
        state = build_state(life.number, version, size, self.rng)
        if player.connection.publish_entity(entity_id, state, self.now):
            life.states[entity_id] = life.history[entity_id, version] = state
            life.removed.discard(entity_id)

    def remove(self, number: int, local_index: int = 0) -> None:
        """Remove one of the entities with a player's number."""
        life = self.players[number].playing
        if life is not None:
            self.remove_entity(number, local_index * life.player_slots + life.player_id)

    def remove_entity(self, number: int, entity_id: int) -> None:
        """Remove any entity, if it is the player's and there."""
        player = self.players[number]
        life, connection = player.playing, player.connection
        if life is None or connection is None:
            return
        if (entity_id in life.states or entity_id in connection.table) and connection.remove_entity(entity_id):
            life.states.pop(entity_id, None)
            life.removed.add(entity_id)

    def give_entity(self, number: int, entity_id: int, other: int | None) -> None:
        """Let a player ask to give an entity to another, or to whoever is host."""
        connection = self._connection(number)
        player_id = None if other is None else self._player_id(other)
        if connection is not None and (other is None or player_id is not None):
            self.witness.handed_over.add(entity_id)
            connection.give_entity(entity_id, player_id)

    # --- messages and signals

    def send_message(
        self,
        number: int,
        size: int = 32,
        target: Target = Target.ALL,
        players: tuple[int, ...] = (),
        kind: int = 1,
        channel: int = 0,
        keep: bool = False,
        outlives_sender: bool = False,
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
            keep=keep,
            outlives_sender=outlives_sender,
        )
        life.messages.append(message)
        self.witness.messages[message.uid] = message
        player.connection.send_message(
            message.payload,
            kind=kind,
            channel=channel,
            target=target,
            players=players,
            keep=keep,
            outlives_sender=outlives_sender,
        )
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

    # --- what they ask of the server

    def set_property(
        self, number: int, key: str, owner: int | None = None, is_conditional: bool = False
    ) -> SentRequest | None:
        """Let a player ask to set a property to a value of its own.

        Args:
            owner: Number of a player, None: the room.
            is_conditional: Only if nobody changes it first.
        Returns: None if nothing was asked.
        """
        life, connection = self.players[number].playing, self._connection(number)
        player_id = None if owner is None else self._player_id(owner)
        if life is None or connection is None or (owner is not None and player_id is None):
            return None
        known = connection.room_properties if player_id is None else connection.player_properties(player_id)
        expected: Any = known.get(key) if is_conditional else ANYTHING
        uid = self._next_uid()
        request_id = connection.set_property(key, uid, owner=player_id, expected=expected)
        owner_id = NO_PLAYER if player_id is None else player_id
        request = SentRequest(
            uid=uid, life=life, request_id=request_id, owner=owner_id, key=key, is_conditional=is_conditional
        )
        life.requests[request_id] = self.witness.requests[uid] = request
        return request

    def compare_and_set(self, number: int, key: str, owner: int | None = None) -> SentRequest | None:
        """Let a player ask to change a property, unless somebody else does first."""
        return self.set_property(number, key, owner, is_conditional=True)

    def remove_property(self, number: int, key: str) -> None:
        """Let a player ask to remove a property of the room."""
        connection = self._connection(number)
        if connection is not None:
            connection.set_property(key, None)

    def clear_kept(self, number: int, index: int) -> None:
        """Let a player ask to keep a message no longer, by the number that its game was told."""
        life, connection = self.players[number].playing, self._connection(number)
        if life is not None and connection is not None:
            self.witness.clearings.add((life.number, index))
            connection.clear_kept(index)

    def kick(self, number: int, other: int) -> None:
        """Let a player ask to remove another, as the host may."""
        connection, player_id = self._connection(number), self._player_id(other)
        if connection is not None and player_id is not None:
            self._expect_removal(other)
            connection.kick(player_id)

    def ban(self, number: int, other: int) -> None:
        """Let a player ask to ban another's identity, as the host may: all who have it go, but who asks."""
        connection, player_id = self._connection(number), self._player_id(other)
        asking, banned = self.players[number].playing, self.players[other].playing
        if connection is not None and player_id is not None and asking is not None and banned is not None:
            self.witness.on_ban_asked(asking, banned)
            connection.ban(player_id, address=False)

    def _expect_removal(self, number: int) -> None:
        life = self.players[number].life
        assert life is not None
        life.removal_asked = True

    def lock(self, number: int, is_locked: bool = True) -> None:
        """Let a player ask to lock the room, as the host may."""
        connection = self._connection(number)
        if connection is not None:
            connection.lock(is_locked)

    def hand_over_host(self, number: int, other: int) -> None:
        """Let a player ask to make another host, as the host may."""
        life, connection, player_id = self.players[number].playing, self._connection(number), self._player_id(other)
        if life is not None and connection is not None and player_id is not None:
            self.witness.hand_overs.add((life.number, player_id))
            connection.hand_over_host(player_id)

    def host(self) -> int | None:
        """Return the number of a player who thinks that it is host, None if nobody does."""
        for player in self.players:
            connection = self._connection(player.number)
            if connection is not None and connection.host == connection.player_id:
                return player.number
        return None

    def _connection(self, number: int) -> ClientConnection | None:
        """Return the connection of a player who is in the room."""
        player = self.players[number]
        return player.connection if player.playing is not None else None

    def _player_id(self, number: int) -> int | None:
        """Return the player id of a player who is in the room."""
        life = self.players[number].playing
        return None if life is None else life.player_id

    def _next_uid(self) -> int:
        self._uids += 1
        return self._uids
