"""ServerClock: the least delayed tick tells the time."""

import pytest

from protocol.client.clock import ServerClock


def test_the_least_delayed_sample_counts_and_half_a_round_trip_is_added() -> None:
    clock = ServerClock(tick_rate=10, now=100.0)
    clock.add(20, 100.0)  # server time 2.0 s seen at 100.0
    clock.add(30, 100.9)  # server time 3.0 s seen at 100.9: less delayed
    clock.add(40, 102.5)  # delayed
    assert clock.server_time(103.0, rtt_s=0.0) == pytest.approx(5.1)
    assert clock.server_time(103.0, rtt_s=0.2) == pytest.approx(5.2)


def test_a_lucky_sample_is_forgotten_after_two_windows() -> None:
    clock = ServerClock(tick_rate=10, now=0.0)
    clock.add(10, 0.0)  # offset 1.0
    clock.add(45, 4.0)  # offset 0.5; first window over, still remembered
    assert clock.server_time(4.0, 0.0) == pytest.approx(5.0)
    clock.add(85, 8.0)  # second window over
    assert clock.server_time(8.0, 0.0) == pytest.approx(8.5)


def test_after_a_silence_longer_than_a_window_the_old_sample_still_serves() -> None:
    clock = ServerClock(tick_rate=10, now=0.0)
    clock.add(10, 0.0)
    clock.add(905, 90.0)
    assert clock.server_time(90.0, 0.0) == pytest.approx(91.0)
