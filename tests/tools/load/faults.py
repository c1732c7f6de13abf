"""Faults of a relay, made by a proxy that knows the protocol: everything but the fault stays valid.

A fault is called with every datagram and which way it goes, as `LagProxy` asks. It may look at a datagram's value as
`codec.decode` gives it and change it; `num_done` counts how often it did. What a fault once did to a log entry of a
receiver it does each time that entry comes again.
"""

from collections.abc import Callable, Container, Iterator
from typing import Any

from protocol import codec, schemas
from protocol.constants import DataSection, EntryKind, Kind, SignalFlag, Target, UpdateSection

FEW_TICKS = 10
"""How old an old state is, in datagrams."""
PLAYER_KINDS: Container[int] = range(1, int(EntryKind.PLAYER_JOINED))


class Fault:
    """Base of all: `change_update` and `change_data` look at values, and return whether they changed them."""

    def __init__(self) -> None:
        self.num_done = 0

    def __call__(self, data: bytes, is_upward: bool) -> list[bytes]:
        """Pass a datagram on, changed or not."""
        if data[0] != (Kind.DATA if is_upward else Kind.UPDATE):
            return [data]
        value = codec.decode(data)
        if not (self.change_data(value) if is_upward else self.change_update(value)):
            return [data]
        self.num_done += 1
        return [schemas.DATAGRAMS[Kind(data[0])].build(value)]

    def change_update(self, value: Any) -> bool:
        """Change an UPDATE in place. Returns: whether it was."""
        return False

    def change_data(self, value: Any) -> bool:
        """Change a DATA in place. Returns: whether it was."""
        return False


def bodies(value: Any, kind: int) -> Iterator[Any]:
    """Yield the bodies of all sections of one type."""
    return (section.body for section in value.sections if section.type == kind)


def entries(value: Any) -> Iterator[tuple[int, Any, Any]]:
    """Yield whole index, entry and range of every message of an UPDATE."""
    for body in bodies(value, UpdateSection.LOG_RANGE):
        for entry in body.entries:
            if entry.header.kind in PLAYER_KINDS:
                first = body.header.first
                yield first + (entry.header.index - first & 0xFFFF), entry, body


def flipped(content: bytes) -> bytes:
    """Change one bit in the middle of a content."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


# --- messages


class SwallowMessage(Fault):
    """Take an entry out of its range: for its first receiver, or for everybody in the room."""

    def __init__(self, *, for_all: bool) -> None:
        super().__init__()
        self.for_all = for_all
        self.victim: tuple[int, bytes] | None = None

    def change_update(self, value: Any) -> bool:
        for _, entry, body in entries(value):
            who = 0 if self.for_all else value.header.session
            if self.victim is None:
                self.victim = who, entry.payload
            if self.victim == (who, entry.payload):
                body.entries.remove(entry)
                return True
        return False


class ReplaceMessage(Fault):
    """Let an entry of one receiver carry what an earlier one of that sender carried."""

    def __init__(self, *, for_all: bool) -> None:
        super().__init__()
        self.for_all = for_all
        self.seen: dict[tuple[int, int], tuple[int, bytes]] = {}
        self.victim: tuple[int, bytes] | None = None
        self.instead = b""

    def change_update(self, value: Any) -> bool:
        done = False
        for index, entry, _ in entries(value):
            session = value.header.session
            who = 0 if self.for_all else session
            earlier, payload = self.seen.setdefault((session, entry.header.sender), (index, entry.payload))
            if self.victim is None and index > earlier:
                self.victim, self.instead = (who, entry.payload), payload
            if self.victim == (who, entry.payload):
                entry.payload, entry.header.length = self.instead, len(self.instead)
                done = True
        return done


class SwapMessages(Fault):
    """Exchange what two entries of one receiver carry."""

    def __init__(self) -> None:
        super().__init__()
        self.newest: dict[int, int] = {}
        self.victim = 0
        self.instead: dict[int, tuple[int, bytes]] = {}

    def change_update(self, value: Any) -> bool:
        session = value.header.session
        found = [(index, entry) for index, entry, _ in entries(value)]
        fresh = [pair for pair in found if pair[0] > self.newest.get(session, 0)]
        self.newest[session] = max([self.newest.get(session, 0), *(index for index, _ in found)])
        if not self.victim and len(fresh) > 1:
            (first, one), (second, other) = fresh[:2]
            self.victim = session
            self.instead = {
                first: (other.header.sender, other.payload),
                second: (one.header.sender, one.payload),
            }
        done = False
        for index, entry in found:
            if session == self.victim and index in self.instead:
                entry.header.sender, entry.payload = self.instead[index]
                done = True
        return done


class ChangeMessage(Fault):
    """Change a bit of what an entry carries for one receiver."""

    def __init__(self) -> None:
        super().__init__()
        self.victim: tuple[int, int] | None = None

    def change_update(self, value: Any) -> bool:
        for index, entry, _ in entries(value):
            if self.victim is None:
                self.victim = value.header.session, index
            if self.victim == (value.header.session, index):
                entry.payload = flipped(entry.payload)
                return True
        return False


class RelabelMessages(ChangeMessage):
    """Give an entry of one receiver another kind, so that a game would take it for something else."""

    def change_update(self, value: Any) -> bool:
        for index, entry, _ in entries(value):
            if self.victim is None:
                self.victim = value.header.session, index
            if self.victim == (value.header.session, index):
                entry.header.kind = 7
                return True
        return False


class AimAtAll(Fault):
    """Let everybody hear what was meant for one: messages or signals, on their way up."""

    def __init__(self, kind: DataSection) -> None:
        super().__init__()
        self.kind = kind

    def change_data(self, value: Any) -> bool:
        done = False
        for body in bodies(value, self.kind):
            if body.header.target == Target.ONE:
                body.header.target, body.header.target_count, body.targets = int(Target.ALL), 0, []
                done = True
        return done


# --- states


def groups_of(value: Any) -> Iterator[Any]:
    """Yield all groups of all pages of an UPDATE."""
    for page in bodies(value, UpdateSection.PAGE):
        yield from page.groups


class ChangeState(Fault):
    """Change a bit of one state that one receiver is shown, once."""

    def change_update(self, value: Any) -> bool:
        for group in groups_of(value) if not self.num_done else ():
            group.states[0] = flipped(group.states[0])
            return True
        return False


class ShowOldState(Fault):
    """Show one receiver an old state of somebody else as the newest: once, or each time from then on."""

    def __init__(self, *, for_ever: bool) -> None:
        super().__init__()
        self.for_ever = for_ever
        self.seen: dict[tuple[int, int], list[bytes]] = {}
        self.victim: tuple[int, int] | None = None

    def change_update(self, value: Any) -> bool:
        for group in groups_of(value):
            for place, entity_id in enumerate(group.ids):
                who = value.header.session, entity_id
                states = self.seen.setdefault(who, [])
                if not states or states[-1] != group.states[place]:
                    states.append(group.states[place])
                if self.victim is None and len(states) > FEW_TICKS:
                    self.victim = who
                if who == self.victim and (self.for_ever or not self.num_done):
                    group.states[place] = states[FEW_TICKS // 2]
                    return True
        return False


class MixPlayersUp(Fault):
    """Show one receiver a player's state under another's entity id, once."""

    def change_update(self, value: Any) -> bool:
        for group in groups_of(value) if not self.num_done else ():
            if len(group.states) > 1:
                group.states[0] = group.states[1]
                return True
        return False


class HideState(Fault):
    """Never show one receiver one entity, once it was shown some."""

    def __init__(self) -> None:
        super().__init__()
        self.num_seen = 0
        self.victim: tuple[int, int] | None = None

    def change_update(self, value: Any) -> bool:
        for page in bodies(value, UpdateSection.PAGE):
            for group in page.groups:
                self.num_seen += 1
                if self.victim is None and self.num_seen > FEW_TICKS:
                    self.victim = value.header.session, group.ids[0]
                for place, entity_id in enumerate(group.ids):
                    if self.victim == (value.header.session, entity_id):
                        self._cut(page, group, place)
                        return True
        return False

    def _cut(self, page: Any, group: Any, place: int) -> None:
        del group.ids[place], group.ages[place], group.states[place]
        group.header.count -= 1
        if not group.header.count:
            page.groups.remove(group)
            page.header.group_count -= 1


# --- signals


class DoubleSignal(Fault):
    """Hand a signal over twice: in one datagram, or again in a later one."""

    def __init__(self, *, in_one: bool) -> None:
        super().__init__()
        self.in_one = in_one
        self.kept: tuple[int, Any] | None = None

    def change_update(self, value: Any) -> bool:
        if self.num_done:
            return False
        if self.kept is not None and value.header.session == self.kept[0]:
            value.sections.append(self.kept[1])
            return True
        for section in value.sections if self.kept is None else ():
            if section.type == UpdateSection.SIGNAL and not section.body.header.flags & SignalFlag.NEWEST_FIRST:
                if self.in_one:
                    value.sections.append(section)
                    return True
                self.kept = value.header.session, section
                return False
        return False


class ChangeSignal(Fault):
    """Change a signal on its way down, once: a bit of it, or its kind."""

    def __init__(self, change: Callable[[Any], None]) -> None:
        super().__init__()
        self.change = change

    def change_update(self, value: Any) -> bool:
        for body in bodies(value, UpdateSection.SIGNAL) if not self.num_done else ():
            self.change(body)
            return True
        return False


def flip_payload(body: Any) -> None:
    """Change a bit of a signal."""
    body.payload = flipped(body.payload)


def relabel(body: Any) -> None:
    """Give a signal another kind."""
    body.header.kind = 7
