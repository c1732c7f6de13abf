"""When a transport reads its socket."""

from relay.transport.moderation import BEAT_SLACK_S, MIN_SAMPLE_S, Moderation

TICK = 1 / 30
WINDOW = 0.004


def flowing(*, fill_per_tick: int = 100, capacity: int = 100_000) -> tuple[Moderation, float]:
    """A moderation after one tick in which states flowed, and the time of its last drain."""
    moderation = Moderation(capacity, now=0.0)
    moderation.on_drained(TICK, fill_per_tick)
    return moderation, TICK


def test_the_first_datagram_after_a_pause_is_read_at_once() -> None:
    moderation = Moderation(1000, now=0.0)
    assert moderation.needs_wakeup(None)
    assert moderation.delay_s(now=5.0, next_beat=5.0 + TICK, event_window_s=None) == 0.0


def test_while_only_state_flows_the_socket_does_not_wake_the_loop() -> None:
    moderation, now = flowing()
    assert not moderation.needs_wakeup(None)
    delay_s = moderation.delay_s(now, next_beat=now + TICK, event_window_s=None)
    assert moderation.is_left_to_beat(now, delay_s, now + TICK)


def test_a_fast_flow_is_drained_before_a_quarter_of_the_buffer_is_full() -> None:
    moderation, now = flowing(fill_per_tick=100_000, capacity=100_000)
    delay_s = moderation.delay_s(now, next_beat=now + TICK, event_window_s=None)
    assert abs(delay_s - TICK / 4) < 1e-9
    assert not moderation.is_left_to_beat(now, delay_s, now + TICK)


def test_events_bring_drains_a_window_apart() -> None:
    moderation, now = flowing()
    assert moderation.needs_wakeup(WINDOW)
    assert abs(moderation.delay_s(now, now + TICK, event_window_s=WINDOW) - WINDOW) < 1e-9
    assert abs(moderation.delay_s(now + 0.003, now + TICK, event_window_s=WINDOW) - 0.001) < 1e-9
    assert moderation.delay_s(now + 0.005, now + TICK, event_window_s=WINDOW) == 0.0


def test_no_drain_is_planned_beyond_the_beat() -> None:
    moderation, now = flowing()
    assert abs(moderation.delay_s(now, next_beat=now + 0.002, event_window_s=WINDOW) - 0.002) < 1e-9
    assert moderation.delay_s(now, next_beat=now - 1.0, event_window_s=WINDOW) == 0.0


def test_a_drain_within_the_slack_of_a_beat_is_left_to_it() -> None:
    moderation = Moderation(1000, now=0.0)
    assert moderation.is_left_to_beat(0.0, 0.02, 0.02 + BEAT_SLACK_S / 2)
    assert not moderation.is_left_to_beat(0.0, 0.02, 0.02 + BEAT_SLACK_S * 2)


def test_two_drains_a_moment_apart_do_not_look_like_silence() -> None:
    # An early drain just before the beat's own left nothing for that one to find; it is no pause of the players.
    moderation, now = flowing()
    moderation.on_drained(now + MIN_SAMPLE_S / 2, 0)
    assert not moderation.needs_wakeup(None)
    moderation.on_drained(now + MIN_SAMPLE_S * 2, 0)
    assert moderation.needs_wakeup(None)


def test_fill_of_drains_a_moment_apart_is_added_up() -> None:
    moderation = Moderation(1000, now=0.0)
    moderation.on_drained(MIN_SAMPLE_S / 2, 10)
    moderation.on_drained(MIN_SAMPLE_S, 10)
    assert moderation.fill_per_s == 20 / MIN_SAMPLE_S
