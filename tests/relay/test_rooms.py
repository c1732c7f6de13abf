"""The room table: codes, packed members, hosts, and rows that are used again."""

from random import Random

import pytest

from protocol.constants import CODE_ALPHABET, CODE_LETTERS, MADE_UP_CODE_LENGTH
from protocol.proofs import shard_of
from relay.rooms import Room, RoomOptions, Rooms, RoomTable, is_code, make_up_code

OPTIONS = RoomOptions(max_players=4, entities_per_player=2, max_state_bytes=24)


def room_with(rooms: Rooms, code: bytes, *sessions: int, options: RoomOptions = OPTIONS) -> Room:
    room = rooms.open(code, options)
    for player_id, session in enumerate(sessions):
        rooms.add_member(room, session, player_id)
    return room


def test_a_room_has_twice_as_many_slots_as_players() -> None:
    assert OPTIONS.slots == 8
    assert RoomOptions(max_players=256, entities_per_player=1, max_state_bytes=1).slots == 512


def test_a_room_is_found_by_code_and_by_row() -> None:
    rooms = Rooms()
    first, second = rooms.open(b"ONE", OPTIONS), rooms.open(b"TWO", OPTIONS)
    assert rooms.by_code == {b"ONE": first, b"TWO": second}
    assert rooms.by_row == {first.row: first, second.row: second}
    assert len(rooms) == 2 and rooms.used == 2
    assert rooms.table.shard[[first.row, second.row]].tolist() == [shard_of(b"ONE"), shard_of(b"TWO")]
    assert len(first.slots) == 8 and all(slot.session is None and slot.left_index == 0 for slot in first.slots)


def test_members_stay_packed_whoever_goes() -> None:
    rooms = Rooms()
    room = room_with(rooms, b"A", 10, 11, 12, 13)
    other = room_with(rooms, b"B", 20, 21)
    assert sorted(rooms.members_of(room.row).tolist()) == [10, 11, 12, 13]
    rooms.remove_member(room, 11, 1)
    assert sorted(rooms.members_of(room.row).tolist()) == [10, 12, 13]
    rooms.remove_member(room, 13, 3)
    rooms.add_member(room, 14, 1)
    assert sorted(rooms.members_of(room.row).tolist()) == [10, 12, 14]
    assert sorted(rooms.members_of(other.row).tolist()) == [20, 21]
    for session, player_id in ((10, 0), (12, 2), (14, 1)):
        rooms.remove_member(room, session, player_id)
    assert len(rooms.members_of(room.row)) == rooms.table.members[room.row] == 0


def test_members_are_listed_in_the_order_in_which_they_came() -> None:
    rooms = Rooms()
    room = room_with(rooms, b"A")
    for player_id, session in enumerate((30, 10, 20)):
        rooms.add_member(room, session, player_id)
    rooms.remove_member(room, 30, 0)
    rooms.add_member(room, 30, 0)
    assert room.joined == [10, 20, 30]


def test_a_slot_knows_who_has_it() -> None:
    rooms = Rooms()
    room = room_with(rooms, b"A", 10, 11)
    assert [slot.session for slot in room.slots[:3]] == [10, 11, None]
    rooms.remove_member(room, 10, 0)
    assert [slot.session for slot in room.slots[:3]] == [None, 11, None]


def test_a_row_that_is_used_again_has_nothing_of_its_last_room() -> None:
    rooms = Rooms()
    room = room_with(rooms, b"OLD", 10)
    for name in RoomTable.COLUMNS:
        if name not in ("live", "members", "members_first"):
            getattr(rooms.table, name)[room.row] = 1
    rooms.remove_member(room, 10, 0)
    rooms.close(room)
    assert len(rooms) == 0 and not rooms.table.live[room.row]
    assert rooms.by_code == {} and rooms.by_row == {}
    small = RoomOptions(max_players=1, entities_per_player=1, max_state_bytes=9)
    new = rooms.open(b"NEW", small)
    assert new.row == room.row
    table = rooms.table
    assert (table.live[new.row], table.slots[new.row], table.max_state_bytes[new.row]) == (True, 2, 9)
    for name in RoomTable.COLUMNS:
        if name not in ("live", "shard", "serial", "game", "max_players", "slots", "max_state_bytes", "members_first"):
            assert getattr(table, name)[new.row] == 0, name


def test_rooms_keep_their_members_while_the_tables_grow() -> None:
    rooms = Rooms()
    kept = [room_with(rooms, b"R%d" % n, *range(4 * n, 4 * n + 4)) for n in range(200)]
    for n, room in enumerate(kept):
        assert sorted(rooms.members_of(room.row).tolist()) == list(range(4 * n, 4 * n + 4))
    assert rooms.used == 200 and rooms.table.live[:200].all()


@pytest.mark.parametrize("seed", range(5))
def test_no_room_has_anothers_members_after_any_coming_and_going(seed: int) -> None:
    rng = Random(seed)
    rooms = Rooms()
    expected: dict[int, set[int]] = {}
    for next_session in range(600):
        action = rng.random()
        if action < 0.1 or not expected:
            options = RoomOptions(max_players=rng.randint(1, 9), entities_per_player=1, max_state_bytes=1)
            expected[rooms.open(b"R%d" % next_session, options).row] = set()
        room = rooms.by_row[rng.choice(sorted(expected))]
        free = [player_id for player_id, slot in enumerate(room.slots) if slot.session is None]
        if action < 0.6 and len(room.joined) < room.options.max_players:
            rooms.add_member(room, next_session, rng.choice(free))
            expected[room.row].add(next_session)
        elif action < 0.95 and room.joined:
            session = rng.choice(room.joined)
            [player_id] = [n for n, slot in enumerate(room.slots) if slot.session == session]
            rooms.remove_member(room, session, player_id)
            expected[room.row].remove(session)
        elif not room.joined:
            rooms.close(room)
            del expected[room.row]
        assert {row: set(rooms.members_of(row).tolist()) for row in expected} == expected


@pytest.mark.parametrize("code", [b"A", b"0", b"-", b"ROOM-1", b"ABCDEFGHIJKLMNOP"])
def test_codes_are_1_to_16_of_the_permitted_letters(code: bytes) -> None:
    assert is_code(code)


@pytest.mark.parametrize("code", [b"", b"a", b"ABCDEFGHIJKLMNOPQ", b"A B", b"A\0B", b"\xc3\x84", b"A_B", b"A\n"])
def test_everything_else_is_no_code(code: bytes) -> None:
    assert not is_code(code)


def test_a_code_that_is_made_up_is_a_code_of_letters_that_do_not_look_alike() -> None:
    rng = Random(3)
    codes = {make_up_code(rng, {}) for _ in range(200)}
    assert len(codes) == 200
    for code in codes:
        assert is_code(code) and len(code) == MADE_UP_CODE_LENGTH
        assert set(code.decode()) <= set(CODE_ALPHABET) <= CODE_LETTERS


def test_a_code_that_somebody_has_is_not_made_up_again() -> None:
    first, second = make_up_code(Random(3), {}), make_up_code(Random(4), {})
    rooms = Rooms()
    taken = {first: rooms.open(first, OPTIONS)}
    again = make_up_code(Random(3), taken)
    assert again != first
    assert again == make_up_code(Random(3), taken) and second not in taken
