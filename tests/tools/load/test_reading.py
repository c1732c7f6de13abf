"""The reader of many UPDATEs against the client's plain one: the same verdict, and the same content."""

from random import Random
from typing import Any

import numpy as np
import pytest

from protocol import dtypes
from protocol.constants import MAX_DATAGRAM_BYTES, NO_PLAYER, UpdateSection
from protocol.records import RoomShape, read_sections
from relay.batch import ROW_BYTES
from relay.ingress import walk_sections
from tests.sim.scale import FULL
from tests.tools.load.made import SIZE, entry, log_range, page, rows_of, signal, state, update
from tools.load.claims import keys_of
from tools.load.reading import Shape, read_pages, read_ranges, read_signals

SHAPE = Shape(player_slots=10, page_ids=4, state_bytes=SIZE)
PLAIN = RoomShape(player_slots=10, num_ids=10, page_ids=4, max_state_bytes=SIZE)
MAX_SECTIONS = MAX_DATAGRAM_BYTES // dtypes.SECTION_HEADER.size


def random_update(rng: Random) -> bytes:
    """A valid UPDATE of all sorts of sections."""
    sections = []
    for _ in range(rng.randrange(4)):
        kind = rng.randrange(4)
        if kind == 0:
            number = rng.randrange(3)
            ids = [entity_id for entity_id in range(4 * number, min(10, 4 * number + 4)) if rng.random() < 0.6]
            gone = [entity_id for entity_id in ids if rng.random() < 0.2]
            states = [(entity_id, state(entity_id, rng.randrange(1, 9))) for entity_id in ids]
            sections.append(page(states, number=number, since=rng.randrange(3), removed=gone))
        elif kind == 1:
            first = rng.choice([1, 70_000])
            found = [
                entry(index, rng.choice([0, 9, NO_PLAYER]), rng.randbytes(rng.randrange(30)), part=rng.choice([0, 5]))
                for index in range(first, first + 6)
                if rng.random() < 0.5
            ]
            sections.append(log_range(first, first + 5, *found, after=rng.randrange(first)))
        elif kind == 2:
            sections.append(signal(rng.randrange(10), rng.randrange(1, 70_000), rng.randrange(4), rng.randrange(100)))
        else:
            sections.append({"type": 77, "body": rng.randbytes(rng.randrange(20))})
    return update(rng.randrange(4), 1, 5, *sections)


def mutated(data: bytes, rng: Random) -> bytes:
    """The same with bytes changed, cut off or put in behind the header, so that it is still an UPDATE."""
    head, body = data[: dtypes.UPDATE_HEADER.size], bytearray(data[dtypes.UPDATE_HEADER.size :])
    for _ in range(rng.randrange(1, 4)):
        place, what = rng.randrange(len(body) + 1), rng.randrange(4)
        if what == 0 and body:
            body[place % len(body)] = rng.choice([0, 1, 2, 3, 9, 10, 24, 25, 255, rng.randrange(256)])
        elif what == 1:
            del body[place:]
        elif what == 2:
            del body[place : place + rng.randrange(4)]
        else:
            body[place:place] = rng.randbytes(rng.randrange(4))
    return head + bytes(body[: MAX_DATAGRAM_BYTES - len(head)])


def datagram(rng: Random) -> bytes:
    kind = rng.randrange(10)
    if kind == 0:
        return update(0, 1, 5) + rng.randbytes(rng.randrange(60))
    return random_update(rng) if kind < 4 else mutated(random_update(rng), rng)


def plainly(data: bytes) -> Any:
    """What the client reads, as far as a load takes it: whole states of one size, signals in one piece."""
    sections = read_sections(data, PLAIN)
    if sections is None or any(one.last for one in sections.signals):
        return None
    if any(len(content) != SIZE for one in sections.pages for _, _, content in one.states):
        return None
    pages = [
        (one.page, one.since, list(one.removed), [(entity_id, content) for entity_id, _, content in one.states])
        for one in sections.pages
    ]
    # of flags the load knows nothing
    ranges = [(one.first, one.last, one.after, [found[:-1] for found in one.entries]) for one in sections.ranges]
    signals = [
        (one.kind, one.flags, one.channel, one.sender, one.sequence, one.position, one.payload)
        for one in sections.signals
    ]
    return pages, ranges, signals


def together(datagrams: list[bytes]) -> list[Any]:
    """What the reader of many makes of them, in the same words."""
    source = rows_of(datagrams).reshape(-1)
    at = np.arange(len(datagrams)) * ROW_BYTES
    length = np.array([len(data) for data in datagrams])
    good, sections = walk_sections(source, at + dtypes.UPDATE_HEADER.size, at + length, MAX_SECTIONS)
    found: list[Any] = [([], [], []) for _ in datagrams]
    pages = sections.of(UpdateSection.PAGE).take(np.argsort(sections.of(UpdateSection.PAGE).datagram, kind="stable"))
    room, tick = pages.datagram % 4, np.full(len(pages.at), 5)
    body, bodies = read_pages(source, pages, room, tick, SHAPE)
    good[pages.datagram[~bodies.good[body]]] = False
    ranges_at = sections.of(UpdateSection.LOG_RANGE)
    ranges_at = ranges_at.take(np.argsort(ranges_at.datagram, kind="stable"))
    ranges = read_ranges(source, ranges_at, SHAPE)
    good[ranges_at.datagram[~ranges.good]] = False
    signals_at = sections.of(UpdateSection.SIGNAL)
    signals_at = signals_at.take(np.argsort(signals_at.datagram, kind="stable"))
    signals = read_signals(source, signals_at, SHAPE)
    good[signals_at.datagram[~signals.good]] = False
    for i in np.flatnonzero(good[pages.datagram]).tolist():
        found[pages.datagram[i]][0].append(page_of(bodies, int(body[i])))
    for i in np.flatnonzero(good[ranges_at.datagram]).tolist():
        found[ranges_at.datagram[i]][1].append(range_of(source, ranges, i))
    for i in np.flatnonzero(good[signals_at.datagram]).tolist():
        names = ("kind", "flags", "channel", "sender", "sequence", "position")
        payload = source[signals.at[i] : signals.at[i] + signals.length[i]].tobytes()
        found[signals_at.datagram[i]][2].append((*(int(getattr(signals, name)[i]) for name in names), payload))
    return [found[i] if good[i] else None for i in range(len(datagrams))]


def page_of(bodies: Any, number: int) -> Any:
    mine = bodies.state_body == number
    states = list(zip(bodies.entity_id[mine].tolist(), bodies.life[mine].tolist(), bodies.counter[mine].tolist()))
    removed = bodies.gone_id[bodies.gone_body == number].tolist()
    return int(bodies.page[number]), int(bodies.since[number]), removed, states, bodies.proven[mine].tolist()


def range_of(source: Any, ranges: Any, i: int) -> Any:
    mine = np.flatnonzero(ranges.entry_range == i).tolist()
    names = ("index", "kind", "sender", "channel", "part")
    entries = [
        (*(int(getattr(ranges, n)[e]) for n in names), source[ranges.at[e] : ranges.at[e] + ranges.length[e]].tobytes())
        for e in mine
    ]
    return int(ranges.first[i]), int(ranges.last[i]), int(ranges.after[i]), entries


def same_page(plain: Any, found: Any) -> bool:
    """Tell whether two pages are equal: of the one we have contents, of the other who they claim to be from."""
    number, since, removed, states = plain
    claimed = found[3]
    return (number, since, removed, [entity_id for entity_id, _ in states]) == (
        *found[:3],
        [entity_id for entity_id, _, _ in claimed],
    ) and all(
        proven == (content == state(life, counter))
        for (_, content), (_, life, counter), proven in zip(states, claimed, found[4])
    )


@pytest.mark.parametrize("seed", range(200 if FULL else 8))
def test_many_are_read_as_each_alone_by_the_client(seed: int) -> None:
    rng = Random(seed)
    datagrams = [datagram(rng) for _ in range(150)]
    verdicts = {True: 0, False: 0}
    for data, found in zip(datagrams, together(datagrams)):
        plain = plainly(data)
        verdicts[plain is not None] += 1
        assert (plain is None) == (found is None), f"seed {seed}: {data.hex()}"
        if plain is not None:
            assert plain[1:] == (found[1], found[2]), data.hex()
            assert len(plain[0]) == len(found[0])
            assert all(same_page(one, other) for one, other in zip(plain[0], found[0])), data.hex()
    assert min(verdicts.values()) > 20


def test_equal_pages_of_a_room_share_a_body_and_others_do_not() -> None:
    one, other = page([(1, state(1, 5))]), page([(1, state(1, 6))])
    datagrams = [update(row, 1, 5, section) for row, section in enumerate([one, one, other, one])]
    source, length = rows_of(datagrams).reshape(-1), np.array([len(data) for data in datagrams])
    at = np.arange(4) * ROW_BYTES
    _, sections = walk_sections(source, at + dtypes.UPDATE_HEADER.size, at + length, MAX_SECTIONS)
    order = np.argsort(sections.datagram, kind="stable")
    body, bodies = read_pages(source, sections.take(order), np.array([0, 0, 0, 1]), np.full(4, 5), SHAPE)
    assert body[0] == body[1] and len(set(body.tolist())) == 3 and len(bodies) == 3
    assert bodies.room[body].tolist() == [0, 0, 0, 1]
    assert bodies.counter[[np.flatnonzero(bodies.state_body == b)[0] for b in body]].tolist() == [5, 5, 6, 5]


def test_the_word_of_a_state_that_proves_nothing_is_zero() -> None:
    data = update(0, 1, 5, page([(1, state(1, 5)), (2, b"x" * SIZE)]))
    source = rows_of([data]).reshape(-1)
    _, sections = walk_sections(source, np.array([32]), np.array([len(data)]), MAX_SECTIONS)
    _, bodies = read_pages(source, sections, np.array([0]), np.array([5]), SHAPE)
    assert bodies.proven.tolist() == [True, False]
    assert bodies.keys.tolist() == [keys_of(np.array([1]), np.array([5]))[0], 0]


def test_a_shape_has_as_many_pages_as_its_slots_need() -> None:
    assert [Shape(slots, 4, SIZE).num_pages for slots in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]
