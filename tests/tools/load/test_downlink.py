"""What a crowd takes and what it drops. That it does as the client does, `test_crowd.py` proves over a network."""

from typing import Any

import numpy as np
import pytest

from protocol import codec
from protocol.client.signals import HOLD_S
from protocol.constants import ACK_WITHIN_DATAGRAMS, ACK_WITHIN_S, WINDOW, Kind, SignalFlag
from tests.tools.load.made import (
    crowd_of,
    deliver,
    left,
    log_range,
    message,
    page,
    signal,
    state,
    update,
)
from tools.load.claims import keys_of
from tools.load.crowd import Crowd
from tools.load.downlink import Caught, Membership, Seen
from tools.load.log import Heard


class Notes:
    """A witness who writes down."""

    def __init__(self) -> None:
        self.news: list[tuple[int, int, int]] = []  # receiver, entity id, counter
        self.older: list[int] = []
        self.entries: list[tuple[int, int, float]] = []  # receiver, index, arrived
        self.signals: list[tuple[int, int]] = []  # receiver, counter
        self.gaps: list[tuple[int, int, int]] = []

    def on_states(self, seen: Seen) -> None:
        bodies = seen.bodies
        receiver = seen.row[seen.news]
        self.news += zip(
            receiver.tolist(), bodies.entity_id[seen.state].tolist(), bodies.counter[seen.state].tolist(), strict=True
        )
        self.older += bodies.counter[seen.older].tolist()

    def on_entries(self, heard: Heard, arrived: Any) -> None:
        self.entries += zip(heard.row.tolist(), heard.index.tolist(), arrived.tolist(), strict=True)

    def on_signals(self, caught: Caught) -> None:
        self.signals += zip(caught.row.tolist(), caught.counter.tolist(), strict=True)

    def on_gap(self, row: Any, tick_before: Any, tick: Any) -> None:
        self.gaps += zip(row.tolist(), tick_before.tolist(), tick.tolist(), strict=True)


def made() -> tuple[Crowd, Notes]:
    return crowd_of(witness=Notes())


def dropped(crowd: Crowd) -> dict[str, int]:
    return {name: count for name, count in crowd.downlink.dropped.items() if count}


# --- datagrams


def test_datagrams_that_are_no_update_of_ours_are_counted_and_change_nothing() -> None:
    crowd, notes = made()
    whole = update(0, 1, 5, page([(0, state(0, 1))]))
    deliver(crowd, whole[:31], whole + bytes(1201 - len(whole)), update(77, 1, 5))
    assert dropped(crowd) == {"bad_section": 2, "unknown_session": 1}
    assert notes.news == [] and not crowd.people.recv_count.any()


def test_each_datagram_counts_once_and_old_ones_not_at_all() -> None:
    crowd, _ = made()
    deliver(crowd, update(0, 100, 5), update(0, 100, 5), update(1, 1, 5))
    deliver(crowd, update(0, 99, 5), update(0, 99, 5), update(0, 100 - WINDOW, 5), update(0, 101 - WINDOW, 5))
    assert dropped(crowd) == {"duplicate": 2, "too_old": 1}
    assert crowd.people.recv_count[:2].tolist() == [3, 1] and crowd.people.recv_newest[:2].tolist() == [100, 1]


def test_numbers_wrap() -> None:
    crowd, notes = made()
    for seq in range(1, 3 * 65536, 30_000):
        deliver(crowd, update(0, seq, 5))
    deliver(crowd, update(0, 180_003, 5))
    assert crowd.people.recv_newest[0] == 180_003
    assert not dropped(crowd)
    assert notes.gaps


def test_acks_of_what_was_never_sent_drop_the_datagram() -> None:
    crowd, notes = made()
    states = page([(0, state(0, 1))])
    deliver(crowd, update(0, 1, 5, states, flags=0, ack=1), update(1, 1, 5, states, message_ack=1))
    assert dropped(crowd) == {"bad_ack": 2} and notes.news == []


def test_one_bad_section_spoils_its_datagram_and_no_other() -> None:
    crowd, notes = made()
    good, bad = page([(0, state(0, 1))]), page([(7, state(0, 1))], number=9)
    deliver(crowd, update(0, 1, 5, good, bad), update(1, 1, 5, good), update(2, 1, 5, bad, signal(1, 1)))
    assert dropped(crowd) == {"bad_section": 2}
    assert [row for row, _, _ in notes.news] == [1] and notes.signals == []
    assert crowd.people.recv_count[:3].tolist() == [0, 1, 0] and crowd.people.owed[:3].tolist() == [0, 1, 0]


def test_a_gap_is_reported_between_the_ticks_around_it() -> None:
    crowd, notes = made()
    deliver(crowd, update(0, 1, 5), update(0, 2, 6), update(1, 5, 7))
    deliver(crowd, update(0, 4, 9), update(0, 3, 8), update(0, 5, 10))
    assert notes.gaps == [(0, 6, 9)]
    assert crowd.people.first_tick[:3].tolist() == [5, 7, 0] and crowd.downlink.newest_tick == 10


def test_acks_fall_due_in_time_and_at_once_when_many_wait() -> None:
    crowd, _ = made()
    for seq in range(1, ACK_WITHIN_DATAGRAMS):
        deliver(crowd, update(0, seq, 5, signal(1, seq)), update(1, seq, 5), at=seq / 1000)
    assert crowd.people.ack_due_at[0] == pytest.approx(0.001 + ACK_WITHIN_S)
    assert crowd.people.ack_due_at[1] == np.inf, "a bare datagram is owed no ack"
    deliver(crowd, update(0, ACK_WITHIN_DATAGRAMS, 5, signal(1, 99)), at=0.03)
    assert crowd.people.ack_due_at[0] == pytest.approx(0.03)


def test_loss_up_is_what_acks_pass_over() -> None:
    crowd, _ = made()
    rows = np.array([0])
    for _ in range(200):
        crowd.publish(rows, 0.0)
        crowd.build_tick(rows, 0.0)
    # all but 10 and 11 have arrived, and 9 comes late
    for seq, (ack, bits, wanted) in enumerate(
        [
            (12, 0x7F8, (12, 3)),
            (12, 0x7FC, (12, 2)),
            (40, 0x7FFFFFF, (40, 2)),
            (44, 0xFFFFFFFF, (44, 2)),
            (44, 0xFFFFFFFF, (44, 2)),
            # nothing was ever told of 45 ... 57: not lost, unknown
            (90, 0xFFFFFFFF, (77, 2)),
            (199, 0xFFFFFFFF, (110, 2)),
        ],
        start=1,
    ):
        deliver(crowd, update(0, seq, 5, flags=0, ack=ack, ack_bits=bits))
        assert crowd.people.count_lost() == wanted, seq


def test_loss_up_is_known_however_long_a_round_trip_is() -> None:
    # With more than 31 datagrams under way nothing was ever counted as lost.
    crowd, _ = made()
    rows = np.array([0])
    for number in range(1, 401):
        crowd.publish(rows, 0.0)
        crowd.build_tick(rows, 0.0)
        ack = number - 100
        if ack > 0 and ack % 10:
            bits = sum(1 << i for i in range(32) if ack - 1 - i > 0 and (ack - 1 - i) % 10)
            deliver(crowd, update(0, number, 5, flags=0, ack=ack, ack_bits=bits))
    assert crowd.people.count_lost() == (299, 29)


# --- pages


def test_a_state_is_news_once() -> None:
    crowd, notes = made()
    deliver(crowd, update(0, 1, 5, page([(0, state(0, 1)), (1, state(1, 1))])))
    deliver(crowd, update(0, 2, 6, page([(0, state(0, 1)), (1, state(1, 2))], since=5)))
    assert notes.news == [(0, 0, 1), (0, 1, 1), (0, 1, 2)]


def test_a_whole_page_that_comes_again_is_news_only_where_it_differs() -> None:
    # A relay sends whole pages until one is acknowledged: each state was counted anew, older each time.
    crowd, notes = made()
    deliver(crowd, update(0, 1, 5, page([(0, state(0, 1)), (1, state(1, 1))])))
    deliver(crowd, update(0, 2, 6, page([(0, state(0, 1)), (1, state(1, 2))])))
    assert notes.news == [(0, 0, 1), (0, 1, 1), (0, 1, 2)]
    deliver(crowd, update(0, 3, 7, page([(0, state(0, 1)), (1, state(1, 1))])))
    assert notes.older == [1]


def test_a_page_is_applied_once_and_late_ones_not_at_all() -> None:
    crowd, notes = made()
    deliver(crowd, update(0, 2, 6, page([(0, state(0, 2))])))
    deliver(crowd, update(0, 1, 5, page([(0, state(0, 1))])), update(0, 3, 6, page([(0, state(0, 1))])))
    assert notes.news == [(0, 0, 2)] and notes.older == []
    assert crowd.people.recv_count[0] == 3


def test_a_page_upon_what_was_not_applied_is_dropped_unacknowledged() -> None:
    crowd, notes = made()
    deliver(crowd, update(0, 1, 5, page([(0, state(0, 1))], since=4)))
    assert dropped(crowd) == {"bad_section": 1}
    assert crowd.people.recv_count[0] == 0 and notes.news == []


def test_what_is_removed_or_not_in_a_whole_page_is_gone() -> None:
    crowd, _ = made()
    states = [(player_id, state(player_id, 1)) for player_id in range(4)]
    deliver(crowd, update(0, 1, 5, page(states)))
    deliver(crowd, update(0, 2, 6, page([], since=5, removed=[1])))
    assert np.flatnonzero(crowd.people.known[0]).tolist() == [0, 2, 3]
    deliver(crowd, update(0, 3, 7, page([(2, state(2, 4))], since=6, removed=[2])))
    assert crowd.people.known[0, 2] == keys_of(np.array([2]), np.array([4]))[0]
    deliver(crowd, update(0, 4, 8, page(states[3:])))
    assert np.flatnonzero(crowd.people.known[0]).tolist() == [3]


def test_a_state_that_proves_nothing_is_known_as_nothing() -> None:
    crowd, _ = made()
    deliver(crowd, update(0, 1, 5, page([(0, b"?" * 24)])))
    assert not crowd.people.known[0].any() and not dropped(crowd)


# --- the log


def test_entries_are_handed_over_when_the_last_datagram_they_need_arrives() -> None:
    crowd, notes = made()
    deliver(crowd, update(0, 2, 6, log_range(2, 2, message(2, 1, 2), after=1)), at=1.0)
    assert notes.entries == []
    deliver(crowd, update(0, 1, 5, log_range(1, 1, message(1, 1, 1))), at=1.5)
    assert notes.entries == [(0, 1, 1.5), (0, 2, 1.5)]


def test_what_comes_again_is_counted_as_sent_twice() -> None:
    crowd, notes = made()
    for seq in (1, 2):
        deliver(crowd, update(0, seq, 5, log_range(1, 1, message(1, 1, 1))))
    assert len(notes.entries) == 1 and crowd.downlink.entries_repeated == 1


# --- signals


def test_a_signal_waits_for_the_log() -> None:
    crowd, notes = made()
    deliver(crowd, update(0, 1, 5, signal(1, 1, flags=int(SignalFlag.AFTER_LOG), position=1)))
    assert notes.signals == []
    deliver(crowd, update(0, 2, 6, log_range(1, 1, message(1, 1, 1))))
    assert notes.signals == [(0, 1)]


def test_a_signal_waits_for_its_sender_to_be_known() -> None:
    crowd, notes = made()
    crowd.people.member[0, 1] = Membership.NEVER
    deliver(crowd, update(0, 1, 5, signal(1, 1)))
    assert notes.signals == []
    crowd.people.member[0, 1] = Membership.MEMBER
    crowd.downlink.expire(1.0)
    assert notes.signals == [(0, 1)]


def test_a_signal_that_waited_too_long_is_dropped() -> None:
    crowd, notes = made()
    deliver(crowd, update(0, 1, 5, signal(1, 1, flags=int(SignalFlag.AFTER_LOG), position=1)), at=1.0)
    crowd.downlink.expire(1.0 + HOLD_S - 0.01)
    assert not dropped(crowd)
    crowd.downlink.expire(1.0 + HOLD_S)
    assert dropped(crowd) == {"late_signal": 1} and notes.signals == []


def test_signals_of_who_left_are_dropped() -> None:
    crowd, notes = made()
    deliver(crowd, update(0, 1, 5, signal(1, 1, flags=int(SignalFlag.AFTER_LOG), position=3)))
    deliver(crowd, update(0, 2, 6, log_range(1, 1, left(1, 1))))
    deliver(crowd, update(0, 3, 7, signal(1, 2)))
    assert notes.signals == [] and dropped(crowd) == {"late_signal": 2}


def test_of_newest_first_signals_none_comes_behind_a_newer_one() -> None:
    crowd, notes = made()
    first = int(SignalFlag.NEWEST_FIRST)
    deliver(crowd, update(0, 1, 5, signal(1, 4), signal(1, 3, flags=first), signal(1, 2), signal(1, 5, flags=first)))
    assert notes.signals == [(0, 4), (0, 2), (0, 5)]
    assert dropped(crowd) == {"superseded_signal": 1}


def test_what_waits_for_a_life_that_ended_is_forgotten() -> None:
    crowd, notes = made()
    deliver(crowd, update(0, 1, 5, signal(1, 1, flags=int(SignalFlag.AFTER_LOG), position=1)))
    crowd.end(0)
    crowd.downlink.expire(99.0)
    assert notes.signals == [] and not dropped(crowd)


def test_a_round_takes_datagrams_of_one_player_one_after_another() -> None:
    crowd, notes = made()
    deliver(
        crowd,
        update(0, 1, 5, page([(0, state(0, 1))])),
        update(1, 1, 5, page([(0, state(0, 1))])),
        update(0, 2, 6, page([(0, state(0, 2))], since=5)),
        update(0, 3, 7, page([(0, state(0, 3))], since=6)),
    )
    assert sorted(notes.news) == [(0, 0, 1), (0, 0, 2), (0, 0, 3), (1, 0, 1)]
    assert not dropped(crowd)


def test_what_the_hand_made_updates_say_is_what_the_protocol_reads() -> None:
    data = update(2, 7, 9, page([(0, state(0, 1))]), log_range(1, 1, message(1, 1, 1)), signal(1, 1))
    value = codec.decode(data)
    assert value.header.kind == Kind.UPDATE and len(value.sections) == 3  # type: ignore[union-attr]
