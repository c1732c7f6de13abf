"""A log made by hand: what is missing, doubled, out of order, misdelivered or wrong, and for whom."""

from typing import Any

import numpy as np
import pytest

from protocol.constants import SignalFlag
from tests.tools.load.made import (
    content,
    crowd_of,
    deliver,
    entry,
    log_range,
    message,
    plan_of,
    signal,
    update,
)
from tools.load.audience import Aim
from tools.load.claims import Use
from tools.load.joining import made_up_welcome
from tools.load.ledger import RING, Ledger
from tools.load.people import REMEMBERED

LAST = 9
"""Everybody has said so many messages and sent so many signals."""


class Room:
    """Players who all speak to all, and a relay of our own making."""

    def __init__(self, aim: Aim = Aim.ALL, **plan: Any) -> None:
        self.crowd, checks = crowd_of(plan_of(aim=aim, **plan))
        self.ledger: Ledger = checks.ledger
        people = self.crowd.people
        people.said[: people.used] = people.signalled[: people.used] = LAST
        self.seq = [0] * people.used

    def tell(self, row: int, *sections: Any, at: float = 0.0) -> None:
        """Send one player an UPDATE."""
        self.seq[row] += 1
        deliver(self.crowd, update(row, self.seq[row], self.seq[row], *sections), at=at)

    def tell_all(self, *sections: Any, but: int | None = None) -> None:
        for row in range(self.crowd.people.used):
            if row != but:
                self.tell(row, *sections)

    def tell_long(self, row: int, messages: list[Any]) -> None:
        """Tell one player a long log, 25 entries at a time."""
        for at in range(0, len(messages), 25):
            some = messages[at : at + 25]
            self.tell(row, log_range(at + 1, at + len(some), *some))

    def verdict(self) -> dict[str, int]:
        """What is wrong in the end."""
        self.ledger.count_up(self.crowd.log.done(np.arange(self.crowd.people.used)))
        return {name: count for name, count in self.ledger.messages.items() if count and name != "received"}


TALK = [message(1, 0, 1), message(2, 1, 1), message(3, 0, 2), message(4, 2, 1)]


def test_what_everybody_hears_in_order_is_right() -> None:
    room = Room()
    room.tell_all(log_range(1, 4, *TALK))
    assert room.verdict() == {} and room.ledger.messages["received"] == 16


def test_nothing_said_is_nothing_wrong() -> None:
    assert Room().verdict() == {}


def test_late_and_repeated_ranges_change_nothing() -> None:
    room = Room()
    room.tell_all(log_range(1, 4, *TALK), but=3)
    room.tell(3, log_range(3, 4, *TALK[2:]))
    room.tell(3, log_range(2, 4, *TALK[1:]))
    room.tell(3, log_range(1, 2, *TALK[:2]))
    assert room.verdict() == {} and room.ledger.messages["received"] == 16


def test_an_entry_that_one_lacks_is_missing_once() -> None:
    room = Room()
    room.tell_all(log_range(1, 4, *TALK), but=3)
    room.tell(3, log_range(1, 4, TALK[0], *TALK[2:]))
    assert room.verdict() == {"missing": 1}


def test_an_entry_that_never_came_is_missing_from_its_range_on() -> None:
    room = Room()
    room.tell_all(log_range(1, 4, *TALK), but=3)
    room.tell(3, log_range(1, 2, *TALK[:2]))
    assert room.verdict() == {"missing": 2}


def test_who_left_need_not_have_what_came_later() -> None:
    room = Room()
    room.tell_all(log_range(1, 2, *TALK[:2]))
    room.crowd.end(3)
    room.tell_all(log_range(3, 4, *TALK[2:]), but=3)
    assert room.verdict() == {}


def test_who_left_should_have_had_what_its_cursor_passed() -> None:
    room = Room()
    room.tell_all(log_range(1, 4, *TALK), but=3)
    room.tell(3, log_range(1, 4, *TALK[:1], *TALK[2:]))
    room.crowd.end(3)
    assert room.verdict() == {"missing": 1}


def test_who_came_later_need_not_have_what_was_before() -> None:
    room = Room()
    people = room.crowd.people
    people.log_start[3] = people.cursor[3] = 2
    room.tell_all(log_range(1, 4, *TALK), but=3)
    room.tell(3, log_range(3, 4, *TALK[2:]))
    assert room.verdict() == {}


@pytest.mark.parametrize("gone", [False, True], ids=["a member", "somebody who left"])
def test_what_the_relay_accepted_and_nobody_heard_is_missing_for_all(gone: bool) -> None:
    room = Room()
    room.tell_all(log_range(1, 4, *TALK[:2], TALK[3]))  # the second message of 0 is not there
    room.crowd.people.message_acked[0] = 2
    if gone:
        room.crowd.end(0)
    assert room.verdict() == {"missing": 3 if gone else 4}


def test_a_first_message_that_nobody_heard_is_missing_for_those_who_joined_before_it_was_said() -> None:
    room = Room()
    people = room.crowd.people
    people.log_start[:4] = people.cursor[:4] = [0, 2, 4, 6]
    people.joined_at[:4] = [0.0, 0.1, 0.2, 0.9]
    people.said[0], people.said_at[0, 1], people.message_acked[0] = 1, 0.5, 1
    assert room.verdict() == {"missing": 3}


def test_what_the_relay_has_not_accepted_is_not_missing() -> None:
    room = Room()
    room.tell_all(log_range(1, 2, *TALK[:2]))
    room.crowd.people.message_acked[:4] = [1, 1, 0, 0]
    assert room.verdict() == {}


# --- doubled, out of order


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 1, 2)], ids=["last", "first"])
def test_a_message_heard_again_in_place_of_another_is_doubled(order: tuple[int, ...]) -> None:
    room = Room()
    for row in order:
        again = [*TALK[:3], message(4, 0, 1)] if row == 3 else TALK
        room.tell(row, log_range(1, 4, *again))
    room.crowd.people.message_acked[:4] = [2, 1, 1, 0]
    verdict = room.verdict()
    assert verdict["duplicated"] == 1 and verdict["missing"] >= 1
    # who is asked first is believed: then the three others are out of step with it
    assert verdict.get("out_of_order", 0) == (0 if order[0] == 0 else 3)


def test_a_message_that_stands_at_two_indexes_for_all_is_doubled_once() -> None:
    room = Room()
    room.tell_all(log_range(1, 5, *TALK, message(5, 1, 1)))
    assert room.verdict() == {"duplicated": 1}


def test_a_message_is_doubled_however_late() -> None:
    room = Room()
    num = 3 * REMEMBERED
    room.crowd.people.said[1] = num
    talk = [message(number, 1, number) for number in range(1, num + 1)]
    for row in range(4):
        room.tell_long(row, [*talk, message(num + 1, 1, 2)])
    assert room.verdict() == {"duplicated": 1}


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 1, 2)], ids=["last", "first"])
def test_two_messages_exchanged_for_one_are_out_of_order_and_not_doubled(order: tuple[int, ...]) -> None:
    room = Room()
    for row in order:
        swapped = [TALK[0], message(2, 2, 1), TALK[2], message(4, 1, 1)] if row == 3 else TALK
        room.tell(row, log_range(1, 4, *swapped))
    verdict = room.verdict()
    assert verdict.keys() <= {"out_of_order", "missing"} and verdict["out_of_order"] >= 2


def test_two_messages_of_one_sender_in_the_wrong_order_for_all_are_out_of_order() -> None:
    room = Room()
    room.tell_all(log_range(1, 2, message(1, 0, 2), message(2, 0, 1)))
    assert room.verdict() == {"out_of_order": 1}


def test_rooms_have_logs_of_their_own() -> None:
    room = Room(rooms=2, players=2)
    for row in range(4):
        first = 2 * (row // 2)
        payload = content(Use.MESSAGE, first + 1, 1)
        room.tell(row, log_range(1, 1, entry(1, 1, payload)))
    assert room.verdict() == {} and room.ledger.messages["received"] == 4


def test_a_room_that_was_empty_in_between_has_another_log() -> None:
    room = Room(players=2)
    room.tell_all(log_range(1, 1, message(1, 0, 1)))
    room.tell(0, log_range(2, 2, message(2, 1, 1)))
    for row in (0, 1):
        room.crowd.end(row)
    for player in range(2):
        row = room.crowd.adopt(made_up_welcome(plan_of(players=2), player, 10)._replace(session=player + 3), 0, 0.0)
        room.crowd.people.said[row] = LAST
        room.crowd.people.member[row, :2] = 1
    assert room.crowd.people.log[:4].tolist() == [0, 0, 1, 1]
    room.seq += [0, 0]
    for row in (2, 3):
        room.tell(row, log_range(1, 1, entry(1, 1, content(Use.MESSAGE, 3, 1))))
    assert room.verdict() == {} and room.ledger.messages["received"] == 5


def test_a_long_log_needs_no_more_than_its_newest_indexes_to_compare() -> None:
    room = Room()
    num = 2 * RING
    room.crowd.people.said[0] = num
    talk = [message(number, 0, number) for number in range(1, num + 1)]
    for row in range(3):
        room.tell_long(row, talk)
    room.tell_long(3, talk[:-1])
    assert room.verdict() == {"missing": 1}


# --- misdelivered, wrong


def test_what_was_not_meant_for_its_receiver_is_misdelivered() -> None:
    room = Room(Aim.OTHERS)
    room.tell_all(log_range(1, 1, message(1, 0, 1)))
    assert room.verdict() == {"misdelivered": 1} and room.ledger.messages["received"] == 3


@pytest.mark.parametrize(
    "bad",
    [
        entry(1, 0, b"x" * 24),  # nobody's
        entry(1, 0, content(Use.MESSAGE, 0, 1)[:-1]),  # too short
        entry(1, 1, content(Use.MESSAGE, 0, 1)),  # under another's name
        message(1, 0, LAST + 1),  # not said yet
        message(1, 0, 0),
        entry(1, 0, content(Use.SIGNAL, 0, 1)),  # a signal's bytes
        message(1, 0, 1, kind=2),
        message(1, 0, 1, channel=1),
    ],
)
def test_what_nobody_said_so_is_wrong_and_does_not_count_as_received(bad: Any) -> None:
    room = Room()
    room.tell(0, log_range(1, 1, bad))
    assert room.verdict() == {"wrong": 1} and room.ledger.messages["received"] == 0


def test_what_was_said_in_another_room_is_wrong() -> None:
    room = Room(rooms=2, players=2)
    room.tell(0, log_range(1, 1, entry(1, 0, content(Use.MESSAGE, 2, 1))))
    assert room.verdict() == {"wrong": 1}


# --- signals


def signals_of(room: Room) -> dict[str, int]:
    return {name: count for name, count in room.ledger.signals.items() if count}


def test_signals_are_caught_once_each_in_any_order() -> None:
    room = Room()
    for counter in (3, 1, 2):
        room.tell(0, signal(1, counter))
    assert signals_of(room) == {"received": 3}


@pytest.mark.parametrize("in_one", [True, False])
def test_a_signal_caught_twice_is_doubled(in_one: bool) -> None:
    room = Room()
    if in_one:
        room.tell(0, signal(1, 1), signal(1, 1))
    else:
        room.tell(0, signal(1, 1))
        room.tell(0, signal(1, 2))
        room.tell(0, signal(1, 1))
    assert room.ledger.signals["duplicated"] == 1


def test_signals_of_two_lives_on_one_seat_are_two_signals() -> None:
    room = Room()
    room.tell(0, signal(1, 1))
    room.crowd.people.player_id[2] = 1  # another came to the seat
    room.tell(0, signal(2, 1, sender=1))
    assert signals_of(room) == {"received": 2}


def test_a_signal_for_others_is_misdelivered() -> None:
    room = Room(Aim.OTHERS)
    room.tell(0, signal(0, 1))
    assert signals_of(room) == {"misdelivered": 1}


@pytest.mark.parametrize("header", [{"kind": 2}, {"channel": 3}, {"sender": 2}])
def test_a_signal_that_was_not_sent_so_is_wrong(header: dict[str, int]) -> None:
    room = Room()
    room.tell(0, signal(1, 1, **header))
    assert signals_of(room) == {"wrong": 1}


def test_a_signal_that_was_not_sent_yet_is_wrong() -> None:
    room = Room()
    room.tell(0, signal(1, LAST + 1))
    assert signals_of(room) == {"wrong": 1}


def test_a_signal_that_a_newer_one_replaced_is_nobodys_fault() -> None:
    room = Room()
    room.tell(0, signal(1, 5))
    room.tell(0, signal(1, 4, flags=int(SignalFlag.NEWEST_FIRST)))
    assert signals_of(room) == {"received": 1}


# --- latencies


def test_latency_is_from_saying_to_hearing_for_others_only() -> None:
    room = Room()
    room.ledger.is_timing = True
    people = room.crowd.people
    people.said_at[0, 1] = people.signalled_at[0, 1] = 2.0
    for row, after_s in ((0, 0.001), (1, 0.010), (2, 0.030)):
        room.tell(row, log_range(1, 1, message(1, 0, 1)), signal(0, 1), at=2.0 + after_s)
    for histogram in (room.ledger.message_latency, room.ledger.signal_latency):
        assert len(histogram) == 2 and histogram.summary()["max"] == pytest.approx(30.0)


def test_what_is_too_long_ago_to_remember_has_no_latency() -> None:
    room = Room()
    room.ledger.is_timing = True
    people = room.crowd.people
    people.said[0] = people.signalled[0] = REMEMBERED + 5
    room.tell(1, log_range(1, 1, message(1, 0, 5)), signal(0, 5))
    assert room.ledger.messages["received"] == room.ledger.signals["received"] == 1
    assert len(room.ledger.message_latency) == len(room.ledger.signal_latency) == 0
