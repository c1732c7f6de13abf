"""The engine's pages against the reference, on random tables and random baselines."""

import numpy as np
import pytest

from relay import snapshots
from relay.rooms import RoomOptions
from tests.reference import pages
from tests.reference.rig import Rig
from tests.reference.states import Entity

OPTIONS = [
    RoomOptions(max_players=2, entities_per_player=3, max_state_bytes=48),
    RoomOptions(max_players=8, entities_per_player=12, max_state_bytes=255),
    RoomOptions(max_players=3, entities_per_player=60, max_state_bytes=7),
    RoomOptions(max_players=16, entities_per_player=40, max_state_bytes=1),
]
NEWEST = 1000
PERIOD_S = 1 / 30


def fill_randomly(rig: Rig) -> list[list[Entity]]:
    """Put random states and histories into the engine's tables and into plain ones."""
    rng, plain = rig.rng, []
    rooms, table = rig.rooms.table, rig.entities.table
    for room in rig.room_list:
        row, size = room.row, room.options.max_state_bytes
        rooms.log_head[row] = rng.getrandbits(20)
        entities = []
        density = rng.choice((0.0, 0.2, 0.9, 1.0))
        for id_ in range(int(rooms.num_entities[row])):
            alive = rng.random() < density
            entity = Entity(
                state=rng.randbytes(rng.choice((1, (size + 1) // 2, size))) if alive else b"",
                changed_tick=rng.randint(1, NEWEST) if alive else rng.choice((0, rng.randint(1, NEWEST))),
                removed_tick=rng.choice((0, 0, rng.randint(1, NEWEST))),
                sample_ms=int(NEWEST * PERIOD_S * 1000) - rng.choice((0, 1, 2, 33, 509, 510, 700)),
            )
            entities.append(entity)
            engine_row = int(rooms.entities_first[row]) + id_
            at = int(rooms.states_first[row]) + id_ * size
            rig.entities.states.byte[at : at + len(entity.state)] = np.frombuffer(entity.state, np.uint8)
            table.length[engine_row] = len(entity.state)
            table.changed_tick[engine_row] = entity.changed_tick
            table.removed_tick[engine_row] = entity.removed_tick
            table.sample_ms[engine_row] = entity.sample_ms
        plain.append(entities)
    return plain


def random_pages(rig: Rig, count: int) -> list[tuple[int, int, int]]:
    """Choose (room number, page, since) triples."""
    result = []
    for _ in range(count):
        number = rig.rng.randrange(len(OPTIONS))
        page = rig.rng.randrange(int(rig.rooms.table.num_pages[rig.room_list[number].row]))
        result.append((number, page, rig.rng.choice((0, 1, NEWEST - 1, NEWEST, rig.rng.randint(1, NEWEST)))))
    return result


@pytest.mark.parametrize("seed", range(6))
def test_pages_are_the_bytes_of_the_reference(seed: int) -> None:
    rig = Rig(seed, OPTIONS, players=2)
    plain = fill_randomly(rig)
    wanted = random_pages(rig, 120)
    room = np.array([rig.room_list[number].row for number, _, _ in wanted], np.int64)
    page = np.array([page for _, page, _ in wanted], np.int64)
    since = np.array([since for _, _, since in wanted], np.int64)
    bodies = snapshots.encode_pages(rig.rooms, rig.entities, room, page, since, NEWEST, PERIOD_S)
    for n, (number, page_, since_) in enumerate(wanted):
        at, length = int(bodies.at[n]), int(bodies.length[n])
        page_ids = min(255, 1112 // (OPTIONS[number].max_state_bytes + 8))
        head = int(rig.rooms.table.log_head[rig.room_list[number].row])
        expected = pages.build_page(plain[number], page_, page_ids, since_, NEWEST, PERIOD_S, head)
        assert bodies.data[at : at + length].tobytes() == expected


@pytest.mark.parametrize("seed", range(6))
def test_a_shared_body_holds_what_each_of_its_receivers_lacks_and_says_no_newer_tick_than_theirs(seed: int) -> None:
    rig = Rig(seed, OPTIONS, players=2)
    plain = fill_randomly(rig)
    wanted = sorted(random_pages(rig, 400))
    numbers = np.array([number for number, _, _ in wanted], np.int64)
    due = snapshots.Due(
        session=np.zeros(len(wanted), np.int64),
        room=np.array([room.row for room in rig.room_list], np.int64)[numbers],
        page=np.array([page for _, page, _ in wanted], np.int64),
        since=np.array([since for _, _, since in wanted], np.int64),
    )
    body_of, room, page, since = snapshots.share_bodies(due, rig.rooms, rig.entities)
    assert len(room) < len(wanted)
    for n, (number, page_, acked) in enumerate(wanted):
        body = int(body_of[n])
        assert (room[body], page[body]) == (rig.room_list[number].row, page_)
        assert since[body] <= acked
        assert (since[body] == 0) == (acked == 0)
        page_ids = min(255, 1112 // (OPTIONS[number].max_state_bytes + 8))
        ids = pages.ids_of_page(page_, page_ids, len(plain[number]))
        lacking = pages.changes_since(plain[number], ids, acked)
        assert lacking == pages.changes_since(plain[number], ids, int(since[body]))
