"""What the game does in a room: entities, messages, signals, and what it asks of the server."""

from collections.abc import Callable, Sequence
from enum import Enum

from protocol.client import room_requests
from protocol.client.events import Event
from protocol.client.handshake import Handshake
from protocol.client.room import refused
from protocol.client.view import ConnectionView
from protocol.constants import MessageFlag, RequestKind, RequestRefusal, SignalFlag, Target
from protocol.properties import Value, encode_value


class Anything(Enum):
    """Type of ANYTHING."""

    ANYTHING = 0


ANYTHING = Anything.ANYTHING
"""Not a value of a property: `set_property` compares with nothing. (None is: "there is no such property".)"""


class ConnectionActions(ConnectionView):
    """The part of `ClientConnection` that acts in the room.

    Everything may be used from WELCOME on (state JOINED), also before the event Joined; before, it raises NotJoined.
    While the state is RESUMING it waits; once CLOSED nothing happens.
    """

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake)
        self._events: list[Event] = []

    # --- entities, messages, signals

    def publish(self, local_index: int, state: bytes, now: float) -> bool:
        """Set the newest state of one of the entities with our number; it is sent until the server has it.

        Args:
            local_index: 0 ... entities_per_player - 1.
            state: As for `publish_entity`, like `now`.
            now: See there.
        Returns: as `publish_entity`.
        Raises: ValueError, NotJoined.
        """
        return self.publish_entity(self._entity_id(local_index), state, now)

    def publish_entity(self, entity_id: int, state: bytes, now: float) -> bool:
        """Set the newest state of an entity that we own: with our number, given to us, or the host's while we are host.

        After a removal the new state is held back until the server has the removal.

        Args:
            entity_id: Any entity of the room.
            state: 1 ... max_state_bytes bytes.
            now: When the state was sampled, monotonic seconds.
        Returns: whether it is ours. If it is not (it was given away meanwhile), or once CLOSED, nothing happens.
        Raises: ValueError, NotJoined.
        """
        session = self._live()
        limit = session.welcome.max_state_bytes
        if not 1 <= len(state) <= limit:
            raise ValueError(f"state is {len(state)} bytes; permitted: 1 to {limit}")
        self._require_entity(entity_id)
        sample_ms = int(session.server_time(now) * 1000)
        return not self._is_closed and session.room.publish(entity_id, bytes(state), sample_ms)

    def remove(self, local_index: int) -> bool:
        """Take one of the entities with our number out of the table. As `remove_entity`."""
        return self.remove_entity(self._entity_id(local_index))

    def remove_entity(self, entity_id: int) -> bool:
        """Take an entity that we own out of the table; for one that is not there, nothing is sent.

        Returns: whether it is ours. If it is not, or once CLOSED, nothing happens.
        Raises: ValueError, NotJoined.
        """
        room = self._live().room
        self._require_entity(entity_id)
        return not self._is_closed and room.remove(entity_id)

    def send_message(
        self,
        payload: bytes,
        *,
        kind: int = 1,
        channel: int = 0,
        target: Target = Target.ALL,
        players: Sequence[int] = (),
        keep: bool = False,
        outlives_sender: bool = False,
    ) -> int:
        """Queue a log message; it arrives exactly once, in one order with all others. Does nothing once CLOSED.

        Args:
            payload: At most 1 MiB; cut into fragments as needed.
            kind: 1 ... 111, for the game to use.
            channel: 0 ... 255, for the game to use.
            target: Who gets it; ALL includes us.
            players: None for ALL, one player id for ALL_BUT and ONE, 1 ... 255 for LIST.
            keep: Keep it for those who join later, until it is cleared or we leave. Only for ALL, 1,020 bytes at most.
                A full room does not keep it: then RequestRefused (TOO_MANY) comes, and the message arrives anyway.
            outlives_sender: Keep it also when we leave.
        Returns: the message's id, for RequestRefused; 0 once CLOSED.
        Raises: ValueError, NotJoined; OutboxFull when 4 MiB wait.
        """
        outbox = self._live().room.outbox
        if outlives_sender and not keep:
            raise ValueError("outlives_sender is True; permitted: with keep only")
        flags = MessageFlag.KEEP if keep else MessageFlag(0)
        flags |= MessageFlag.OUTLIVES_SENDER if outlives_sender else MessageFlag(0)
        return 0 if self._is_closed else outbox.queue(bytes(payload), kind, channel, target, players, flags)

    def send_signal(
        self,
        payload: bytes,
        *,
        kind: int = 1,
        channel: int = 0,
        target: Target = Target.ALL,
        players: Sequence[int] = (),
        newest_first: bool = False,
        after_log: bool = True,
    ) -> None:
        """Queue a signal; it goes out once, with the next tick. Does nothing once CLOSED.

        Up to 256 fragments wait; then the oldest signals are dropped and counted.

        Args:
            payload: At most 8 fragments: 8 KiB, less if many players are listed.
            kind: 1 ... 127, for the game to use.
            channel, target, players: As for `send_message`.
            newest_first: A receiver drops it if it has seen a newer one of ours on this channel.
            after_log: It does not overtake the messages queued before it, nor what we have seen of the log. Switch
                this off for voice.
        Raises: ValueError, NotJoined.
        """
        room = self._live().room
        flags = SignalFlag.NEWEST_FIRST if newest_first else SignalFlag(0)
        flags |= SignalFlag.AFTER_LOG if after_log else SignalFlag(0)
        after_message = room.outbox.last_id if after_log else 0
        if not self._is_closed:
            room.signals_out.queue(bytes(payload), kind, channel, target, players, flags, after_message)

    # --- what it asks of the server

    def set_property(
        self, key: str, value: Value, *, owner: int | None = None, expected: Value | Anything = ANYTHING
    ) -> int:
        """Ask to set a property of the room or of a player; PropertyChanged tells everybody, us too, when it is done.

        Args:
            key: 1 to 32 bytes of UTF-8 without control characters.
            value: None removes it. A text or bytes: at most 200 bytes.
            owner: None: the room, permitted to the host, or to all in a room made with `anyone_sets`. A player id:
                permitted to that player and the host.
            expected: Only if it has this value now (None: only if there is none), and nobody changes it first: of
                several who do this at once exactly one succeeds, the others get RequestRefused (CHANGED). If it has
                another value here already, nothing is sent, that event comes with id 0, and 0 is returned.
        Returns: the request's id, for RequestRefused; 0 if nothing was sent.
        Raises: ValueError; TypeError for a value of another type; NotJoined, OutboxFull.
        """
        room = self._live().room
        number = room_requests.owner_number("owner", owner, self.player_slots)
        version = None
        is_as_expected = True
        if not isinstance(expected, Anything):
            # by type and bytes: 1 and True are not the same here, and a NaN is one
            known = room.properties.of(number).get(key)
            is_as_expected = encode_value(known) == encode_value(expected)
            version = room.properties.version(number, key)
        payload = room_requests.encode_set_property(number, key, value, version)
        if is_as_expected or self._is_closed:
            return self._ask(RequestKind.SET_PROPERTY, payload)
        self._events.append(refused(0, RequestKind.SET_PROPERTY, RequestRefusal.CHANGED))
        return 0

    def give_entity(self, entity_id: int, player: int | None = None) -> int:
        """Ask to make another player an entity's owner; EntityOwnerChanged tells everybody when it is done.

        Args:
            entity_id: An entity that we own; any, if we are host.
            player: Player id; None: whoever is host, so that it stays when we leave.
        Returns: the request's id; 0 once CLOSED.
        Raises: ValueError, NotJoined, OutboxFull.
        """
        self._require_entity(entity_id)
        owner = room_requests.owner_number("player", player, self.player_slots)
        return self._ask(RequestKind.GIVE_ENTITY, room_requests.encode_give_entity(entity_id, owner))

    def clear_kept(self, index: int | None = None) -> int:
        """Ask to keep a message no longer: ours, or any if we are host.

        KeptCleared tells everybody, us too, when it is done; nothing comes if there was nothing to clear, unless an
        index was given: then RequestRefused (NOT_KEPT).

        Args:
            index: `Message.index`; None: all that we may clear.
        Returns: the request's id; 0 once CLOSED.
        Raises: ValueError, NotJoined, OutboxFull.
        """
        return self._ask(RequestKind.CLEAR_KEPT, room_requests.encode_clear_kept(index))

    def hand_over_host(self, player: int) -> int:
        """Ask to make another player host, permitted to the host. Returns and raises as `give_entity`.

        HostChanged tells everybody; nothing comes if the player is host already.
        """
        return self._ask_about(player, RequestKind.HAND_OVER_HOST, room_requests.encode_hand_over_host)

    def kick(self, player: int, text: str = "") -> int:
        """Ask to remove a player, permitted to the host. Returns and raises as `give_entity`.

        `text`: what the player reads, cut at 200 bytes; empty: the usual words.
        """
        return self._ask_about(player, RequestKind.KICK, lambda known: room_requests.encode_kick(known, text))

    def ban(self, player: int, text: str = "", *, address: bool = False) -> int:
        """Ask to remove a player for as long as the room lives, permitted to the host. As `kick`.

        `address`: ban its network address (IPv4, IPv6 /64) too, and so everybody behind it; else only its identity. A
        player who gave none is banned by its address in any case.
        """
        return self._ask_about(player, RequestKind.BAN, lambda known: room_requests.encode_ban(known, text, address))

    def lock(self, is_locked: bool = True) -> int:
        """Ask that nobody can join, or all can again; permitted to the host. Returns and raises as `give_entity`."""
        return self._ask(RequestKind.LOCK, room_requests.encode_lock(is_locked))

    def show(self, is_listed: bool = True, keys: Sequence[str] = ()) -> int:
        """Ask to list the room for all who play this game, or to hide it; permitted to the host. RoomShown tells all.

        Args:
            is_listed: False: only who knows the code finds it.
            keys: All properties of the room that lists show from now on, in this order, at most 8. What does not fit
                256 bytes is not shown.
        Returns: the request's id; 0 once CLOSED.
        Raises: ValueError, NotJoined, OutboxFull.
        """
        return self._ask(RequestKind.SHOW, room_requests.encode_show(is_listed, keys))

    # --- inside

    def _ask(self, kind: RequestKind, payload: bytes) -> int:
        outbox = self._live().room.outbox
        return 0 if self._is_closed else outbox.queue_request(kind, payload)

    def _ask_about(self, player: int, kind: RequestKind, encode: Callable[[int], bytes]) -> int:
        return self._ask(kind, encode(room_requests.require_player("player", player, self.player_slots)))

    def _entity_id(self, local_index: int) -> int:
        welcome = self._live().welcome
        if not 0 <= local_index < welcome.entities_per_player:
            raise ValueError(f"local_index is {local_index}; permitted: 0 to {welcome.entities_per_player - 1}")
        return local_index * welcome.player_slots + welcome.player_id

    def _require_entity(self, entity_id: int) -> None:
        num_ids = self._live().room.shape.num_ids
        if not 0 <= entity_id < num_ids:
            raise ValueError(f"entity_id is {entity_id}; permitted: 0 to {num_ids - 1}")
