"""Links: what becomes of datagrams has the statistics that the conditions promise, and is what a plain loop says."""

from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.tools.lag.reference_link import ReferenceLinks, random_conditions
from tools.lag.conditions import Conditions
from tools.lag.link import HEADER_BYTES, MAX_QUEUE_S, DelayQueue, Links, rounds_of_distinct_lanes

SEED = 20_240_917
TICK = 1 / 30


def lone_link(seed: int = SEED, **values: Any) -> Links:
    """One lane."""
    return Links([Conditions(**values)], np.random.default_rng(seed))


def arrivals(links: Links, num: int, gap_s: float = TICK, size_bytes: int = 100) -> list[tuple[int, float]]:
    """Send numbered datagrams on lane 0. Returns: (number, time) in the order of arrival."""
    found: list[tuple[int, float]] = []
    for number in range(num):
        which, due = links.carry(np.array([0]), np.array([size_bytes]), number * gap_s)
        found += [(number + int(row), at) for row, at in zip(which.tolist(), due.tolist())]
    return sorted(found, key=lambda arrival: arrival[1])


def many(links: Links, num_calls: int, now: float = 0.0) -> np.ndarray[Any, Any]:
    """Send one datagram on each lane in every call. Returns: copies that arrived, int64 (calls, lanes)."""
    lane = np.arange(links.num_lanes)
    rows = []
    for _ in range(num_calls):
        which, _ = links.carry(lane, np.full(len(lane), 100), now)
        rows.append(np.bincount(which, minlength=len(lane)))
        now += TICK
    return np.array(rows)


# --- the reference


@pytest.mark.parametrize("seed", range(40))
def test_fates_are_those_of_a_plain_loop_with_the_same_random_numbers(seed: int) -> None:
    rng = Random(seed)
    conditions = [random_conditions(rng) for _ in range(rng.choice((1, 1, 2, 5)))]
    # One lane in which all may happen, so that no stage is left out on account of all lanes.
    conditions.append(Conditions(jitter_ms=1, loss_percent=1, duplicate_percent=1, reorder_percent=1))
    links = Links(conditions, np.random.default_rng(seed))
    reference = ReferenceLinks(conditions, np.random.default_rng(seed))
    now = 1000.0
    for _ in range(100):
        num = rng.choice((0, 1, 1, 3, 8))
        lane = [rng.randrange(len(conditions)) for _ in range(num)]
        size_bytes = [rng.randrange(1200) for _ in range(num)]
        which, due = links.carry(np.array(lane, np.int64), np.array(size_bytes, np.int64), now)
        assert which.dtype == np.int64 and due.dtype == np.float64
        wanted = [(row, at) for row in range(num) for at in reference.carry(lane[row], size_bytes[row], now)]
        assert which.tolist() == [row for row, _ in wanted]
        assert due.tolist() == pytest.approx([at for _, at in wanted], abs=1e-9)
        now += rng.choice((0.0, 0.0005, TICK, rng.uniform(0.0, 1.0)))
    assert reference.counts == {name: links.counters[name] for name in reference.counts}
    assert sum(reference.counts.values()) > 0


def test_the_same_seed_gives_the_same_fates_and_another_gives_others() -> None:
    everything = dict(latency_ms=40, jitter_ms=10, loss_percent=10, burst=3, duplicate_percent=5, reorder_percent=5)
    assert arrivals(lone_link(1, **everything), 300) == arrivals(lone_link(1, **everything), 300)
    assert arrivals(lone_link(1, **everything), 300) != arrivals(lone_link(2, **everything), 300)


# --- each stage


def test_a_perfect_link_delivers_at_once_and_counts_nothing() -> None:
    links = lone_link()
    which, due = links.carry(np.array([0, 0, 0]), np.array([1, 2, 3]), 5.0)
    assert which.tolist() == [0, 1, 2] and due.tolist() == [5.0] * 3
    assert links.counters.total() == 0


def test_nothing_sent_is_nothing_arrived() -> None:
    for values in ({}, dict(loss_percent=5, reorder_percent=5, duplicate_percent=5)):
        which, due = lone_link(**values).carry(np.zeros(0, np.int64), np.zeros(0, np.int64), 0.0)
        assert which.tolist() == [] and due.tolist() == []


def test_latency_alone_moves_everything_by_itself() -> None:
    found = arrivals(lone_link(latency_ms=40), 5)
    assert [number for number, _ in found] == list(range(5))
    assert [at for _, at in found] == pytest.approx([number * TICK + 0.040 for number in range(5)])


def test_a_lane_that_there_is_not_raises() -> None:
    for latency_ms in (0.0, 1.0):
        with pytest.raises(IndexError):
            lone_link(latency_ms=latency_ms).carry(np.array([1]), np.array([1]), 0.0)


@pytest.mark.parametrize("burst", [1.0, 5.0])
@pytest.mark.parametrize("loss_percent", [2.0, 20.0, 60.0])
def test_mean_loss_and_mean_length_of_bursts_are_as_asked(loss_percent: float, burst: float) -> None:
    conditions = Conditions(loss_percent=loss_percent, burst=burst)
    links = Links([conditions] * 500, np.random.default_rng(SEED))
    is_lost = many(links, 400) == 0  # (calls, lanes)
    assert is_lost.mean() == pytest.approx(loss_percent / 100, rel=0.05)
    assert links.counters["lost"] == is_lost.sum()
    # Bursts that begin and end within the recording, lane after lane; a burst of independent losses is 1 / (1 - p).
    begins = np.count_nonzero(is_lost[1:] & ~is_lost[:-1])
    mean_length = is_lost[1:].sum() / begins
    assert mean_length == pytest.approx(max(burst, 1 / (1 - loss_percent / 100)), rel=0.05)
    # The share holds from the first datagram on.
    assert is_lost[:4].mean() == pytest.approx(loss_percent / 100, abs=0.05)


def test_all_or_nothing_is_exact() -> None:
    assert arrivals(lone_link(loss_percent=100), 100) == []
    assert arrivals(lone_link(loss_percent=100, burst=50), 100) == []
    assert len(arrivals(lone_link(loss_percent=0, burst=50, jitter_ms=1), 100)) == 100


def test_jitter_has_the_mean_that_was_asked_and_a_bound() -> None:
    links = Links([Conditions(latency_ms=20, jitter_ms=10)] * 50_000, np.random.default_rng(SEED))
    _, due = links.carry(np.arange(50_000), np.full(50_000, 100), 0.0)
    assert due.min() >= 0.020 and due.max() <= 0.020 + 8 * 0.010
    assert due.mean() == pytest.approx(0.030, rel=0.02)
    assert np.median(due) == pytest.approx(0.020 + 0.010 * np.log(2), rel=0.02)


@pytest.mark.parametrize("gap_s", [0.0, 0.001, TICK])
def test_jitter_keeps_the_order(gap_s: float) -> None:
    links = lone_link(latency_ms=20, jitter_ms=50, duplicate_percent=10)
    due: list[float] = []
    for number in range(500):
        due += links.carry(np.array([0]), np.array([100]), number * gap_s)[1].tolist()
    assert len(due) > 500 and due == sorted(due)


def test_datagrams_of_one_call_keep_their_order_too() -> None:
    links = lone_link(jitter_ms=50, duplicate_percent=20)
    which, due = links.carry(np.zeros(200, np.int64), np.full(200, 100), 0.0)
    assert which.tolist() == sorted(which.tolist()) and due.tolist() == sorted(due.tolist())
    assert len(set(due.tolist())) > 2


@pytest.mark.parametrize("values", [{}, dict(latency_ms=100), dict(latency_ms=30, jitter_ms=20)])
@pytest.mark.parametrize("gap_s", [0.005, TICK, 0.1])
def test_the_share_asked_is_really_overtaken(gap_s: float, values: dict[str, Any]) -> None:
    links = lone_link(reorder_percent=5, **values)
    numbers = [number for number, _ in arrivals(links, 4000, gap_s)]
    newest, num_overtaken = -1, 0
    for number in numbers:
        num_overtaken += number < newest
        newest = max(newest, number)
    assert len(numbers) == 4000
    assert links.counters["reordered"] / 4000 == pytest.approx(0.05, abs=0.01)
    assert num_overtaken / links.counters["reordered"] > 0.85


def test_who_sends_rarely_is_not_held_for_long() -> None:
    links = lone_link(reorder_percent=100)
    due = [at - number * 5.0 for number, at in arrivals(links, 50, gap_s=5.0)]
    assert max(due) == pytest.approx(0.5) and min(due) > 0.0


def test_duplicates_have_the_share_that_was_asked_and_come_right_behind() -> None:
    links = lone_link(latency_ms=10, duplicate_percent=20)
    found = arrivals(links, 5000)
    num_pairs = sum(a == b for a, b in pairwise(found))
    assert num_pairs == links.counters["duplicated"] == len(found) - 5000
    assert num_pairs / 5000 == pytest.approx(0.20, abs=0.02)


def test_what_is_lost_is_not_duplicated() -> None:
    links = lone_link(loss_percent=50, duplicate_percent=100)
    copies = np.bincount([number for number, _ in arrivals(links, 1000)], minlength=1000)
    assert set(copies.tolist()) == {0, 2}


def test_a_copy_may_come_late_where_there_is_reordering() -> None:
    found = arrivals(lone_link(latency_ms=10, duplicate_percent=100, reorder_percent=30), 200)
    at: dict[int, list[float]] = {}
    for number, when in found:
        at.setdefault(number, []).append(when)
    assert any(first != second for first, second in at.values())


def test_a_bandwidth_lets_through_what_it_says_and_its_queue_is_bounded() -> None:
    links = lone_link(bandwidth_kbit=256)
    size_bytes = 1000 - HEADER_BYTES
    found = arrivals(links, 4000, gap_s=0.01, size_bytes=size_bytes)  # 800 kbit/s for 40 s
    assert found[-1][1] - found[0][1] == pytest.approx(40.0, rel=0.02)
    assert len(found) * 8_000 / 40.0 == pytest.approx(256_000, rel=0.02)
    assert links.counters["overflowed"] == 4000 - len(found)
    waits = [at - number * 0.01 for number, at in found]
    assert max(waits) <= MAX_QUEUE_S + 8_000 / 256_000 + 1e-9
    assert min(waits) >= 8_000 / 256_000 - 1e-9
    assert [number for number, _ in found] == sorted(number for number, _ in found)


def test_a_line_below_its_bandwidth_drops_nothing() -> None:
    links = lone_link(bandwidth_kbit=256)
    assert len(arrivals(links, 500, size_bytes=500)) == 500  # 127 kbit/s
    assert links.counters["overflowed"] == 0


def test_a_datagram_larger_than_the_queue_still_passes() -> None:
    links = lone_link(bandwidth_kbit=8)
    assert len(arrivals(links, 10, gap_s=2.0, size_bytes=1172)) == 10  # takes 1.2 s each


# --- lanes


def test_lanes_do_not_disturb_each_other() -> None:
    links = Links([Conditions(loss_percent=100), Conditions(latency_ms=50), Conditions()], np.random.default_rng(SEED))
    which, due = links.carry(np.array([2, 0, 1, 2, 1]), np.full(5, 100), 1.0)
    assert which.tolist() == [0, 2, 3, 4]
    assert due.tolist() == pytest.approx([1.0, 1.05, 1.0, 1.05])


def test_a_lane_can_be_changed_and_what_follows_stays_behind() -> None:
    links = lone_link(latency_ms=500)
    assert links.carry(np.array([0]), np.array([1]), 0.0)[1].tolist() == [0.5]
    links.set_lane(0, Conditions())
    assert links.carry(np.array([0]), np.array([1]), 0.1)[1].tolist() == [0.5]
    assert links.carry(np.array([0]), np.array([1]), 0.6)[1].tolist() == [0.6]
    links.set_lane(0, Conditions(loss_percent=100))
    assert links.carry(np.array([0]), np.array([1]), 0.7)[0].tolist() == []
    links.set_lane(0, Conditions(latency_ms=1))
    assert links.carry(np.array([0]), np.array([1]), 0.8)[1].tolist() == pytest.approx([0.801])


def test_a_lane_that_was_cleared_remembers_nothing() -> None:
    links = lone_link(latency_ms=500, bandwidth_kbit=8)
    links.carry(np.array([0]), np.array([1000]), 0.0)
    links.clear_lane(0)
    assert links.carry(np.array([0]), np.array([972]), 0.1)[1].tolist() == pytest.approx([0.1 + 1.0 + 0.5])


@pytest.mark.parametrize("seed", range(20))
def test_rounds_have_distinct_lanes_and_keep_the_order_of_each(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lane = rng.integers(0, 6, size=int(rng.integers(0, 30)))
    rows = [np.arange(len(lane))[index] for index in rounds_of_distinct_lanes(lane, 6)]
    assert sorted(np.concatenate(rows).tolist()) == list(range(len(lane)))
    assert all(len(set(lane[of_round].tolist())) == len(of_round) for of_round in rows)
    for number in range(6):
        of_lane = [row for of_round in rows for row in of_round.tolist() if lane[row] == number]
        assert of_lane == sorted(of_lane)


# --- DelayQueue


def test_a_delay_queue_gives_back_what_is_due_in_order() -> None:
    queue: DelayQueue[str] = DelayQueue(10)
    assert queue.next_due() == float("inf") and queue.pop_due(1e9) == [] and len(queue) == 0
    queue.push(np.array([3.0, 1.0, 2.0]), ["c", "a", "b"])
    queue.push(np.array([2.0, 1.0]), ["b2", "a2"])
    assert len(queue) == 5 and queue.next_due() == 1.0
    assert queue.pop_due(0.9) == []
    assert queue.pop_due(2.0) == ["a", "a2", "b", "b2"]
    assert queue.next_due() == 3.0 and queue.pop_due(5.0) == ["c"]


def test_a_full_delay_queue_drops_the_newest_and_counts_it() -> None:
    queue: DelayQueue[int] = DelayQueue(4)
    queue.push(np.arange(4.0), [0, 1, 2, 3])
    queue.push(np.array([0.0, 0.5]), [4, 5])
    assert (len(queue), queue.num_overflowed) == (4, 2)
    assert queue.pop_due(1.0) == [0, 1]
    queue.push(np.array([9.0, 9.0, 9.0]), [6, 7, 8])
    assert (len(queue), queue.num_overflowed) == (4, 3)


def test_things_that_cannot_be_compared_may_wait_for_the_same_time() -> None:
    queue: DelayQueue[object] = DelayQueue(4)
    things = [object(), object()]
    queue.push(np.array([1.0, 1.0]), things)
    assert queue.pop_due(1.0) == things


def test_a_delay_queue_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="max_items is 0; permitted: 1 or more"):
        DelayQueue(0)
