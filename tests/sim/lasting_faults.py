"""Faults to plant in what makes rooms last: coming back, bans, properties, host, kept messages. See `faults.py`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from protocol.client.outbox import Outbox
from protocol.constants import EntryKind, JoinMode, PropertyType
from relay import lobby, membership, presence, sessions
from relay.belongings import Bans, KeptMessages, Properties, Property
from relay.entities import NO_OWNER, Entities
from relay.handshake import JoinRequest, Refused, check_resume
from relay.lobby import Lobby
from relay.log import Log
from relay.requests import Requests
from relay.sessions import Sessions
from tests.sim.faults import patched


def resume_proof_unchecked() -> Any:
    """Who knows the number of a session may have its seat."""

    def build(original: Any) -> Any:
        def find(world: Any, request: Any) -> Any:
            row = world.sessions.find(request.session)
            return row if row is not None else world.sessions.find_former(request.session)[0]

        return find

    return patched(presence, "_find", build)


def former_secret_good_for_ever() -> Any:
    """The secret of a session that was resumed is not forgotten when the new one has spoken."""
    return patched(Sessions, "_forget_former_if_heard", lambda original: lambda self, row: None)


def resume_takes_a_second_seat() -> Any:
    """Who comes back joins instead."""

    def build(original: Any) -> Any:
        def resume(self: Any, value: Any, address: bytes, now: float) -> Any:
            request = check_resume(value)
            room = self._world.rooms.by_code.get(getattr(request, "code", b""))
            if isinstance(request, Refused) or room is None:
                return original(self, value, address, now)
            wish = JoinRequest(
                request.nonce, JoinMode.JOIN, request.code, "again", room.options, b"", request.cookie, b""
            )
            return membership.join(self._world, wish, address, now)

        return resume

    return patched(Lobby, "_resume", build)


def resume_forgets_accepted_messages() -> Any:
    """Message ids begin anew for who comes back."""

    def build(original: Any) -> Any:
        return tuple(name for name in original if name != "message_accepted")

    return patched(sessions, "KEPT_COLUMNS", build)


def resume_drops_what_was_missed() -> Any:
    """Who goes on is told nothing of what happened while it was away."""

    def build(original: Any) -> Any:
        def continue_log(world: Any, room: Any, row: int, log_index: int, now: float) -> None:
            world.sessions.table.log_effective[row] = world.rooms.table.log_head[room.row]
            original(world, room, row, log_index, now)

        return continue_log

    return patched(presence, "_continue_log", build)


def resume_hides_the_rest_of_a_message() -> Any:
    """Who goes on is not sent the last fragments of a message of which it had the first.

    The relay's first version did so: `log_start` was moved with the cursor.
    """

    def build(original: Any) -> Any:
        def continue_log(world: Any, room: Any, row: int, log_index: int, now: float) -> None:
            world.sessions.table.log_start[row] = log_index
            original(world, room, row, log_index, now)

        return continue_log

    return patched(presence, "_continue_log", build)


def return_afresh_is_not_told() -> Any:
    """Others are not told that who came back knows nothing of its unfinished message."""

    def build(original: Any) -> Any:
        return lambda world, row, is_afresh: original(world, row, False)

    return patched(presence, "_back_entry", build)


def sequence_numbers_not_begun_anew() -> Any:
    """States of who comes back are measured against the sequence numbers of its former session."""

    def build(original: Any) -> Any:
        def renew_seat(self: Any, *args: Any) -> None:
            before = self.table.write_seq.copy()
            original(self, *args)
            self.table.write_seq[:] = before

        return renew_seat

    return patched(Entities, "renew_seat", build)


def client_repeats_acknowledged_messages() -> Any:
    """A client that goes on sends its last acknowledged message again, under a new id."""

    def build(original: Any) -> Any:
        def on_acked(self: Any, *args: Any) -> None:
            before = dict(self._waiting)
            original(self, *args)
            done = [message for message_id, message in before.items() if message_id not in self._waiting]
            self.__dict__["_newest_done"] = done[-1] if done else self.__dict__.get("_newest_done")

        return on_acked

    def build_resumed(original: Any) -> Any:
        def on_resumed(self: Any, *args: Any) -> None:
            original(self, *args)
            done = self.__dict__.get("_newest_done")
            if done is not None:
                self.last_id += 1
                body = (self.last_id & 0xFFFF).to_bytes(2, "little") + done.body[2:]
                self._waiting[self.last_id] = type(done)(self.last_id, body, 0)

        return on_resumed

    return both(patched(Outbox, "on_acked", build), patched(Outbox, "on_resumed", build_resumed))


@contextmanager
def both(*patches: Any) -> Iterator[None]:
    """Apply several patches at a time."""
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield


def ban_ignored() -> Any:
    """Who was banned may join again."""
    return patched(Bans, "hold", lambda original: lambda self, *args: False)


def ban_ignored_on_resume() -> Any:
    """Who is banned by its identity may come back to its seat, only not join."""

    def build(original: Any) -> Any:
        def resume(*args: Any) -> Any:
            with ban_ignored():
                return original(*args)

        return resume

    return patched(lobby, "resume", build)


def ban_spares_the_others_of_its_machine() -> Any:
    """Of those with a banned identity only the one who was named has to go. So it was in the relay's first version."""
    return patched(Requests, "_others_with", lambda original: lambda self, *args: [])


def condition_ignored() -> Any:
    """A property is set whatever its version is."""

    def build(original: Any) -> Any:
        def set_property(self: Any, room: Any, session: int, value: Any) -> Any:
            value.is_conditional = 0
            return original(self, room, session, value)

        return set_property

    return patched(Requests, "_set_property", build)


def version_not_updated() -> Any:
    """A property keeps the version that it was set with first."""

    def build(original: Any) -> Any:
        def set_it(self: Any, owner: int, key: bytes, found: Any) -> None:
            version = self.version(owner, key) or found.version
            original(self, owner, key, Property(version, found.type, found.value))

        return set_it

    return patched(Properties, "set", build)


def property_of_who_left_stays() -> Any:
    """The properties of a player outlive it."""
    return patched(Properties, "forget", lambda original: lambda self, owner: None)


def removed_property_is_set() -> Any:
    """A removed property stays, with no value."""

    def build(original: Any) -> Any:
        def set_it(self: Any, owner: int, key: bytes, found: Any) -> None:
            if found.type != PropertyType.NONE:
                original(self, owner, key, found)

        return set_it

    return patched(Properties, "set", build)


def host_that_is_away_stays_host() -> Any:
    """Nobody becomes host when the host is away."""
    return patched(presence, "choose_host", lambda original: lambda world, room: [])


def host_is_told_late() -> Any:
    """A new host is chosen, but the room is not told."""

    def build(original: Any) -> Any:
        def append_own(self: Any, rooms: Any, room_row: int, entries: Any, *rest: Any) -> int:
            told = [entry for entry in entries if entry.kind != EntryKind.HOST_CHANGED]
            return int(original(self, rooms, room_row, told, *rest))

        return append_own

    return patched(Log, "append_own", build)


def entities_of_the_host_leave_with_it() -> Any:
    """What is the host's is removed with the player who is host."""

    def build(original: Any) -> Any:
        def give(self: Any, rooms: Any, room: Any, entity_id: int, session: int, newest_seq: int) -> None:
            if session != NO_OWNER:
                original(self, rooms, room, entity_id, session, newest_seq)

        return give

    return patched(Entities, "give", build)


def lock_is_only_told() -> Any:
    """Everybody is told that the room is locked, but it is not."""

    def build(original: Any) -> Any:
        def lock(self: Any, room: Any, session: int, value: Any) -> Any:
            before = room.belongings.is_locked
            outcome = original(self, room, session, value)
            room.belongings.is_locked = before
            return outcome

        return lock

    return patched(Requests, "_lock", build)


def _kept_told(change: Any) -> Any:
    """Tell who comes what `change` makes of the kept messages."""

    def build(original: Any) -> Any:
        def known(world: Any, room: Any, *rest: Any) -> Any:
            kept = room.belongings.kept
            before, kept.by_index = kept.by_index, change(kept.by_index)
            entries = original(world, room, *rest)
            kept.by_index = before
            return entries

        return known

    return both(patched(membership, "known_of_room", build), patched(presence, "known_of_room", build))


def kept_messages_not_told() -> Any:
    """Who comes later is not told of kept messages."""
    return _kept_told(lambda by_index: {})


def kept_messages_told_twice() -> Any:
    """Who comes later is told of every kept message twice."""

    class Twice(dict[int, Any]):
        def items(self) -> Any:
            return [*super().items(), *super().items()]

    return _kept_told(Twice)


def copies_have_a_number_of_their_own() -> Any:
    """Who comes later knows kept messages by other numbers than those who had them."""
    return _kept_told(lambda by_index: {index + 1: kept for index, kept in by_index.items()})


def clearing_is_not_told() -> Any:
    """Kept messages are cleared, and nobody hears of it. So it was in the relay's first version."""

    def build(original: Any) -> Any:
        def tell(self: Any, session: int, kind: Any, *rest: Any) -> int:
            return 0 if kind == EntryKind.KEPT_CLEARED else original(self, session, kind, *rest)

        return tell

    return patched(Requests, "_tell", build)


def keeping_is_decided_too_late() -> Any:
    """A message that is not kept says that it is: it is looked at when it stands in the log. The first version did."""

    def build(original: Any) -> Any:
        def keep(self: Any, session: int, index: int, message: Any) -> None:
            if self._room_of(session).belongings.kept.fits(len(message.payload)):
                original(self, session, index, message)

        return keep

    too_late = patched(Requests, "why_not_kept", lambda original: lambda self, *args: None)
    return both(too_late, patched(Requests, "keep", build))


def kept_messages_outlive_everybody() -> Any:
    """What a player said stays when it leaves, whether it was to or not."""
    return patched(KeptMessages, "on_left", lambda original: lambda self, player_id: None)


def nobody_is_away() -> Any:
    """The room is not told that somebody's connection is lost."""

    def build(original: Any) -> Any:
        def tell(world: Any, room: Any, entries: Any) -> None:
            original(world, room, [entry for entry in entries if entry.kind != EntryKind.PLAYER_AWAY])

        return tell

    return patched(presence, "_tell", build)
