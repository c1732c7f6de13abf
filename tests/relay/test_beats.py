"""Deadlines without drift, and the load."""

import pytest

from relay.beats import BUSY_LOAD, Beats, LoadMeter

PERIOD = 1 / 30


def test_deadlines_do_not_drift_however_late_each_beat_is() -> None:
    beats = Beats(30, start=100.0)
    for number in range(1, 3001):
        assert beats.next_at == pytest.approx(100.0 + number * PERIOD)
        assert beats.begin(beats.next_at + 0.9 * PERIOD)
    assert beats.tick_overruns == 0


def test_a_beat_that_comes_a_little_early_is_begun_once() -> None:
    beats = Beats(30, start=0.0)
    assert beats.begin(PERIOD - 0.001)
    assert beats.next_at == pytest.approx(2 * PERIOD)


def test_missed_ticks_are_left_out_and_counted() -> None:
    beats = Beats(30, start=0.0)
    assert beats.begin(4.5 * PERIOD) == 4
    assert beats.tick_overruns == 3
    assert beats.next_at == pytest.approx(5 * PERIOD)


@pytest.mark.parametrize(("tick_rate", "beats_per_tick"), [(1, 20), (7, 3), (10, 2), (19, 2), (20, 1), (240, 1)])
def test_slow_ticks_have_beats_between_them_so_that_acks_are_in_time(tick_rate: int, beats_per_tick: int) -> None:
    beats = Beats(tick_rate, start=0.0)
    assert beats.period_s <= 0.050
    ticks = [beats.begin(beats.next_at) for _ in range(3 * beats_per_tick)]
    assert ticks == ([0] * (beats_per_tick - 1) + [1]) * 3
    assert beats.next_at == pytest.approx(3 / tick_rate + beats.period_s)


def test_a_missed_tick_between_beats_is_made_up_for_by_one() -> None:
    beats = Beats(10, start=0.0)
    assert beats.begin(0.26) == 2
    assert beats.tick_overruns == 1
    assert beats.next_at == pytest.approx(0.30)
    assert beats.begin(0.30)


def test_load_follows_the_work_within_a_second() -> None:
    meter = LoadMeter(now=0.0)
    now = 0.0
    for _ in range(60):
        meter.add_work(0.8 * PERIOD)
        now += PERIOD
        meter.close_tick(now, tick_s=0.01)
    assert meter.is_busy and meter.load > BUSY_LOAD
    assert 75 <= meter.percent <= 80
    assert meter.tick_s == 0.01
    for _ in range(60):
        now += PERIOD
        meter.close_tick(now, tick_s=0.001)
    assert not meter.is_busy and meter.percent < 5


def test_load_is_never_shown_above_100_percent() -> None:
    meter = LoadMeter(now=0.0)
    meter.add_work(50.0)
    meter.close_tick(1.0, tick_s=50.0)
    assert meter.percent == 100
    meter.close_tick(1.0, tick_s=0.0)  # no time has passed: nothing to average
    assert meter.percent == 100
