"""Inbox: ranges in any order become entries in log order, each once."""

import random

import pytest

from protocol.client.inbox import MAX_ASIDE, Inbox
from protocol.constants import NO_PLAYER, PART_MORE, EntryKind
from protocol.records import Entry, LogRange


def entry(index: int, payload: bytes = b"", sender: int = 2, part: int = 0, kind: int = 1) -> Entry:
    return Entry(index, kind, sender, 0, part, payload)


def part_of(index: int, number: int, payload: bytes = b"", sender: int = 2) -> Entry:
    return entry(index, payload, sender, number | PART_MORE)


def left(index: int, player_id: int) -> Entry:
    return entry(index, player_id.to_bytes(2, "little") + b"\x01", NO_PLAYER, kind=EntryKind.PLAYER_LEFT)


def log(first: int, last: int, *entries: Entry, after: int | None = None) -> LogRange:
    return LogRange(first, last, first - 1 if after is None else after, list(entries))


def indexes(entries: list[Entry]) -> list[int]:
    return [entry.log_index for entry in entries]


def test_a_range_at_the_cursor_is_handed_over_and_moves_it() -> None:
    inbox = Inbox(0)
    assert indexes(inbox.take(log(1, 3, entry(1), entry(3)))) == [1, 3]
    assert (inbox.cursor, inbox.done, inbox.log_bits()) == (3, 3, b"")


def test_an_entry_arrives_once_however_often_it_is_sent() -> None:
    inbox = Inbox(0)
    inbox.take(log(1, 2, entry(1), entry(2)))
    assert inbox.take(log(1, 2, entry(1), entry(2))) == []
    assert indexes(inbox.take(log(2, 3, entry(2), entry(3)))) == [3]
    inbox.take(log(5, 5, entry(5)))
    inbox.take(log(5, 5, entry(5)))
    assert indexes(inbox.take(log(4, 4))) == [5]


def test_a_range_beyond_a_hole_is_remembered_acknowledged_and_waits() -> None:
    inbox = Inbox(0)
    assert inbox.take(log(2, 3, entry(2), entry(3))) == []
    assert inbox.cursor == 0
    assert inbox.log_bits() == bytes([0b110, 0, 0, 0])
    assert indexes(inbox.take(log(1, 1, entry(1)))) == [1, 2, 3]
    assert (inbox.cursor, inbox.log_bits()) == (3, b"")


def test_log_bits_are_whole_words_up_to_eight() -> None:
    inbox = Inbox(1000)
    inbox.take(log(1033, 1033))
    assert inbox.log_bits() == bytes([0, 0, 0, 0, 1, 0, 0, 0])
    inbox.take(log(1256, 1256))
    assert len(inbox.log_bits()) == 32 and inbox.log_bits()[-1] == 0x80


def test_a_range_that_ends_too_far_beyond_a_hole_is_ignored() -> None:
    inbox = Inbox(0)
    assert inbox.take(log(2, 257, entry(2))) == []
    assert inbox.log_bits() == b""
    inbox.take(log(2, 256, entry(2)))
    assert len(inbox.log_bits()) == 32


def test_a_range_at_the_cursor_counts_however_long_it_is() -> None:
    inbox = Inbox(0)
    assert indexes(inbox.take(log(1, 0xFFFFFFFF, entry(1), entry(70000)))) == [1, 70000]
    assert (inbox.cursor, inbox.done, inbox.log_bits()) == (0xFFFFFFFF, 0xFFFFFFFF, b"")


def test_a_long_range_may_begin_before_the_cursor_and_end_among_what_is_complete() -> None:
    inbox = Inbox(10)
    inbox.take(log(13, 15, entry(14)))
    assert indexes(inbox.take(log(5, 13, entry(11)))) == [11, 14]
    assert inbox.cursor == 15


def test_nothing_waits_for_a_fragment_of_somebody_elses_message() -> None:
    inbox = Inbox(0)
    # 1 is a fragment that got lost; `after` says that nothing before 2 can hold it up
    assert indexes(inbox.take(log(2, 2, entry(2, sender=3), after=0))) == [2]
    assert (inbox.cursor, inbox.done) == (0, 2)
    assert inbox.take(log(1, 1, part_of(1, 0))) == []
    assert (inbox.cursor, inbox.done) == (2, 2)


def test_a_message_waits_at_its_last_fragment_and_what_follows_waits_with_it() -> None:
    inbox = Inbox(0)
    assert inbox.take(log(3, 4, entry(3, b"c", part=2), entry(4, b"x", sender=3), after=0)) == []
    assert inbox.done == 2
    assert inbox.take(log(2, 2, part_of(2, 1, b"b"), after=0)) == []
    due = inbox.take(log(1, 1, part_of(1, 0, b"a")))
    assert [(entry.log_index, entry.payload) for entry in due] == [(3, b"abc"), (4, b"x")]
    assert inbox.done == inbox.cursor == 4


def test_what_stands_before_a_waiting_message_is_handed_over() -> None:
    inbox = Inbox(0)
    due = inbox.take(log(2, 3, entry(2, b"x", sender=3), entry(3, b"b", part=1), after=0))
    assert indexes(due) == [2]
    assert [entry.payload for entry in inbox.take(log(1, 1, part_of(1, 0, b"a")))] == [b"ab"]


def test_two_messages_of_one_sender_keep_their_own_fragments() -> None:
    inbox = Inbox(0)
    inbox.take(log(3, 3, part_of(3, 0, b"c")))
    inbox.take(log(4, 4, entry(4, b"d", part=1)))
    due = inbox.take(log(1, 2, part_of(1, 0, b"a"), entry(2, b"b", part=1)))
    assert [(entry.log_index, entry.payload) for entry in due] == [(2, b"ab"), (4, b"cd")]


def test_fragments_of_two_senders_may_be_mixed() -> None:
    inbox = Inbox(0)
    due = inbox.take(
        log(1, 4, part_of(1, 0, b"a", 2), part_of(2, 0, b"x", 3), entry(3, b"b", 2, 1), entry(4, b"y", 3, 1))
    )
    assert [(entry.sender, entry.payload) for entry in due] == [(2, b"ab"), (3, b"xy")]


def test_an_unfinished_message_is_thrown_away_when_its_sender_leaves() -> None:
    inbox = Inbox(0)
    due = inbox.take(log(1, 4, part_of(1, 0, b"old"), left(2, 2), part_of(3, 0, b"new"), entry(4, b"!", part=1)))
    assert [entry.payload for entry in due] == [b"\x02\x00\x01", b"new!"]


def test_a_fragment_that_comes_after_its_sender_left_is_thrown_away_too() -> None:
    inbox = Inbox(0)
    assert indexes(inbox.take(log(2, 2, left(2, 2), after=0))) == [2]
    inbox.take(log(1, 1, part_of(1, 0, b"old")))
    due = inbox.take(log(3, 4, part_of(3, 0, b"new"), entry(4, b"!", part=1)))
    assert [entry.payload for entry in due] == [b"new!"]
    assert inbox.num_discarded == 0


@pytest.mark.parametrize(("is_afresh", "payload"), [(1, b"new!"), (0, b"oldnew!")])
def test_an_unfinished_message_is_thrown_away_when_its_sender_comes_back_afresh(is_afresh: int, payload: bytes) -> None:
    inbox = Inbox(0)
    back = entry(2, bytes([2, 0, is_afresh]), NO_PLAYER, kind=EntryKind.PLAYER_BACK)
    first = 0 if is_afresh else 1
    due = inbox.take(log(1, 4, part_of(1, 0, b"old"), back, part_of(3, first, b"new"), entry(4, b"!", part=first + 1)))
    assert due[-1].payload == payload
    assert inbox.num_discarded == 0


def test_a_message_whose_fragments_were_never_sent_is_discarded_and_holds_nothing_up() -> None:
    inbox = Inbox(0)
    due = inbox.take(log(1, 3, part_of(1, 5), entry(2, b"x", part=1), entry(3, b"y")))
    assert indexes(due) == [3]
    assert inbox.num_discarded == 1


def test_an_entry_that_should_have_held_up_what_was_handed_over_is_discarded() -> None:
    inbox = Inbox(0)
    inbox.take(log(2, 2, entry(2), after=0))
    assert inbox.take(log(1, 1, entry(1))) == []
    assert inbox.num_discarded == 1


def test_fragments_put_aside_for_one_sender_are_capped() -> None:
    inbox = Inbox(0)
    for index in range(1, MAX_ASIDE + 3):
        inbox.take(log(index, index, part_of(index, 0)))
    assert inbox.num_discarded == 2


def test_the_smaller_after_of_two_ranges_with_one_end_counts() -> None:
    inbox = Inbox(0)
    assert inbox.take(log(5, 6, entry(5), entry(6), after=3)) == []
    assert indexes(inbox.take(log(6, 6, after=0))) == [5, 6]
    inbox = Inbox(0)
    inbox.take(log(5, 6, entry(5), entry(6), after=0))
    assert inbox.take(log(6, 6, after=3)) == []


class WrittenLog:
    """A log and what one receiver may see of it: what `after` and the ranges of a correct server are made from."""

    def __init__(self, rng: random.Random, length: int) -> None:
        self.entries: dict[int, Entry] = {}
        self.expected: list[tuple[int, bytes]] = []
        unfinished: dict[int, list[bytes]] = {}
        for index in range(1, length + 1):
            sender = rng.randrange(4)
            if rng.random() < 0.3:
                continue  # hidden
            payload = b"%d " % index
            parts = unfinished.setdefault(sender, [])
            if rng.random() < 0.5:
                self.entries[index] = part_of(index, len(parts), payload, sender)
                parts.append(payload)
            elif rng.random() < 0.1:
                self.entries[index] = left(index, sender)
                self.expected.append((index, self.entries[index].payload))
                del unfinished[sender]
            else:
                self.entries[index] = entry(index, payload, sender, len(parts))
                self.expected.append((index, b"".join(parts) + payload))
                del unfinished[sender]
        self.length = length

    def range(self, first: int, last: int) -> LogRange:
        whole = [i for i, e in self.entries.items() if i < first and not e.part & PART_MORE]
        inside = [e for i, e in sorted(self.entries.items()) if first <= i <= last]
        return LogRange(first, last, max(whole, default=0), inside)


@pytest.mark.parametrize("seed", range(30))
def test_any_order_of_arrival_gives_the_log_once_and_in_order(seed: int) -> None:
    rng = random.Random(seed)
    written = WrittenLog(rng, 400)
    inbox = Inbox(0)
    handed: list[tuple[int, bytes]] = []
    while inbox.cursor < written.length:
        first = rng.randint(max(1, inbox.cursor - 5), min(written.length, inbox.cursor + 40))
        last = min(written.length, first + rng.randrange(12))
        handed += [(entry.log_index, entry.payload) for entry in inbox.take(written.range(first, last))]
        assert inbox.done >= inbox.cursor
        assert handed == written.expected[: len(handed)]
    assert handed == written.expected
    assert inbox.num_discarded == 0
