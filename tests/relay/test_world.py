"""The world: ticks, stamps and the room clock, and that a relay begins empty."""

from random import Random

import pytest

from relay.config import RelayConfig
from relay.world import World, build_world


def world_at(tick: int, tick_at: float, tick_rate: int = 30) -> World:
    world = build_world(RelayConfig(tick_rate=tick_rate), Random(1))
    world.tick, world.tick_at = tick, tick_at
    return world


def test_a_new_world_is_empty() -> None:
    world = build_world(RelayConfig(), Random(1))
    assert (len(world.sessions), len(world.rooms), world.tick) == (0, 0, 0)
    assert not world.hosts and not world.events and not world.stats.dropped


def test_a_write_is_stamped_with_the_next_tick() -> None:
    assert world_at(0, 0.0).stamp == 1
    assert world_at(41, 0.0).stamp == 42


@pytest.mark.parametrize(("tick_rate", "period_s"), [(1, 1.0), (20, 0.05), (240, 1 / 240)])
def test_the_period_is_one_over_the_rate(tick_rate: int, period_s: float) -> None:
    assert world_at(0, 0.0, tick_rate).period_s == pytest.approx(period_s)


def test_the_clock_is_the_newest_tick_and_what_has_passed_since() -> None:
    world = world_at(30, 500.0, tick_rate=20)
    assert world.clock_ms(500.0) == 1500
    assert world.clock_ms(500.020) == pytest.approx(1520, abs=1)


def test_the_clock_never_passes_the_next_tick_however_late_that_is() -> None:
    world = world_at(30, 500.0, tick_rate=20)
    assert world.clock_ms(500.050) == world.clock_ms(900.0) == 1550


def test_the_clock_never_goes_behind_its_tick() -> None:
    assert world_at(30, 500.0, tick_rate=20).clock_ms(499.0) == 1500


def test_the_logs_may_take_the_memory_that_was_set() -> None:
    small = build_world(RelayConfig(log_memory_mib=1), Random(1)).log.arena
    large = build_world(RelayConfig(log_memory_mib=8), Random(1)).log.arena
    assert 0 < small.free_bytes() <= 1 << 20 < large.free_bytes() <= 8 << 20
