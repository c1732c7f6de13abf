"""Events that wait for a game: merged where that loses nothing, held back where it would."""

import random

import pytest

from protocol.client import Event, Message, StateChanged
from relay import eventqueue
from relay.eventqueue import MERGE_FROM, EventQueue, merge_pictures


def picture(tick: int, changed: dict[int, bytes], removed: tuple[int, ...] = ()) -> StateChanged:
    return StateChanged(tick, tuple((entity_id, state, float(tick)) for entity_id, state in changed.items()), removed)


def message(index: int) -> Message:
    return Message(0, 1, 0, b"", index)


def show(table: dict[int, bytes], event: Event) -> None:
    """What a game does with a picture."""
    assert isinstance(event, StateChanged)
    for entity_id in event.removed:
        table.pop(entity_id, None)
    table.update((entity_id, state) for entity_id, state, _ in event.changed)


def test_events_come_out_in_order() -> None:
    queue = EventQueue()
    queue.extend([message(1), picture(1, {1: b"a"}), message(2)])
    assert [queue.popleft() for _ in range(len(queue))] == [message(1), picture(1, {1: b"a"}), message(2)]
    with pytest.raises(IndexError):
        queue.popleft()


def test_a_game_that_never_reads_keeps_one_picture_beyond_the_first_few() -> None:
    queue = EventQueue()
    for tick in range(1, 100_000):
        queue.extend([picture(tick, {tick % 5: b"%d" % tick})])
    assert len(queue) == MERGE_FROM
    last = [queue.popleft() for _ in range(MERGE_FROM)][-1]
    assert isinstance(last, StateChanged) and last.tick == 99_999 and len(last.changed) == 5


def test_messages_are_never_merged_or_moved() -> None:
    queue = EventQueue()
    queue.extend([message(index) for index in range(MERGE_FROM)])
    queue.extend([picture(1, {1: b"a"}), message(98), picture(2, {1: b"b"}), picture(3, {1: b"c"}), message(99)])
    events = [queue.popleft() for _ in range(len(queue))][MERGE_FROM:]
    assert events == [picture(1, {1: b"a"}), message(98), picture(3, {1: b"c"}), message(99)]


def test_merged_pictures_show_the_same_as_the_two() -> None:
    rng = random.Random(7)
    for _ in range(500):
        pictures = [
            picture(
                tick,
                {entity_id: bytes([rng.randrange(9)]) for entity_id in rng.sample(range(6), rng.randrange(6))},
                tuple(rng.sample(range(6), rng.randrange(4))),
            )
            for tick in (1, 2, 3)
        ]
        one_by_one: dict[int, bytes] = {0: b"before", 1: b"before"}
        at_once = dict(one_by_one)
        for each in pictures:
            show(one_by_one, each)
        show(at_once, merge_pictures(merge_pictures(pictures[0], pictures[1]), pictures[2]))
        assert at_once == one_by_one


def test_a_full_queue_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventqueue, "MAX_EVENTS", 3)
    queue = EventQueue()
    queue.extend([message(1), message(2)])
    assert not queue.is_full
    queue.extend([message(3), message(4)])
    assert queue.is_full and len(queue) == 4
