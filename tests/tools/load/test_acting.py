"""Who does what when."""

from typing import Any

import numpy as np
import pytest

from tests.tools.load.made import crowd_of, plan_of
from tools.load.acting import MAX_BEHIND, WALK_S, Acting
from tools.load.audience import Aim
from tools.load.claims import Use
from tools.load.crowd import Crowd
from tools.load.plan import Movement
from tools.load.uplink import audience_of

STEP_S = 0.004


def made(players: int = 20, **plan: Any) -> tuple[Crowd, Acting]:
    """Players who have begun at 0."""
    whole = plan_of(**({"players": players} | plan))
    crowd, _ = crowd_of(whole)
    acting = Acting(whole, crowd, np.random.default_rng(1))
    for row in range(whole.num_players):
        acting.begin(row, 0.0)
    return crowd, acting


def play(acting: Acting, seconds: float, *, loading: bool = True, begin: float = 0.0) -> dict[int, list[float]]:
    """Let them act. Returns: when each had a tick."""
    ticks: dict[int, list[float]] = {}
    for step in range(1, round(seconds / STEP_S) + 1):
        now = begin + step * STEP_S
        for row in acting.step(now, loading).tolist():
            ticks.setdefault(row, []).append(now)
    return ticks


@pytest.mark.parametrize("rate", [10.0, 30.0, 240.0])
def test_everybody_has_as_many_ticks_as_the_rate_says_spread_over_time(rate: float) -> None:
    _, acting = made(rate=rate)
    ticks = play(acting, 2.0)
    assert all(len(moments) == pytest.approx(2 * rate, abs=1) for moments in ticks.values())
    assert acting.late_ticks == 0
    if rate == 10.0:
        phases = [moments[0] % 0.1 for moments in ticks.values()]
        assert max(phases) - min(phases) > 0.05


def test_everybody_publishes_at_each_tick_where_all_move() -> None:
    crowd, acting = made(rate=30.0)
    ticks = play(acting, 1.0)
    assert crowd.people.published[:20].tolist() == [1 + len(ticks[row]) for row in range(20)]


def test_who_stands_still_has_one_state() -> None:
    crowd, acting = made(movement=Movement.STILL)
    play(acting, 1.0)
    assert crowd.people.published[:20].tolist() == [1] * 20


def test_who_walks_rests_in_between() -> None:
    crowd, acting = made(movement=Movement.WALK, rate=20.0)
    before = crowd.people.published.copy()
    moved = []
    for second in range(16):
        play(acting, 0.5, begin=second * 0.5)
        moved.append(crowd.people.published[:20] > before[:20])
        before = crowd.people.published.copy()
    share = np.array(moved).mean(axis=0)
    assert 0.3 < share.mean() < 0.8 and (share > 0).all() and (share < 1).all()
    assert WALK_S[0] >= 1.0


def test_nobody_publishes_where_there_are_no_states() -> None:
    crowd, acting = made(state_bytes=0)
    play(acting, 1.0)
    assert not crowd.people.published.any()


def test_before_and_after_the_load_they_only_send_what_waits() -> None:
    crowd, acting = made(messages=10.0, signals=10.0)
    ticks = play(acting, 1.0, loading=False)
    assert len(ticks) == 20
    people = crowd.people
    assert people.published[:20].tolist() == [1] * 20 and not people.said.any() and not people.signalled.any()


@pytest.mark.parametrize("rate", [0.0, 0.5, 4.0, 60.0])
def test_messages_and_signals_come_at_their_rates(rate: float) -> None:
    crowd, acting = made(messages=rate, signals=rate, rate=30.0)
    for second in range(5):
        play(acting, 1.0, begin=float(second))
        people = crowd.people
        people.message_acked[:20] = people.said[:20]
    for counts in (crowd.people.said[:20], crowd.people.signalled[:20]):
        assert counts.sum() == pytest.approx(20 * 5 * rate, rel=0.1, abs=2)


def test_a_late_process_leaves_ticks_out_and_counts_them() -> None:
    _, acting = made(rate=10.0)
    assert len(acting.step(1.0, True)) == 20
    assert acting.late_ticks == 20 * 9
    assert len(acting.step(1.1, True)) == 20
    assert acting.late_ticks == 20 * 9


def test_who_was_late_does_not_say_everything_at_once() -> None:
    crowd, acting = made(messages=100.0)
    acting.step(10.0, True)
    assert crowd.people.said[:20].tolist() == [MAX_BEHIND] * 20


def test_the_same_seed_does_the_same() -> None:
    def story() -> Any:
        crowd, acting = made(messages=3.0, signals=3.0, movement=Movement.WALK)
        play(acting, 2.0)
        return [getattr(crowd.people, name)[:20].tolist() for name in ("published", "said", "signalled")]

    assert story() == story()


def test_who_comes_later_gets_a_place_however_many_there_are() -> None:
    crowd, acting = made(players=100)
    assert len(play(acting, 0.2)) == 100
    assert crowd.people.used == 100


@pytest.mark.parametrize(("aim", "each"), [(Aim.ALL, 4), (Aim.OTHERS, 3)])
def test_it_knows_how_many_should_catch_a_signal(aim: Aim, each: int) -> None:
    crowd, acting = made(players=4, aim=aim, signals=4.0)
    play(acting, 1.0)
    assert acting.signals_expected == each * crowd.people.signalled.sum()


def test_a_signal_is_expected_of_those_only_who_are_there() -> None:
    crowd, acting = made(players=4, signals=20.0)
    for row in (1, 2, 3):
        acting.end(row)
        crowd.end(row)
    play(acting, 1.0)
    sent = int(crowd.people.signalled[0])
    assert sent > 10 and 0 < acting.signals_expected < sent


def test_of_a_mixed_audience_it_expects_just_those_who_are_meant() -> None:
    crowd, acting = made(players=4, rooms=2, signals=10.0)
    play(acting, 1.0)
    people, wanted = crowd.people, 0
    for row in range(8):
        for counter in range(1, int(people.signalled[row]) + 1):
            who = np.array([row])
            audience = audience_of(crowd.habits, Use.SIGNAL, who, np.array([counter]), people.player_id[who])
            wanted += sum(bool(audience.hears(np.array([player_id]))[0]) for player_id in range(4))
    assert acting.signals_expected == wanted > 50
