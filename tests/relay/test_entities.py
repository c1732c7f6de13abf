"""The rooms' tables: which writes count, what a removal leaves, and slabs that rooms hand on to each other."""

from random import Random

import numpy as np
import pytest

from protocol.constants import Refusal
from protocol.drops import DropReason
from relay.entities import NO_OWNER, Entities, distinct
from relay.rooms import Room, RoomOptions, Rooms
from tests.reference.rig import Rig
from tests.relay.bench import Bench, Client, states_section
from tests.relay.tables import write

SMALL = RoomOptions(max_players=2, entities_per_player=3, max_state_bytes=8)
PAGED = RoomOptions(max_players=8, entities_per_player=64, max_state_bytes=255)
"""4 ids a page, 256 pages."""


def table_of(rig: Rig, number: int = 0) -> dict[int, bytes]:
    """Read a room's living entities: id -> state."""
    room, rooms = rig.room_list[number], rig.rooms.table
    first, states_first = int(rooms.entities_first[room.row]), int(rooms.states_first[room.row])
    found = {}
    for entity_id in range(int(rooms.num_entities[room.row])):
        length = int(rig.entities.table.length[first + entity_id])
        at = states_first + entity_id * room.options.max_state_bytes
        if length:
            found[entity_id] = rig.entities.states.byte[at : at + length].tobytes()
    return found


def ticks(rig: Rig, entity_id: int) -> tuple[int, int]:
    """Return when an entity of the first room changed last and when it was removed last."""
    row = int(rig.rooms.table.entities_first[rig.room_list[0].row]) + entity_id
    return int(rig.entities.table.changed_tick[row]), int(rig.entities.table.removed_tick[row])


def page_ticks(rig: Rig, number: int = 0) -> dict[int, int]:
    """Return page -> stamp of its newest change, of pages that have one."""
    rooms, row = rig.rooms.table, rig.room_list[number].row
    first = int(rooms.pages_first[row])
    stamps = rig.entities.pages.changed_tick[first : first + int(rooms.num_pages[row])]
    return {page: int(tick) for page, tick in enumerate(stamps) if tick}


# --- writes


def test_states_of_any_length_are_kept_whole() -> None:
    rig = Rig(1, [SMALL], players=2)
    [[one, two]] = rig.rows
    write(rig, (one, 0, 1, b"a"), (two, 1, 1, b"12345678"), (one, 4, 1, b"abc"), (one, 8, 1, b"xyz"))
    assert table_of(rig) == {0: b"a", 1: b"12345678", 4: b"abc", 8: b"xyz"}
    write(rig, (one, 0, 2, b"longer"), (two, 1, 2, b"s"))
    assert table_of(rig) == {0: b"longer", 1: b"s", 4: b"abc", 8: b"xyz"}


def test_no_writes_change_nothing() -> None:
    rig = Rig(1, [SMALL], players=1)
    write(rig)
    assert table_of(rig) == {} and page_ticks(rig) == {} and not rig.stats.dropped


def test_of_two_writes_in_one_pass_the_higher_seq_counts_in_whatever_order_they_come() -> None:
    for order in (1, -1):
        rig = Rig(1, [SMALL], players=1)
        [[one]] = rig.rows
        write(rig, *[(one, 0, 5, b"newer"), (one, 0, 4, b"older"), (one, 4, 4, b"only")][::order])
        assert table_of(rig) == {0: b"newer", 4: b"only"}


def test_of_two_writes_with_one_seq_the_later_counts() -> None:
    rig = Rig(1, [SMALL], players=1)
    [[one]] = rig.rows
    write(rig, (one, 0, 5, b"first"), (one, 4, 5, b"other"), (one, 0, 5, b"second"))
    assert table_of(rig) == {0: b"second", 4: b"other"}


def test_a_write_that_is_not_newer_than_the_last_is_not_taken_and_not_counted() -> None:
    rig = Rig(1, [SMALL], players=1)
    [[one]] = rig.rows
    write(rig, (one, 0, 5, b"five"), stamp=1)
    write(rig, (one, 0, 5, b"again"), (one, 0, 4, b"four"), stamp=2)
    assert table_of(rig) == {0: b"five"} and page_ticks(rig) == {0: 1}
    assert not rig.stats.dropped


def test_seqs_are_whole_numbers_and_do_not_wrap() -> None:
    rig = Rig(1, [SMALL], players=1)
    [[one]] = rig.rows
    for seq in (65_535, 65_536, 65_537, 200_000):
        write(rig, (one, 0, seq, b"%d" % seq))
        assert table_of(rig) == {0: b"%d" % seq}


def test_ids_outside_the_room_are_counted_and_the_rest_is_taken() -> None:
    rig = Rig(1, [SMALL], players=1)
    [[one]] = rig.rows
    write(rig, (one, 12, 1, b"12"), (one, 11, 1, b"11"), (one, 65_535, 1, b"no"), (one, 8, 1, b"yes"))
    assert table_of(rig) == {8: b"yes"}
    assert rig.stats.dropped == {DropReason.BAD_ENTITY: 2, DropReason.NOT_OWNER: 1}


def test_states_of_others_entities_and_of_absent_players_are_counted_and_not_taken() -> None:
    rig = Rig(1, [SMALL], players=2)
    [[one, two]] = rig.rows
    write(rig, (one, 0, 1, b"mine"), stamp=1)
    write(rig, (two, 0, 9, b"yours"), (two, 0, 9, b""), (two, 2, 9, b"nobodys"), (two, 5, 9, b"own"), stamp=2)
    assert table_of(rig) == {0: b"mine", 5: b"own"}
    assert rig.stats.dropped == {DropReason.NOT_OWNER: 3}


def test_rooms_do_not_reach_into_each_other() -> None:
    rig = Rig(1, [SMALL, SMALL], players=2)
    (a, _), (b, _) = rig.rows
    write(rig, (a, 0, 1, b"in a"), (b, 0, 1, b"in b"), (a, 12, 1, b"beyond"))
    assert (table_of(rig, 0), table_of(rig, 1)) == ({0: b"in a"}, {0: b"in b"})


def test_the_last_state_of_the_last_room_may_have_any_length() -> None:
    """Gathering 255-byte windows must reach the last state of the slab."""
    rig = Rig(1, [RoomOptions(max_players=1, entities_per_player=1, max_state_bytes=255)], players=2)
    [[one, two]] = rig.rows
    write(rig, (one, 0, 1, b"x" * 255), (two, 1, 1, b"y" * 255))
    assert table_of(rig) == {0: b"x" * 255, 1: b"y" * 255}


# --- removals


def test_a_removal_leaves_its_tick_and_the_page_changes_with_it() -> None:
    rig = Rig(1, [SMALL], players=1)
    [[one]] = rig.rows
    write(rig, (one, 0, 1, b"here"), stamp=7)
    write(rig, (one, 0, 2, b""), stamp=9)
    assert table_of(rig) == {} and ticks(rig, 0) == (7, 9) and page_ticks(rig) == {0: 9}
    write(rig, (one, 0, 3, b"back"), stamp=12)
    assert table_of(rig) == {0: b"back"} and ticks(rig, 0) == (12, 9)


def test_removing_what_is_not_there_changes_no_page_but_counts_as_the_newest_write() -> None:
    rig = Rig(1, [SMALL], players=1)
    [[one]] = rig.rows
    write(rig, (one, 0, 5, b""), stamp=3)
    assert page_ticks(rig) == {} and ticks(rig, 0) == (0, 0)
    write(rig, (one, 0, 4, b"late"), stamp=4)
    assert table_of(rig) == {}
    write(rig, (one, 0, 6, b"new"), stamp=5)
    assert table_of(rig) == {0: b"new"}


def test_a_removal_in_a_late_datagram_does_not_undo_a_newer_state() -> None:
    rig = Rig(1, [SMALL], players=1)
    [[one]] = rig.rows
    write(rig, (one, 0, 1, b"one"))
    write(rig, (one, 0, 3, b"three"), (one, 0, 2, b""))
    assert table_of(rig) == {0: b"three"} and ticks(rig, 0)[1] == 0


def test_pages_are_stamped_each_by_its_own_entities() -> None:
    rig = Rig(1, [PAGED], players=1)
    [[one]] = rig.rows
    for local_index in (0, 1, 63):
        write(rig, (one, 16 * local_index, 1, b"x" * 255), stamp=local_index + 5)
    assert page_ticks(rig) == {0: 5, 4: 6, 252: 68}


# --- seats and rooms


def test_who_joins_owns_the_ids_with_its_number_and_knows_no_page() -> None:
    rig = Rig(1, [SMALL], players=2)
    room = rig.room_list[0]
    first = int(rig.rooms.table.entities_first[room.row])
    owner = rig.entities.table.owner[first : first + 12].tolist()
    [[one, two]] = rig.rows
    assert owner == [one, two, NO_OWNER, NO_OWNER] * 3
    assert (rig.entities.rows_of_player(rig.rooms, room, 3) - first).tolist() == [3, 7, 11]


def test_a_seat_that_is_taken_again_is_blank() -> None:
    rig = Rig(1, [PAGED], players=2)
    room = rig.room_list[0]
    rig.entities.seats.acked_tick[:] = 50
    rig.entities.seats.sent_tick[:] = 60
    first = rig.entities.take_seat(rig.rooms, room, 1, 1)
    pages = int(rig.rooms.table.num_pages[room.row])
    assert pages == 256
    acked, sent = rig.entities.seats.acked_tick, rig.entities.seats.sent_tick
    assert not acked[first : first + pages].any() and not sent[first : first + pages].any()
    assert acked[first - 1] == acked[first + pages] == 50 and sent[first - 1] == sent[first + pages] == 60


def test_who_leaves_takes_its_entities_with_it_and_nobody_elses() -> None:
    rig = Rig(1, [SMALL], players=2)
    room = rig.room_list[0]
    [[one, two]] = rig.rows
    write(rig, (one, 0, 1, b"a"), (one, 8, 1, b"b"), (two, 1, 1, b"c"), stamp=1)
    rig.entities.leave_seat(rig.rooms, room, one, stamp=6)
    assert table_of(rig) == {1: b"c"}
    assert [ticks(rig, entity_id)[1] for entity_id in (0, 4, 8, 1)] == [6, 0, 6, 0]
    assert page_ticks(rig) == {0: 6}
    write(rig, (one, 0, 9, b"ghost"), stamp=7)
    assert table_of(rig) == {1: b"c"} and rig.stats.dropped == {DropReason.NOT_OWNER: 1}


def test_who_leaves_without_entities_changes_no_page() -> None:
    rig = Rig(1, [SMALL], players=2)
    rig.entities.leave_seat(rig.rooms, rig.room_list[0], rig.rows[0][0], stamp=6)
    assert page_ticks(rig) == {}


def test_the_write_seq_starts_anew_with_a_new_owner() -> None:
    rig = Rig(1, [SMALL], players=2)
    [[one, two]] = rig.rows
    write(rig, (one, 0, 500, b"old"))
    rig.entities.leave_seat(rig.rooms, rig.room_list[0], one, stamp=2)
    rig.entities.take_seat(rig.rooms, rig.room_list[0], two, 0)
    write(rig, (two, 0, 1, b"new"))
    assert table_of(rig) == {0: b"new"}


def open_room(entities: Entities, rooms: Rooms, options: RoomOptions) -> Room:
    room = rooms.open(b"R%d" % (len(rooms) + 1000 * rooms.used), options)
    entities.open_room(rooms, room)
    return room


def close_room(entities: Entities, rooms: Rooms, room: Room) -> None:
    entities.close_room(rooms, room)
    rooms.close(room)


def test_a_room_in_the_slabs_of_another_starts_with_an_empty_table() -> None:
    rig = Rig(1, [SMALL], players=2)
    [[one, _]] = rig.rows
    write(rig, (one, 0, 1, b"old"), (one, 4, 1, b"old"), stamp=40)
    write(rig, (one, 4, 2, b""), stamp=41)
    old_first = int(rig.rooms.table.entities_first[rig.room_list[0].row])
    close_room(rig.entities, rig.rooms, rig.room_list[0])
    rig.room_list[0] = open_room(rig.entities, rig.rooms, SMALL)
    assert int(rig.rooms.table.entities_first[rig.room_list[0].row]) == old_first
    assert table_of(rig) == {} and page_ticks(rig) == {} and ticks(rig, 4) == (0, 0)
    write(rig, (one, 0, 99, b"ghost"))
    assert table_of(rig) == {}


def test_rooms_keep_their_tables_while_the_slabs_grow() -> None:
    rig = Rig(1, [SMALL] * 60, players=2)
    for number, (one, two) in enumerate(rig.rows):
        write(rig, (one, 8, 1, b"%d a" % number), (two, 9, 1, b"%d b" % number))
    for number in range(60):
        assert table_of(rig, number) == {8: b"%d a" % number, 9: b"%d b" % number}


def test_the_memory_of_one_more_room_is_what_opening_it_takes() -> None:
    rooms, entities = Rooms(), Entities()
    before = entities.memory_bytes(SMALL)
    open_room(entities, rooms, SMALL)
    room = open_room(entities, rooms, PAGED)
    with_both = entities.memory_bytes(SMALL)
    assert with_both > before + 1024 * 255
    close_room(entities, rooms, room)
    assert entities.memory_bytes(PAGED) <= with_both


def test_the_memory_of_closed_rooms_serves_rooms_of_any_other_size() -> None:
    """A relay whose rooms had all closed refused every room of another size as SERVER_FULL, until it restarted."""
    bench = Bench(state_memory_mib=1)
    opened: list[Client] = []
    while True:
        client = Client(bench)
        answer = client.ask(code=f"R{len(opened)}", max_players=16, entities_per_player=16, max_state_bytes=100)
        if client.welcome is None:
            break
        opened.append(client)
    assert len(opened) >= 4 and answer.reason == Refusal.SERVER_FULL
    for client in opened:
        bench.receive(client.bye())
    assert bench.engine.num_rooms == 0
    for shape in ((8, 8, 100), (32, 8, 64), (16, 32, 50), (4, 4, 8)):
        sizes = dict(zip(("max_players", "entities_per_player", "max_state_bytes"), shape, strict=True))
        client = Client(bench).join(code="AGAIN", **sizes)
        bench.receive(client.bye())


def test_values_that_occur_are_listed_once_and_ascending() -> None:
    rng = Random(3)
    values = [rng.choice((1, 24, 48, 255)) for _ in range(50)]
    assert distinct(np.array(values, np.int64)) == sorted(set(values))
    assert distinct(np.zeros(0, np.int64)) == []
    assert distinct(np.array([65_535, 0], np.int64)) == [0, 65_535]


# --- through the engine


def test_a_state_as_long_as_the_room_permits_is_taken_and_a_longer_one_drops_its_datagram() -> None:
    bench = Bench()
    client = bench.join(max_state_bytes=16)
    client.say(client.state(b"x" * 16), client.message(b"with it"))
    assert bench.engine.room_table("ROOM") == {0: b"x" * 16}
    client.say(client.state(b"y" * 17), client.message(b"not taken"))
    assert bench.engine.room_table("ROOM") == {0: b"x" * 16}
    assert bench.dropped() == {"BAD_SECTION": 1}


def test_a_local_index_as_high_as_the_room_permits_is_taken_and_a_higher_one_counted() -> None:
    bench = Bench()
    client = bench.join(max_players=3, entities_per_player=5)
    client.say(*[client.state(b"%d" % n, n) for n in range(3, 7)])
    assert bench.engine.room_table("ROOM") == {18: b"3", 24: b"4"}
    assert bench.dropped() == {"BAD_ENTITY": 2}


def test_a_section_of_255_states_is_taken_whole() -> None:
    bench = Bench()
    client = bench.join(max_players=1, entities_per_player=256, max_state_bytes=2)
    client.say(states_section([(2 * n, n.to_bytes(2, "big")) for n in range(255)]))
    assert bench.engine.room_table("ROOM") == {2 * n: n.to_bytes(2, "big") for n in range(255)}


@pytest.mark.parametrize("late_by", [1, 62, 63])
def test_a_late_datagram_counts_per_entity(late_by: int) -> None:
    bench = Bench()
    client = bench.join(entities_per_player=2)
    client.say(client.state(b"old"), seq=100 - late_by - 1) if late_by < 63 else None
    client.say(client.state(b"new"), seq=100)
    client.say(client.state(b"late") + client.state(b"only", 1), seq=100 - late_by)
    assert bench.engine.room_table("ROOM") == {0: b"new", client.entity(1): b"only"}
    assert bench.dropped() == {}
