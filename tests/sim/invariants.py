"""What must hold for any seed: checked while a world runs, and once more when its network has become quiet.

1. Every log message reaches every session of its audience that has not ended, exactly once.
2. All receivers have one total order: the same entry at the same index, handed over by ascending index; a sender's
   messages in the order in which it queued them.
3. Once the network is quiet, the server's table is what each owner last published, and every client's table is the
   server's. On the way there nobody sees a state that was never published, or one older than it has seen.
4. Nobody is sent what is not meant for it. A signal arrives at most once, never behind a newer one where newest-first
   was asked, and never before the message that it follows.
5. No queue passes its cap.
6. An unproven address is never sent more bytes than came from it (the wiretap raises that one at once).
7. No session ends unless its player ended it.

Audiences are computed from the log itself, as it was seen on the wire: who was a member at the first fragment's index.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

from protocol.constants import EntryKind
from tests.sim.lives import Life, SentMessage, SentSignal, covers, state_origin, uid_of
from tests.sim.roomlog import RoomLog
from tests.sim.wiretap import Wiretap, WiretapError


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
        self.messages: dict[int, SentMessage] = {}
        self.signals: dict[int, SentSignal] = {}
        self._seen_states: dict[tuple[int, int], tuple[int, int]] = {}
        """(receiving life, entity id) -> newest (owner's life, version) that it was shown."""
        self._shown_states: dict[tuple[int, int, int], int] = {}
        """(receiving life, how many log entries it had been handed, owner's life) -> an entity: judged at the end."""
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
        """Life -> log index of its PLAYER_JOINED; set by `missing`."""

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

    def on_attempt(self, life: Life, address: bytes) -> None:
        """A life uses an address: what is meant for it may be sent there."""
        self.tap.addresses.setdefault(life.nonce, set()).add(address)

    # --- what a client hands to its game

    def on_presence(self, life: Life, kind: EntryKind, player_id: int) -> None:
        """A presence entry was handed over. What comes before a life's own PLAYER_JOINED tells who was there."""
        what = (kind, player_id)
        is_own = what == (EntryKind.PLAYER_JOINED, life.player_id)
        (life.handed if life.handed or is_own else life.roster).append(what)

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
        owner = self.lives[origin[0] - 1] if 0 < origin[0] <= len(self.lives) else None
        if owner is None or owner.history.get((self._local_index(life, entity_id, owner), origin[1])) != state:
            self.broken(f"{life} was shown a state of entity {entity_id} that nobody published: {state.hex()}")
        seen = self._seen_states.get((life.number, entity_id), (0, 0))
        if origin < seen:
            self.broken(f"{life} was shown {origin} of entity {entity_id} after {seen}")
        self._seen_states[life.number, entity_id] = origin
        key = (life.number, len(life.handed), owner.number)
        self._shown_states.setdefault(key, entity_id)

    def _local_index(self, life: Life, entity_id: int, owner: Life) -> int:
        local_index, player_id = divmod(entity_id, life.player_slots)
        if player_id != owner.player_id:
            self.broken(f"{life} was shown a state of {owner} as entity {entity_id}, which is player {player_id}'s")
        return local_index

    def on_end(self, life: Life, reason: object) -> None:
        """A client's session ended: (7)."""
        if not life.ending:
            self.broken(f"the session of {life} ended although nobody ended it: {reason}")

    # --- caps

    def check_caps(self, gauges: Mapping[str, tuple[int, int]]) -> None:
        """Check (5)."""
        for name, (value, cap) in gauges.items():
            if value > cap:
                self.broken(f"{name} holds {value}, its cap is {cap}")

    # --- at the end

    def check_end(self, server_table: Mapping[int, bytes], clients: Iterable[tuple[Life, Mapping[int, bytes]]]) -> None:
        """Check (1) to (4) in a world that has become quiet.

        Args:
            server_table: Entity id -> state, as the server holds it.
            clients: Every joined session that lives: its life, and its client's table of others' entities.
        """
        missing = self.missing()
        if missing:
            self.broken(missing)
        self._check_signals_after()
        self._check_shown_states()
        self._check_tables(server_table, clients)

    def missing(self) -> str:
        """Check (2) and (4) for all that was handed over, and tell what (1) still waits for; "" if nothing."""
        self._link_lives()
        self._expected = {life.number: [] for life in self.lives}
        for room in range(len(self.tap.logs)):
            log = RoomLog(self, room)
            self._join_index |= log.join_index()
            log.walk(self._expected)
        texts = [self._missing_of(life, self._expected[life.number]) for life in self.lives]
        return next((text for text in texts if text), "") or self._not_logged()

    def _link_lives(self) -> None:
        for life in self.lives:
            session = self.tap.by_nonce.get(life.nonce)
            if session is not None:
                life.session, life.player_id, life.room = session.session, session.player_id, session.room
                life.log_start = session.log_start

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
            joined = self._join_index[owner_number]
            left = (EntryKind.PLAYER_LEFT, owner.player_id)
            if joined > read_up_to or any(what == left and index > joined for index, what in read):
                self.broken(f"{receiver} was shown entity {entity_id} of {owner}, which was not there at {read_up_to}")

    def _check_tables(
        self, server_table: Mapping[int, bytes], clients: Iterable[tuple[Life, Mapping[int, bytes]]]
    ) -> None:
        """Check (3)."""
        published = {}
        for life, _ in (clients := list(clients)):
            for local_index, state in life.states.items():
                published[local_index * life.player_slots + life.player_id] = state
        if dict(server_table) != published:
            self.broken(f"the server's table is not what was published: {self._difference(server_table, published)}")
        for life, table in clients:
            others = {id_: state for id_, state in published.items() if id_ % life.player_slots != life.player_id}
            if dict(table) != others:
                self.broken(f"the table of {life} is not the server's: {self._difference(table, others)}")

    def _difference(self, is_table: Mapping[int, bytes], should: Mapping[int, bytes]) -> str:
        texts = []
        for entity_id in sorted(is_table.keys() | should.keys()):
            have, want = is_table.get(entity_id), should.get(entity_id)
            if have != want:
                texts.append(
                    f"entity {entity_id} is {have and state_origin(have)}, should be {want and state_origin(want)}"
                )
        return "; ".join(texts[:5]) + f" ({len(texts)} in all; pairs are life and version)"
