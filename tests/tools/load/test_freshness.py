"""Ticks made by hand: what counts as delivered, what as true, and how old it was."""

from typing import Any

import pytest

from tests.tools.load.made import TICK_RATE, crowd_of, deliver, page, plan_of, state, update
from tools.load.freshness import LONGEST_GAP_TICKS, STEADY_STATES, STEADY_TICKS, Freshness
from tools.load.plan import Plan

FIRST_TICK = 5
"""Everybody is there from here on; ticks after it count."""


class Room:
    """A crowd whose players publish once a tick, and a relay of our own making."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan or plan_of()
        self.crowd, checks = crowd_of(self.plan)
        self.freshness: Freshness = checks.freshness
        self.freshness.measured_from = FIRST_TICK
        self.seq = dict.fromkeys(range(self.plan.num_players), 0)
        self.tick(FIRST_TICK)

    def publish(self, *rows: int) -> None:
        for row in rows:
            self.crowd.people.published[row] += 1
            self.crowd.people.published_at[row, self.crowd.people.published[row] % 128] = self.now

    @property
    def now(self) -> float:
        return getattr(self, "_now", 0.0)

    def page_of(self, room: int, **options: Any) -> Any:
        """The room's page: everybody's newest."""
        people = self.crowd.people
        first = room * self.plan.players
        rows = range(first, first + self.plan.players)
        return page([(int(people.player_id[row]), state(row, int(people.published[row]))) for row in rows], **options)

    def tick(self, tick: int, *, lost: Any = (), silent: Any = (), movers: Any = None, at: float | None = None) -> None:
        """Let some publish, and show it to all but some: their datagram got lost, or there was none."""
        self._now = tick / TICK_RATE
        rows = range(self.plan.num_players)
        self.publish(*(rows if movers is None else movers))
        for row in rows:
            if row in silent:
                continue
            self.seq[row] += 1
            if row not in lost:
                data = update(row, self.seq[row], tick, self.page_of(row // self.plan.players))
                deliver(self.crowd, data, at=self.now if at is None else at)

    def settle(self) -> tuple[int, int]:
        self.freshness.settle_all(self.crowd.downlink.newest_tick)
        return self.freshness.pairs, self.freshness.delivered


def test_all_that_is_shown_to_all_counts_as_delivered() -> None:
    room = Room()
    for tick in range(6, 16):
        room.tick(tick)
    assert room.settle() == (40, 40)
    assert room.freshness.delivered_share == 1.0 and room.freshness.changes == 40
    assert room.freshness.ticks_left_out == room.freshness.num_wrong == 0


def test_before_anything_changed_there_is_no_share() -> None:
    assert Room().freshness.delivered_share is None


def test_a_tick_that_one_receiver_missed_counts_against_it_alone() -> None:
    room = Room()
    room.tick(6)
    room.tick(7, lost=[2])
    room.tick(8)
    assert room.settle() == (12, 11)


def test_a_page_that_shows_less_than_others_saw_is_not_all_of_the_tick() -> None:
    room = Room()
    room.publish(0, 1)
    both = [(row, state(row, int(room.crowd.people.published[row]))) for row in (0, 1)]
    for row in range(4):
        deliver(room.crowd, update(row, 2, 6, page(both[:1] if row == 3 else both, since=5)))
    assert room.settle() == (4, 3)


def test_a_tick_that_everybody_lost_counts_against_the_network() -> None:
    room = Room()
    room.tick(6)
    room.tick(7, lost=range(4))
    room.tick(8)
    assert room.settle() == (12, 8)
    assert room.freshness.ticks_left_out == 0


def test_a_datagram_lost_in_a_tick_without_news_counts_for_nothing() -> None:
    room = Room()
    room.tick(6)
    room.seq[1] += 1  # it had something else in it
    room.tick(8)
    assert room.settle() == (8, 8)


def test_a_tick_without_news_is_not_left_out() -> None:
    room = Room()
    for tick in (6, 9, 12, 15):
        room.freshness.note_sent(tick / TICK_RATE, int(room.crowd.people.published.sum()))
        room.tick(tick)
    assert room.settle() == (16, 16)
    assert room.freshness.ticks_left_out == 0


def send_steadily(room: Room, first: int, end: int) -> None:
    """Note that enough was sent in time for each of these ticks."""
    for tick in range(first, end):
        sent = room.freshness._num_sent + STEADY_STATES
        room.freshness.note_sent((tick - 0.5) / TICK_RATE, sent)


def test_ticks_that_the_relay_left_out_count_against_it() -> None:
    room = Room()
    for tick in range(6, 21):
        send_steadily(room, tick, tick + 1)
        if tick in (15, 16, 17):
            continue  # nobody's numbers have a gap: nothing was sent
        room.tick(tick)
    assert room.settle() == (15 * 4, 12 * 4)
    assert room.freshness.ticks_left_out == 3


def test_a_pause_of_the_senders_is_not_the_relays() -> None:
    room = Room()
    send_steadily(room, 6, 10)
    for tick in range(6, 10):
        room.tick(tick)
    room.freshness.note_sent(1.25, room.freshness._num_sent + 20 * STEADY_STATES)  # all at once, after three ticks
    room.tick(13)
    room.settle()
    assert room.freshness.ticks_left_out == 0
    assert STEADY_TICKS == 3


def test_a_late_page_counts_for_its_own_tick() -> None:
    room = Room()
    room.tick(6)
    room.publish(0)
    six = update(3, 3, 7, page([(0, state(0, int(room.crowd.people.published[0])))], since=6))
    for row in range(3):
        deliver(room.crowd, update(row, 3, 7, page([(0, state(0, int(room.crowd.people.published[0])))], since=6)))
    deliver(room.crowd, update(3, 4, 8))
    deliver(room.crowd, six)
    assert room.settle() == (8, 8)


def test_what_comes_after_its_tick_was_judged_is_dropped() -> None:
    room = Room()
    for tick in range(6, 40):
        room.tick(tick, lost=[3] if tick == 10 else [])
    room.freshness.settle(39)
    late = room.freshness.pairs
    deliver(room.crowd, update(3, 6, 10, room.page_of(0)))
    assert room.freshness.pairs == late
    assert min(room.freshness._shown) > 10


def test_states_that_were_replaced_before_the_tick_are_no_loss() -> None:
    room = Room()
    for tick in range(6, 10):
        room.publish(0, 1, 2, 3)  # never shown: the next is newer
        room.tick(tick)
    assert room.settle() == (16, 16)
    assert room.freshness.changes == 16 and room.crowd.people.published.sum() == 4 + 32


def test_rooms_are_judged_apart() -> None:
    room = Room(plan_of(rooms=2, players=2))
    room.tick(6, lost=[0])
    room.tick(7, movers=[2, 3], silent=[0, 1])
    assert room.settle() == (6, 5)


def test_who_was_not_there_before_the_tick_or_is_gone_after_it_does_not_count() -> None:
    room = Room()
    room.tick(6)
    room.crowd.end(3)
    room.tick(7, silent=[3])
    assert room.settle() == (7, 7)


def test_only_ticks_of_the_measured_span_count() -> None:
    room = Room()
    room.freshness.measured_from, room.freshness.measured_to = 6, 8
    for tick in range(6, 12):
        room.tick(tick, lost=[0])
    assert room.settle() == (8, 6)


@pytest.mark.parametrize(
    ("entity_id", "content"),
    [
        (1, b"x" * 24),  # nobody's
        (1, state(0, 1)),  # another player's
        (1, state(1, 50)),  # not yet published
        (1, state(1, 0)),
        (1, state(77, 1)),  # of a life that there never was
    ],
)
def test_a_state_that_its_owner_did_not_publish_is_wrong(entity_id: int, content: bytes) -> None:
    room = Room()
    deliver(room.crowd, update(0, 2, 6, page([(entity_id, content)], since=5)))
    assert room.freshness.num_wrong == 1


def test_a_state_of_another_room_is_wrong() -> None:
    room = Room(plan_of(rooms=2, players=2))
    deliver(room.crowd, update(0, 2, 6, page([(1, state(3, 1))], since=5)))
    assert room.freshness.num_wrong == 1


def test_a_state_older_than_what_was_there_is_wrong_and_the_same_again_is_not() -> None:
    room = Room()
    room.tick(6)
    deliver(room.crowd, update(0, 3, 7, page([(1, state(1, 2))], since=6)))
    assert room.freshness.num_wrong == 0
    deliver(room.crowd, update(0, 4, 8, page([(1, state(1, 1))], since=6)))
    assert room.freshness.num_wrong == 1


def age_ms(room: Room) -> Any:
    return room.freshness.age.summary()["max"]


def test_age_is_from_publishing_to_arrival_for_others_only() -> None:
    room = Room()
    room.freshness.is_timing = True
    room.crowd.people.joined_at[:] = -1.0
    room.tick(6, movers=[0], at=0.6 + 0.025)
    assert len(room.freshness.age) == 3
    assert age_ms(room) == pytest.approx(25.0)


def test_what_was_there_before_its_receiver_has_no_age() -> None:
    room = Room()
    room.freshness.is_timing = True
    room.crowd.people.joined_at[:] = 100.0
    room.tick(6)
    assert len(room.freshness.age) == 0


def test_a_state_too_old_to_remember_has_no_age() -> None:
    room = Room()
    room.freshness.is_timing = True
    people = room.crowd.people
    people.published[0] += 200
    people.published_at[0, :] = 5.0
    deliver(room.crowd, update(1, 2, 6, page([(0, state(0, 2))], since=5)), at=6.0)
    assert len(room.freshness.age) == 0


def test_a_clock_that_jumps_is_not_counted_through(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room()
    deliver(room.crowd, update(0, 9, 2**32 - 1))
    assert sum(map(len, room.freshness._gap_rooms.values())) <= LONGEST_GAP_TICKS
    judged: list[int] = []
    monkeypatch.setattr(Freshness, "_judge", lambda self, tick: judged.append(tick))
    room.freshness.settle(room.crowd.downlink.newest_tick)
    assert len(judged) <= LONGEST_GAP_TICKS + 1
