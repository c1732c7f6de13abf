"""Deadlines without drift, and the load."""

import math

import pytest

from relay.beats import BUSY_LOAD, EARLY_SHARE, LEAST_WINDOW_S, Beats, EventWindow, LoadMeter

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


def play_events(window: EventWindow, words_per_tick: float, ticks: int) -> float:
    """Let words for every player come evenly spread, sent on in drains a window apart; return datagrams a tick."""
    early = 0.0
    for _ in range(ticks):
        window_s = window.seconds(0.0)
        assert window_s is not None
        early = (PERIOD / window_s - 1.0) * (1.0 - math.exp(-words_per_tick * window_s / PERIOD))
        window.close_tick(round(1000 * early), num_players=1000)
    return 1.0 + early


def test_where_all_players_talk_they_get_two_datagrams_a_tick() -> None:
    window = EventWindow(PERIOD)
    assert play_events(window, words_per_tick=7.5, ticks=1) > 4.0
    assert play_events(window, words_per_tick=7.5, ticks=60) < 2.02
    assert LEAST_WINDOW_S < (window.seconds(0.0) or 0.0) <= PERIOD / 2


def test_a_few_words_are_sent_on_in_the_shortest_window_again_soon() -> None:
    window = EventWindow(PERIOD)
    play_events(window, words_per_tick=7.5, ticks=60)
    play_events(window, words_per_tick=0.8, ticks=300)
    assert window.seconds(0.0) == LEAST_WINDOW_S


def test_a_window_is_never_longer_than_half_a_beat_whatever_one_tick_brings() -> None:
    window = EventWindow(PERIOD)
    window.close_tick(num_early=1_000_000, num_players=1)
    assert (window.seconds(0.0) or 0.0) < 2 * LEAST_WINDOW_S, "a burst of one tick decides little"
    for _ in range(100):
        window.close_tick(num_early=1_000_000, num_players=0)
    assert window.seconds(0.0) == PERIOD / 2
    assert EventWindow(0.004).seconds(0.0) == LEAST_WINDOW_S


@pytest.mark.parametrize("load", [0.0, BUSY_LOAD / 2])
def test_passes_between_beats_have_a_share_of_the_time_that_falls_with_the_load(load: float) -> None:
    window = EventWindow(PERIOD)
    for _ in range(100):
        window.on_early(0.003)
    window_s = window.seconds(load)
    assert window_s is not None
    assert 0.003 / (0.003 + window_s) == pytest.approx(EARLY_SHARE * (1.0 - load / BUSY_LOAD), rel=0.01)


def test_a_busy_relay_leaves_events_to_its_beats() -> None:
    assert EventWindow(PERIOD).seconds(BUSY_LOAD) is None
    assert EventWindow(PERIOD).seconds(1.0) is None


def test_a_machine_that_stood_still_does_not_hold_messages_up_for_seconds() -> None:
    window = EventWindow(PERIOD)
    window.on_early(1.0)
    assert (window.seconds(0.0) or 0.0) < 0.008


def test_after_a_while_without_passes_between_beats_they_are_tried_again() -> None:
    window = EventWindow(PERIOD)
    for _ in range(100):
        window.on_early(0.020)
    assert (window.seconds(0.0) or 0.0) > PERIOD
    for _ in range(300):
        window.close_tick(0, 1)
    assert window.seconds(0.0) == LEAST_WINDOW_S


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
