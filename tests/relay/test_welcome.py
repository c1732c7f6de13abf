"""What a joiner is told of the room, and whether there is memory for it."""

from protocol.constants import MAX_HANDED_OVER, NO_PLAYER, EntryKind, MessageFlag, PropertyType
from relay.audience import only
from relay.belongings import LIST_BYTES, Kept, Property
from relay.log import OwnEntry
from relay.rooms import Room
from relay.welcome import known_of_room, room_ready, welcome_fits
from relay.world import World
from tests.relay.bench import Bench


def a_room(num_players: int = 2, **settings: int) -> tuple[World, Room]:
    bench = Bench(**settings)
    bench.join_all(num_players)
    return bench.engine.world, bench.engine.world.rooms.by_code[b"ROOM"]


def kinds(entries: list[OwnEntry]) -> list[int]:
    return [entry.kind for entry in entries]


def test_all_is_told_in_order_and_to_the_joiner_alone() -> None:
    world, room = a_room()
    room.belongings.properties.set(NO_PLAYER, b"map", Property(3, PropertyType.TEXT, b"sea"))
    room.belongings.owners[1] = NO_PLAYER
    room.belongings.kept.keep(7, Kept(0, 5, MessageFlag.KEEP, 2, b"hello"))
    entries = known_of_room(world, room, 1, [0])
    assert kinds(entries) == [EntryKind.ROSTER, EntryKind.PROPERTIES, EntryKind.OWNERS, 5]
    assert all((entry.audience == only(1)).all() for entry in entries)
    assert (entries[-1].sender, entries[-1].channel) == (0, 2) and entries[-1].payload.endswith(b"hello")
    assert entries[-1].flags == MessageFlag.KEEP | MessageFlag.KEPT
    assert room_ready(world, room, 1).payload == b"\0\0" and (room_ready(world, room, 1).audience == only(1)).all()


def test_properties_are_encoded_again_only_after_a_change() -> None:
    _, room = a_room()
    properties = room.belongings.properties
    properties.set(0, b"team", Property(3, PropertyType.TEXT, b"red"))
    first = properties.told()
    assert properties.told() is first
    properties.forget(1)
    assert properties.told() is first
    properties.set(0, b"team", Property(4, PropertyType.TEXT, b"blue"))
    assert b"blue" in properties.told()[0] and b"red" not in properties.told()[0]
    properties.forget(0)
    assert properties.told() == []


def test_lists_are_cut_into_entries_that_fit_a_datagram() -> None:
    world, room = a_room()
    room.belongings.owners.update((n, NO_PLAYER) for n in range(MAX_HANDED_OVER))
    for n in range(60):
        room.belongings.properties.set(NO_PLAYER, b"%030d" % n, Property(n, PropertyType.TEXT, b"x"))
    entries = known_of_room(world, room, 1, [])
    assert kinds(entries).count(EntryKind.OWNERS) == 2 and kinds(entries).count(EntryKind.PROPERTIES) > 1
    assert max(len(entry.payload) for entry in entries) <= LIST_BYTES
    assert sum(len(entry.payload) for entry in entries if entry.kind == EntryKind.OWNERS) == 4 * MAX_HANDED_OVER


def test_what_a_room_knows_must_fit_what_messages_may_use_and_names_the_reserve() -> None:
    world, room = a_room(log_memory_mib=1)
    arena = world.log.arena
    while arena.free_bytes():
        world.log.append_own(world.rooms, room.row, [OwnEntry(5, bytes(1024))])
    assert welcome_fits(world, room)
    room.belongings.owners[1] = NO_PLAYER
    assert not welcome_fits(world, room)
    room.belongings.owners.clear()
    while arena.free_bytes_for_names() > 0:
        world.log.append_own(world.rooms, room.row, [OwnEntry(5, bytes(1024))])
    assert not welcome_fits(world, room)
    assert len(arena.bytes) == 1 << 20
