"""What must hold for any seed: checked while a world runs, and once more when its network has become quiet.

1. Every log message reaches every player of its audience that has not ended, exactly once, also over a resume.
2. All receivers have one total order: the same entry at the same index, handed over by ascending index; a sender's
   messages in the order in which it queued them.
3. Once the network is quiet, the server's table is what each owner last published, and every client's view of the room
   is the server's: table, members, who is away, host, properties, owners, kept messages, lock. On the way there nobody
   sees a state that was never published, or one older than it has seen; of an entity that changed hands, none that an
   owner published before it could know that it is the owner, once a later owner's was seen.
4. Nobody is sent what is not meant for it. A signal arrives at most once, never behind a newer one where newest-first
   was asked, and never before the message that it follows.
5. No queue passes its cap.
6. An unproven address is never sent more bytes than came from it (the wiretap raises that one at once).
7. No session ends unless its player ended it, or a host asked for that.
8. No seat is given twice, none without proof, none to who is banned (`seats.py`, at once), and all go who are banned.
9. The host is somebody who is here, and stays it while it is; of those who change one version of a property exactly one
   succeeds; nobody joins a locked room; a kept message is told to every joiner once (`roomstate.py`).
10. Nobody gets into a room of another game or version, by whatever way; a list, or a quick match, finds no room that is
   hidden, closed, of another game, or not what was asked for; when all is quiet lists are complete (`openings.py`).

Audiences are computed from the log itself, as it was seen on the wire: who was a member at the first fragment's index.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

from protocol.client import (
    EntityOwnerChanged,
    HostChanged,
    KeptCleared,
    Message,
    MessageFlag,
    PlayerAway,
    PlayerBack,
    PlayerJoined,
    PlayerLeft,
    PropertyChanged,
    RequestRefused,
    Signal,
    StateChanged,
)
from protocol.constants import ByeReason, EntryKind, Resumed
from tests.sim.lives import Life, SentMessage, SentRequest, SentSignal, covers, state_origin, uid_of
from tests.sim.roomlog import RoomLog
from tests.sim.roomstate import RoomState
from tests.sim.seats import Seat, TappedSession
from tests.sim.views import RoomView
from tests.sim.wiretap import Wiretap, WiretapError

REMOVED = (ByeReason.KICKED, ByeReason.BANNED, ByeReason.RESET, ByeReason.TIMEOUT)
"""What a client hears of its removal: by BYE, or when that was lost by RESET, or when it tries to come back."""


class InvariantBroken(AssertionError):
    """A run of a world did what no run may do. The seed reproduces it."""

    def __init__(self, seed: object, now: float, text: str) -> None:
        super().__init__(f"seed {seed}, {now:.3f} s: {text}")
        self.seed = seed
        self.now = now
        self.text = text


class Witness:
    """Watches one world. The world tells it everything that its players do and are given."""

    def __init__(self, seed: object, clock: Callable[[], float]) -> None:
        self.seed = seed
        self._clock = clock
        self.tap = Wiretap()
        self.lives: list[Life] = []
        self.life_of: dict[int, Life] = {}
        """Session id -> whose it is."""
        self.requests: dict[int, SentRequest] = {}
        """By uid."""
        self.done_requests: dict[int, int] = {}
        """Uid -> log index of what it caused."""
        self.clearings: set[tuple[int, int]] = set()
        """(life, log index) of the kept messages that it asked to clear."""
        self.bans_asked: set[tuple[int, bytes]] = set()
        """(opening of the room, identity) that somebody asked to ban there."""
        self.askers_of_bans: set[Seat] = set()
        self.hand_overs: set[tuple[int, int]] = set()
        """(life, player id) to whom it asked to hand over being host."""
        self.handed_over: set[int] = set()
        """Entity ids that somebody asked to give away."""
        self.states: dict[int, RoomState] = {}
        """Opening of the room -> what its log says of it; set by `missing`."""
        self.messages: dict[int, SentMessage] = {}
        self.signals: dict[int, SentSignal] = {}
        self._seen_states: dict[tuple[int, object], tuple[int, int]] = {}
        """(receiving life, entity id) -> newest (owner's life, version) that it was shown."""
        self._shown_states: dict[tuple[int, int, int], int] = {}
        """(receiving life, how many log entries it had been handed, owner's life) -> an entity: judged at the end."""
        self._shown_given: dict[tuple[int, int], list[tuple[int, int]]] = {}
        """(receiving life, entity id that was handed over) -> (owner's life, version) that it was shown, in order."""
        self._newest_signal: dict[tuple[int, int, int], int] = {}
        """(receiving life, sending life, channel) -> order of the newest signal handed over."""
        self._newest_index: dict[int, int] = {}
        """Receiving life -> log index of the newest message handed over."""
        self._index_of: dict[int, int] = {}
        """Message uid -> its log index, the same for all."""
        self._signals_after: list[tuple[Life, int, SentSignal]] = []
        """(receiver, how many log entries it had been handed, signal): judged when the audiences are known."""
        self._expected: dict[int, list[tuple[int, object]]] = {}
        """Life -> (log index, what) that it is to be handed, in order; set by `missing`."""
        self._join_index: dict[int, int] = {}
        """Life -> log index of its arrival; set by `missing`."""

    def broken(self, text: str) -> NoReturn:
        """Fail the run. Raises: InvariantBroken."""
        error = InvariantBroken(self.seed, self._clock(), text)
        print(error)
        raise error

    # --- the wire

    def on_to_server(self, address: bytes, payload: bytes) -> None:
        """A datagram reached the server."""
        self.tap.on_to_server(address, payload)

    def on_from_server(self, address: bytes, payload: bytes) -> None:
        """The server sent a datagram."""
        try:
            self.tap.on_from_server(address, payload)
        except WiretapError as error:
            self.broken(str(error))
        while self.tap.new_sessions:
            self._on_new_session(self.tap.new_sessions.pop(0))

    def begin_life(self, player: int, name: str, nonce: int) -> Life:
        """Note that a player begins to join, to come back as a new process, or anew."""
        life = Life(number=len(self.lives) + 1, player=player, name=name, nonce=nonce, started_at=self._clock())
        self.lives.append(life)
        return life

    def _on_new_session(self, session: TappedSession) -> None:
        """Find whose a session is: of who asked for it; else a client resumed by itself, and may have to forget all.

        Once more for a session that begins afresh before it has spoken.
        """
        if session.session in self.life_of:
            self.life_of[session.session].sessions.discard(session.session)
        life = next((life for life in self.lives if life.nonce == session.nonce), None)
        if life is None and session.former is not None:
            life = self.life_of[session.former.session]
            if session.resumed == Resumed.AFRESH:
                life = self.begin_life(life.player, life.name, session.nonce)
        if life is None:
            self.broken(f"player id {session.player_id} was given to nobody")
        if not life.sessions:
            life.is_afresh = session.resumed == Resumed.AFRESH
            life.player_id, life.player_slots = session.player_id, session.player_slots
            life.room, life.log_start = session.room, session.log_start
        life.sessions.add(session.session)
        self.life_of[session.session] = life

    def on_attempt(self, life: Life, address: bytes) -> None:
        """A life uses an address: what is meant for it may be sent there."""
        self.tap.addresses.setdefault(life.nonce, set()).add(address)

    # --- what a client hands to its game

    def on_event(self, life: Life, event: object) -> None:
        """A client told its game something."""
        match event:
            case StateChanged():
                for entity_id, state, _ in event.changed:
                    self.on_state(life, entity_id, state)
            case Message(kept=True):
                self.on_kept(life, event)
            case Message():
                self.on_message(life, event.sender, event.kind, event.channel, event.payload, event.index)
                if event.flags & MessageFlag.KEEP:
                    life.kept[event.index] = life.handed[-1]  # type: ignore[assignment]
            case KeptCleared():
                self.on_entry(life, (EntryKind.KEPT_CLEARED, event.by, event.indexes))
                for index in event.indexes:
                    life.kept.pop(index, None)
            case Signal():
                self.on_signal(life, event.sender, event.kind, event.channel, event.payload)
            case PlayerJoined():
                self.on_entry(life, (EntryKind.PLAYER_JOINED, event.player_id))
            case PlayerLeft():
                self.on_entry(life, (EntryKind.PLAYER_LEFT, event.player_id))
                self._forget_kept_of(life, event.player_id)
            case PlayerAway():
                self.on_entry(life, (EntryKind.PLAYER_AWAY, event.player_id))
            case PlayerBack():
                self.on_entry(life, (EntryKind.PLAYER_BACK, event.player_id))
            case PropertyChanged():
                self.on_entry(life, (EntryKind.PROPERTY_CHANGED, event.owner, event.key, event.value))
            case HostChanged():
                self.on_entry(life, (EntryKind.HOST_CHANGED, event.player_id))
                life.host = event.player_id
            case EntityOwnerChanged():
                life.owners[event.entity_id] = event.owner
            case RequestRefused() if event.request_id in life.requests:
                life.requests[event.request_id].is_refused = True
        if isinstance(event, HostChanged | EntityOwnerChanged) and life.alive:
            life.forget_what_is_not_ours()

    def _forget_kept_of(self, life: Life, player_id: int) -> None:
        """Somebody left: what it said is kept no longer, unless it was to outlive its sender."""
        for index, uid in list(life.kept.items()):
            message = self.messages[uid]
            if message.life.player_id == player_id and not message.outlives_sender:
                del life.kept[index]

    def on_entry(self, life: Life, what: tuple[object, ...]) -> None:
        """An entry of the server was handed over. What comes before a life's own arrival tells what was there."""
        (life.handed if life.handed or what == life.arrival else life.roster).append(what)

    def on_kept(self, life: Life, event: Message) -> None:
        """A kept message was handed over: to who has just come, and as it was sent."""
        uid = uid_of(b"M", event.payload)
        message = self.messages.get(uid) if uid is not None else None
        if message is None or (message.payload, message.kind, message.channel) != (
            event.payload,
            event.kind,
            event.channel,
        ):
            self.broken(f"{life} was told of a kept message that nobody sent so, at index {event.index}")
        if life.handed:
            self.broken(f"{life} was told of the kept message {uid} although it is here already")
        if event.index <= self._newest_index.get(life.number, 0):
            self.broken(f"{life} was told of the kept message {uid}, index {event.index}, out of order")
        if self._index_of.setdefault(message.uid, event.index) != event.index:
            self.broken(
                f"{life} was told of the kept message {uid} as {event.index}, not {self._index_of[message.uid]}"
            )
        self._newest_index[life.number] = event.index
        life.kept_handed.append(message.uid)
        life.kept[event.index] = message.uid

    def on_message(self, life: Life, sender: int, kind: int, channel: int, payload: bytes, index: int) -> None:
        """A message was handed over: (1) once, (2) in order, (4) to the right ones."""
        uid = uid_of(b"M", payload)
        message = self.messages.get(uid) if uid is not None else None
        if message is None or message.payload != payload:
            self.broken(f"{life} was handed a message of {len(payload)} bytes that nobody sent, at index {index}")
        if uid in life.handed_at:
            self.broken(f"{life} was handed message {uid} twice")
        if (message.kind, message.channel, message.life.player_id) != (kind, channel, sender):
            self.broken(
                f"{life} was handed message {uid} with kind, channel or sender wrong: {kind}, {channel}, {sender}"
            )
        if not covers(message.target, message.players, life.player_id):
            self.broken(f"{life} was handed message {uid}, which is for {message.target.name} {message.players}")
        if index <= self._newest_index.get(life.number, 0):
            self.broken(f"{life} was handed message {uid}, index {index}, after {self._newest_index[life.number]}")
        self._newest_index[life.number] = self._index_of.setdefault(uid, index)
        if self._index_of[uid] != index:
            self.broken(f"message {uid} has index {index} for {life}, but {self._index_of[uid]} for others")
        life.handed.append(uid)
        life.handed_at[uid] = self._clock()

    def on_signal(self, life: Life, sender: int, kind: int, channel: int, payload: bytes) -> None:
        """A signal was handed over: (4)."""
        uid = uid_of(b"S", payload)
        signal = self.signals.get(uid) if uid is not None else None
        if signal is None or signal.payload != payload:
            self.broken(f"{life} was handed a signal of {len(payload)} bytes that nobody sent")
        if uid in life.signals_handed:
            self.broken(f"{life} was handed signal {uid} twice")
        if (signal.kind, signal.channel, signal.life.player_id) != (kind, channel, sender):
            self.broken(
                f"{life} was handed signal {uid} with kind, channel or sender wrong: {kind}, {channel}, {sender}"
            )
        if not covers(signal.target, signal.players, life.player_id):
            self.broken(f"{life} was handed signal {uid}, which is for {signal.target.name} {signal.players}")
        life.signals_handed[uid] = self._clock()
        key = (life.number, signal.life.number, channel)
        if signal.newest_first and signal.order < self._newest_signal.get(key, -1):
            self.broken(f"{life} was handed the newest-first signal {uid} after a newer one")
        self._newest_signal[key] = max(signal.order, self._newest_signal.get(key, -1))
        if signal.after is not None:
            self._signals_after.append((life, len(life.handed), signal))

    def on_state(self, life: Life, entity_id: int, state: bytes) -> None:
        """A client was shown a state: (3) one that was published, and never one older than it has seen."""
        origin = state_origin(state) or (0, 0)
        owner = self._publisher(entity_id, state)
        if owner is None:
            self.broken(f"{life} was shown a state of entity {entity_id} that nobody published: {state.hex()}")
        # of an entity that changed hands only the states of one owner have an order that all know
        series = entity_id if entity_id not in self.handed_over else (entity_id, owner.number)
        seen = self._seen_states.get((life.number, series), (0, 0))
        if origin < seen:
            self.broken(f"{life} was shown {origin} of entity {entity_id} after {seen}")
        self._seen_states[life.number, series] = origin
        if entity_id in self.handed_over:
            self._shown_given.setdefault((life.number, entity_id), []).append(origin)
        else:
            self._shown_states.setdefault((life.number, len(life.handed), owner.number), entity_id)

    def _publisher(self, entity_id: int, state: bytes) -> Life | None:
        """Find the life that published a state of an entity."""
        number, version = state_origin(state) or (0, 0)
        life = self.lives[number - 1] if 0 < number <= len(self.lives) else None
        return life if life is not None and life.history.get((entity_id, version)) == state else None

    def on_end(self, life: Life, reason: object) -> None:
        """A client's session ended: (7)."""
        was_removed = self.may_be_removed(life) and reason in REMOVED
        was_lost = life.may_time_out and reason == ByeReason.TIMEOUT
        if not life.ending and not was_removed and not was_lost:
            self.broken(f"the session of {life} ended although nobody ended it: {reason}")

    def on_ban_asked(self, asking: Life, banned: Life) -> None:
        """A player asked to ban another: all with its identity may end, now and whenever they are in this room."""
        self.bans_asked.add((banned.room, self._seat_of(banned).identity))
        self.askers_of_bans.add(self._seat_of(asking))

    def may_be_removed(self, life: Life) -> bool:
        """Tell whether somebody asked to remove a player, or to ban one with its identity."""
        is_seated = bool(life.sessions)
        return life.removal_asked or (is_seated and (life.room, self._seat_of(life).identity) in self.bans_asked)

    def _seat_of(self, life: Life) -> Seat:
        """Return the seat of a life that has one."""
        return self.tap.sessions[next(iter(life.sessions))].seat

    def _check_banned_are_gone(self, lives: list[Life]) -> None:
        """Check (8): of those with a banned identity none is here but a host who asked for that."""
        for life in lives:
            seat = self._seat_of(life)
            if (seat.room, seat.identity) in self.tap.book.banned and seat not in self.askers_of_bans:
                self.broken(f"{life} is here, but its identity is banned")

    # --- caps

    def check_caps(self, gauges: Mapping[str, tuple[int, int]]) -> None:
        """Check (5)."""
        for name, (value, cap) in gauges.items():
            if value > cap:
                self.broken(f"{name} holds {value}, its cap is {cap}")

    # --- at the end

    def check_end(
        self,
        server: RoomView | None,
        versions: Mapping[tuple[int, str], int],
        clients: Iterable[tuple[Life, RoomView]],
    ) -> None:
        """Check what must hold in a world that has become quiet.

        Args:
            server: The room as the server holds it.
            versions: (owner, key) -> version of every property, as the server holds it.
            clients: Every joined session that lives: its life, and the room as its client sees it.
        """
        missing = self.missing()
        if missing:
            self.broken(missing)
        self._check_signals_after()
        self._check_shown_states()
        self._check_hand_overs()
        clients = list(clients)
        self._check_banned_are_gone([life for life, _ in clients])
        self._check_table({} if server is None else server.table, [life for life, _ in clients])
        for life, view in clients:
            assert server is not None
            if differences := view.differences(server):
                table = self._difference(view.table, server.table)
                self.broken(f"{life} sees {'; '.join(differences)}. Its table: {table}")
            told = {what: found.version for what, found in self.states[life.room].properties.items()}
            if told != versions:
                self.broken(f"the versions of properties are {versions}, but the log says {told}")
            kept = {index: message.uid for index, (message, _) in self.states[life.room].kept.items()}
            if kept != server.kept:
                self.broken(f"the server keeps messages {server.kept}, but the log says {kept}")
            if life.host != view.host or any(
                view.owners.get(id_, id_ % life.player_slots) != owner for id_, owner in life.owners.items()
            ):
                self.broken(f"the game of {life} was told of host {life.host} and owners {life.owners}")

    def done(self) -> set[int]:
        """Return the uids of the requests to set a property that were done."""
        self.missing()
        return set(self.done_requests)

    def missing(self) -> str:
        """Check (2) and (4) for all that was handed over, and tell what (1) still waits for; "" if nothing."""
        self._expected = {life.number: [] for life in self.lives}
        for room in range(len(self.tap.logs)):
            log = RoomLog(self, room)
            self._join_index |= log.arrival_index()
            log.walk(self._expected)
            self.states[room] = log.state
        texts = [self._missing_of(life, self._expected[life.number]) for life in self.lives]
        return next((text for text in texts if text), "") or self._not_logged() or self._not_answered()

    def _missing_of(self, life: Life, expected: list[tuple[int, object]]) -> str:
        """Check (1) and (2): a living session was handed all, one that ended a beginning of it."""
        for handed, (index, wanted) in zip(life.handed, expected, strict=False):
            if handed != wanted:
                self.broken(f"{life} was handed {handed} where index {index}, {wanted}, was due")
        if len(life.handed) > len(expected):
            self.broken(f"{life} was handed {life.handed[len(expected) :][:5]}, which nobody wrote")
        if life.alive and len(life.handed) < len(expected):
            return f"{life} was not handed (index, what) {expected[len(life.handed) :][:5]}"
        return ""

    def _not_logged(self) -> str:
        """Check (1): what a living sender queued is at every living receiver that had joined before."""
        receivers = [life for life in self.lives if life.alive]
        for message in self.messages.values():
            if not message.life.alive:
                continue
            for life in receivers:
                joined_at = life.joined_at
                if life.room != message.life.room or joined_at is None or joined_at >= message.queued_at:
                    continue
                if covers(message.target, message.players, life.player_id) and message.uid not in life.handed_at:
                    return (
                        f"{life} never got message {message.uid} of {message.life}, queued at {message.queued_at:.3f}"
                    )
        return ""

    def _not_answered(self) -> str:
        """Tell which request of a living player was neither done nor refused; none was both."""
        for request in self.requests.values():
            is_done = request.uid in self.done_requests
            if is_done and request.is_refused:
                self.broken(f"request {request.uid} of {request.life} was done and refused")
            if request.life.alive and not is_done and not request.is_refused:
                return f"request {request.uid} of {request.life} was neither done nor refused"
        return ""

    def _check_signals_after(self) -> None:
        """Check (4): when a signal was handed over, everything its sender had queued before it had been, too."""
        visible = {number: {what for _, what in pairs} for number, pairs in self._expected.items()}
        for life, num_handed, signal in self._signals_after:
            had = set(life.handed[:num_handed])
            after = signal.after
            for message in signal.life.messages[: after.order + 1] if after is not None else ():
                if message.uid in visible[life.number] and message.uid not in had:
                    self.broken(f"{life} was handed signal {signal.uid} before message {message.uid}, which it follows")

    def _check_shown_states(self) -> None:
        """Check (3): a state was shown only while its owner was in the room, as far as its receiver had read."""
        for (number, num_handed, owner_number), entity_id in self._shown_states.items():
            receiver, owner = self.lives[number - 1], self.lives[owner_number - 1]
            read = self._expected[number][:num_handed]
            read_up_to = read[-1][0] if read else self._join_index[number]
            joined = self._join_index[self._first_of_seat(owner)]
            left = (EntryKind.PLAYER_LEFT, owner.player_id)
            if joined > read_up_to or any(what == left and index > joined for index, what in read):
                self.broken(f"{receiver} was shown entity {entity_id} of {owner}, which was not there at {read_up_to}")

    def _check_hand_overs(self) -> None:
        """Check (3): of an entity that changed hands nobody was shown what is from before a later hand-over."""
        for (number, entity_id), origins in self._shown_given.items():
            seen = (0, 0, 0)
            for owner_number, version in origins:
                owner = self.lives[owner_number - 1]
                state = self.states[owner.room]
                since = state.owned_from(entity_id, owner.player_id, owner.read_up_to[entity_id, version])
                if (since, owner_number, version) < seen:
                    self.broken(
                        f"{self.lives[number - 1]} was shown {version} of entity {entity_id} that {owner} published, "
                        f"its owner since {since} as it knew, after {seen[2]} of life {seen[1]}, owner since {seen[0]}"
                    )
                seen = (since, owner_number, version)

    def _first_of_seat(self, life: Life) -> int:
        """Find the life that began in the seat of a life: the number of itself, or of one that came back as it."""
        sessions = [self.tap.sessions[session] for session in life.sessions]
        return self.life_of[sessions[0].seat.sessions[0].session].number if sessions else life.number

    def _check_table(self, table: Mapping[int, bytes], lives: list[Life]) -> None:
        """Check (3): the server has what the owners say they published, and nothing that nobody did."""
        published = {id_: state for life in lives for id_, state in life.states.items()}
        inherited = {life.player_id for life in lives if life.is_afresh}
        for id_, state in table.items():
            is_inherited = id_ in self.handed_over or id_ % lives[0].player_slots in inherited
            removed = any(id_ in life.removed for life in lives)
            if is_inherited and id_ not in published and not removed and self._publisher(id_, state) is not None:
                published[id_] = state  # its owner got it as it is
        if dict(table) != published:
            self.broken(f"the server's table is not what was published: {self._difference(table, published)}")

    def _difference(self, is_table: Mapping[int, bytes], should: Mapping[int, bytes]) -> str:
        texts = []
        for entity_id in sorted(is_table.keys() | should.keys()):
            have, want = is_table.get(entity_id), should.get(entity_id)
            if have != want:
                texts.append(
                    f"entity {entity_id} is {have and state_origin(have)}, should be {want and state_origin(want)}"
                )
        return "; ".join(texts[:5]) + f" ({len(texts)} in all; pairs are life and version)"
