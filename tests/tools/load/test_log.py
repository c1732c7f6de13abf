"""The log of many players against the client's inbox."""

from random import Random

import numpy as np
import pytest

from protocol.client.inbox import Inbox
from protocol.constants import NO_PLAYER, EntryKind
from protocol.records import Entry, LogRange, RoomShape, read_sections
from relay.ingress import walk_sections
from tests.sim.scale import FULL
from tests.tools.load.made import crowd_of, entry, left, log_range, message, rows_of, update
from tools.load.crowd import Crowd
from tools.load.log import Heard
from tools.load.people import UNKNOWN
from tools.load.reading import read_ranges

SHAPE = RoomShape(player_slots=8, num_ids=8, page_ids=34, max_state_bytes=24)
LENGTH = 30


def take(crowd: Crowd, row: int, data: bytes) -> Heard:
    """Give the ranges of one datagram to one player."""
    source = rows_of([data]).reshape(-1)
    good, sections = walk_sections(source, np.array([32]), np.array([len(data)]), 24)
    sections = sections.take(np.argsort(sections.at, kind="stable"))
    assert good.all()
    return crowd.log.take(source, np.full(len(sections.at), row), read_ranges(source, sections, crowd.shape))


def made() -> Crowd:
    return crowd_of(witness=object())[0]


def random_part(log: dict[int, Entry], rng: Random) -> LogRange:
    """A range as a relay might send it: some of the log, whole."""
    first = rng.randrange(1, LENGTH + 1)
    last = rng.randrange(first, min(LENGTH, first + 9) + 1)
    return LogRange(first, last, first - 1, [log[index] for index in range(first, last + 1) if index in log])


@pytest.mark.parametrize("seed", range(100 if FULL else 12))
def test_cursor_and_entries_are_those_of_the_clients_inbox(seed: int) -> None:
    rng = Random(seed)
    crowd, inbox = made(), Inbox(0)
    log = {
        index: Entry(index, 1, index % 4, 0, 0, rng.randbytes(rng.choice([24, 24, 3])))
        for index in range(1, LENGTH + 1)
        if rng.random() < 0.8
    }
    rows = np.array([2])
    for _ in range(60):
        parts = [random_part(log, rng) for _ in range(rng.randrange(1, 3))]
        sections = [
            log_range(part.first, part.last, *(entry(e.log_index, e.sender, e.payload) for e in part.entries))
            for part in parts
        ]
        data = update(2, 1, 5, *sections)
        read = read_sections(data, SHAPE)
        assert read is not None
        wanted = [one.log_index for part in read.ranges for one in inbox.take(part)]
        heard = take(crowd, 2, data)
        assert heard.index.tolist() == wanted and set(heard.row.tolist()) <= {2}
        assert crowd.log.cursors(rows)[0] == inbox.cursor and crowd.log.done(rows)[0] == inbox.done
        assert [bits for _, bits in crowd.log.bits_of(rows)] == ([inbox.log_bits()] if inbox.log_bits() else [])


def test_beyond_a_hole_a_player_says_what_it_has() -> None:
    crowd = made()
    take(crowd, 1, update(1, 1, 5, log_range(3, 4, message(3, 0, 1), after=2)))
    assert crowd.log.cursors(np.array([0, 1])).tolist() == [0, 0]
    assert [(i, bits.hex()) for i, bits in crowd.log.bits_of(np.array([0, 1]))] == [(1, "0c000000")]
    heard = take(crowd, 1, update(1, 2, 5, log_range(1, 2)))
    assert heard.index.tolist() == [3] and crowd.log.cursors(np.array([1])).tolist() == [4]
    assert list(crowd.log.bits_of(np.array([0, 1]))) == []


def test_who_has_left_says_nothing() -> None:
    crowd = made()
    take(crowd, 1, update(1, 1, 5, log_range(3, 4, after=2)))
    crowd.end(1)
    assert list(crowd.log.bits_of(np.array([1]))) == []


@pytest.mark.parametrize("behind_a_hole", [False, True])
def test_claims_and_what_the_server_wrote_are_read_both_ways(behind_a_hole: bool) -> None:
    crowd = made()
    entries = [
        message(2, 1, 5),
        left(3, 2),
        entry(4, 1, b"short"),
        message(5, 1, 6, kind=2),
        message(6, 1, 7, channel=2),
    ]
    ranges = [log_range(2, 6, *entries, after=1), log_range(1, 1)]
    heard = take(crowd, 0, update(0, 1, 5, *(ranges if behind_a_hole else ranges[::-1])))
    assert heard.index.tolist() == [2, 3, 4, 5, 6]
    assert heard.sender.tolist() == [1, NO_PLAYER, 1, 1, 1]
    assert heard.proven.tolist() == [True, False, False, False, False]
    assert heard.life[:3].tolist() == [1, UNKNOWN, UNKNOWN] and heard.counter[0] == 5
    assert heard.payloads == {1: bytes([2, 0, 0])} and heard.kind[1] == EntryKind.PLAYER_LEFT


def test_what_was_there_already_is_counted_and_not_handed_over() -> None:
    crowd = made()
    talk = [message(1, 0, 1), message(2, 1, 1)]
    take(crowd, 0, update(0, 1, 5, log_range(1, 2, *talk)))
    heard = take(crowd, 0, update(0, 2, 5, log_range(1, 3, *talk, message(3, 2, 1))))
    assert heard.index.tolist() == [3] and heard.repeated == 2
