"""The network between the crowd and its sockets: what comes out, when, and that it is bounded."""

import numpy as np
import pytest

from relay.batch import ROW_BYTES
from tools.lag.conditions import Conditions, Path
from tools.load import weather
from tools.load.weather import Direction


def direction(num_lanes: int = 2, is_upward: bool = True, **up: float) -> Direction:
    paths = [Path(up=Conditions(**up))] * num_lanes
    return Direction(paths, is_upward, np.random.default_rng(1))


def push(way: Direction, *numbers: int, lane: int = 0, now: float = 0.0) -> None:
    """Send datagrams that are as long as their number and full of it."""
    data = np.zeros((len(numbers), ROW_BYTES), np.uint8)
    data[:] = np.array(numbers)[:, None]
    lanes = np.full(len(numbers), lane)
    way.push(lanes, data, np.array(numbers), lanes * 10, now)


def test_what_is_sent_comes_out_with_all_that_belongs_to_it_in_order() -> None:
    way = direction(latency_ms=100.0)
    push(way, 3, 4, now=1.0)
    push(way, 5, lane=1, now=1.05)
    assert len(way.pop(1.099).length) == 0
    parcel = way.pop(1.2)
    assert parcel.length.tolist() == [3, 4, 5] and parcel.data[:, 0].tolist() == [3, 4, 5]
    assert parcel.player.tolist() == [0, 0, 1] and parcel.tag.tolist() == [0, 0, 10]
    assert parcel.due.tolist() == pytest.approx([1.1, 1.1, 1.15])
    assert len(way.pop(9.0).length) == 0, "each comes once"


def test_a_copy_is_kept_and_not_a_view() -> None:
    way = direction(latency_ms=10.0)
    data = np.full((1, ROW_BYTES), 7, np.uint8)
    way.push(np.array([0]), data, np.array([3]), np.array([0]), 0.0)
    data[:] = 9
    assert way.pop(1.0).data[0, 0] == 7


def test_up_and_down_have_conditions_of_their_own() -> None:
    lossy = {"loss_percent": 100.0}
    for is_upward, survivors in ((True, 0), (False, 5)):
        way = direction(is_upward=is_upward, **lossy)
        push(way, *range(1, 6))
        assert len(way.pop(1.0).length) == survivors
        assert way.links.counters["lost"] == 5 - survivors


def test_doubled_datagrams_come_twice() -> None:
    way = direction(duplicate_percent=100.0)
    push(way, 1, 2)
    assert sorted(way.pop(1.0).length.tolist()) == [1, 1, 2, 2]


def test_it_grows_as_far_as_it_may_and_counts_what_is_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weather, "MAX_WAITING", 200)
    way = direction(latency_ms=100.0)
    for number in range(1, 203):
        push(way, number, now=number / 1000)
    assert way.overflowed == 2
    assert sorted(way.pop(9.0).length.tolist()) == list(range(1, 201))
    push(way, 5, now=10.0)
    assert way.overflowed == 2 and way.pop(11.0).length.tolist() == [5]


def test_many_at_once_fit_or_are_cut_off() -> None:
    way = direction(latency_ms=1.0)
    push(way, *([1] * 300))
    assert len(way.pop(1.0).length) == 300 and way.overflowed == 0


def test_the_same_seed_gives_the_same_weather() -> None:
    def fates() -> list[int]:
        way = direction(loss_percent=50.0)
        push(way, *range(1, 100))
        return sorted(way.pop(1.0).length.tolist())

    assert fates() == fates() and 20 < len(fates()) < 80
