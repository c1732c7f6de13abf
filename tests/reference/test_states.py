"""The engine's table against the reference: random writes, removals, foreign and impossible ids, in batches."""

import numpy as np
import pytest

from protocol.drops import DropReason
from relay.rooms import RoomOptions
from tests.reference.rig import Rig
from tests.reference.states import Entity, Table

OPTIONS = [
    RoomOptions(max_players=2, entities_per_player=3, max_state_bytes=48),
    RoomOptions(max_players=8, entities_per_player=1, max_state_bytes=255),
    RoomOptions(max_players=3, entities_per_player=40, max_state_bytes=7),
]


def reference_tables(rig: Rig) -> list[Table]:
    tables = []
    for room, rows in zip(rig.room_list, rig.rows, strict=True):
        slots, options = room.options.slots, room.options
        owners = [
            rows[id_ % slots] if id_ % slots < len(rows) else None for id_ in range(slots * options.entities_per_player)
        ]
        page_ids = min(255, (1160 - 32 - 3 - 13) // (options.max_state_bytes + 8))
        tables.append(Table([Entity(owner) for owner in owners], page_ids=page_ids))
    return tables


Write = tuple[int, int, int, int, bytes, int, int]
"""(room number, session row, entity id, seq, state or b"", sample_ms, log_cursor)"""


def random_writes(rig: Rig, tick: int) -> list[Write]:
    rng, writes = rig.rng, []
    for _ in range(rng.randint(0, 40)):
        number = rng.randrange(len(OPTIONS))
        options = OPTIONS[number]
        num_ids = options.slots * options.entities_per_player
        player = rng.randrange(2)
        own = player + options.slots * rng.randrange(options.entities_per_player)
        entity_id = own if rng.random() < 0.9 else rng.randrange(num_ids + 3)
        size = rng.choice((0, 1, options.max_state_bytes // 2, options.max_state_bytes))
        seq = max(1, tick * 3 + rng.randint(-20, 5))
        cursor = max(0, tick + rng.randint(-4, 1))
        writes.append(
            (number, rig.rows[number][player], entity_id, seq, rng.randbytes(size), rng.getrandbits(20), cursor)
        )
    return writes


def hand_over(rig: Rig, tables: list[Table], tick: int) -> None:
    """Give some entities to one of the first two players, as entry `tick` tells; some of them to who has them."""
    for _ in range(rig.rng.randint(0, 3)):
        number = rig.rng.randrange(len(OPTIONS))
        entity_id, session = rig.rng.randrange(len(tables[number].entities)), rig.rows[number][rig.rng.randrange(2)]
        rig.entities.give(rig.rooms, rig.room_list[number], entity_id, session, tick)
        tables[number].give(entity_id, session, tick)


def one_state_per_seq(writes: list[Write]) -> list[Write]:
    """Drop a second state of one entity in one datagram: which of the two counts is nowhere said."""
    return list({(w[0], w[2], w[3]): w for w in writes}.values())


@pytest.mark.parametrize("seed", range(6))
def test_the_table_holds_what_the_reference_holds(seed: int) -> None:
    rig = Rig(seed, OPTIONS, players=2)
    tables = reference_tables(rig)
    for tick in range(1, 60):
        hand_over(rig, tables, tick)
        writes = one_state_per_seq(random_writes(rig, tick))
        source = np.frombuffer(b"".join(w[4] for w in writes) + bytes(256), np.uint8).copy()
        stride = np.array([len(w[4]) for w in writes], np.int64)
        columns = [np.array([w[n] for w in writes], np.int64) for n in (0, 1, 2, 3, 5, 6)]
        number, session, entity_id, seq, sample_ms, log_cursor = columns
        room_row = np.array([room.row for room in rig.room_list], np.int64)[number]
        rig.entities.apply_writes(
            rig.rooms,
            rig.stats,
            source,
            session=session,
            room_row=room_row,
            entity_id=entity_id,
            seq=seq,
            log_cursor=log_cursor,
            sample_ms=sample_ms,
            stride=stride,
            state_at=np.cumsum(stride) - stride,
            stamp=tick,
        )
        # in order of seq, for of several writes in one batch the newest counts, and only that one
        for number_, session_, id_, seq_, state, sample, cursor in sorted(writes, key=lambda w: -w[3]):
            tables[number_].write(session_, id_, seq_, cursor, state, sample, tick)
        assert_same(rig, tables)
    assert rig.stats.dropped[DropReason.BAD_ENTITY] == sum(table.bad_entity for table in tables) > 0
    assert rig.stats.dropped[DropReason.NOT_OWNER] == sum(table.not_owner for table in tables) > 0


def assert_same(rig: Rig, tables: list[Table]) -> None:
    engine, states, rooms = rig.entities.table, rig.entities.states.byte, rig.rooms.table
    for room, table in zip(rig.room_list, tables, strict=True):
        first = int(rooms.entities_first[room.row])
        for entity_id, entity in enumerate(table.entities):
            row = first + entity_id
            at = int(rooms.states_first[room.row]) + entity_id * room.options.max_state_bytes
            assert states[at : at + int(engine.length[row])].tobytes() == entity.state
            columns = (engine.write_seq[row], engine.changed_tick[row], engine.removed_tick[row])
            assert columns == (entity.write_seq, entity.changed_tick, entity.removed_tick)
            assert not entity.state or engine.sample_ms[row] == entity.sample_ms
        for page, tick in table.page_ticks.items():
            assert rig.entities.pages.changed_tick[int(rooms.pages_first[room.row]) + page] == tick
