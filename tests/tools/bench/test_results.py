"""From measurements to rows: medians, ratios, what proves nothing, and what is kept."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tools.bench.figures import FakeMeasure, figures_of
from tools.bench.results import (
    JSON_KEYS,
    Row,
    build_row,
    build_rows,
    changes,
    load_saved,
    measure_rounds,
    rows_json,
    save,
)
from tools.bench.rows import Name, Spec, default_specs, idle_specs
from tools.bench.run import MeasureError

BATCH = Spec(name=Name.BATCH, players=64)
FLOOR = BATCH.floor()


def row_of(*found: Any, floor: Any = (), spec: Spec = BATCH) -> Row:
    return build_row(spec, found, floor)


# --- Rounds


def test_every_row_is_measured_once_before_any_is_measured_again() -> None:
    measure = FakeMeasure({Name.FLOOR: [3.0], Name.BATCH: [5.0]})
    measure_rounds([FLOOR, BATCH], 2, measure, lambda text: None)
    assert measure.asked == [FLOOR, BATCH, FLOOR, BATCH]


def test_progress_is_told_row_by_row() -> None:
    told: list[str] = []
    measure_rounds([FLOOR, BATCH], 1, FakeMeasure({Name.FLOOR: [3.0], Name.BATCH: [5.0]}), told.append)
    assert told == [
        "[1/2] floor 64 players: 3.00 us per player-tick, 20.0 % of a core",
        "[2/2] batch 64 players: 5.00 us per player-tick, 20.0 % of a core",
    ]


def test_a_row_that_cannot_be_measured_is_told_and_left_out() -> None:
    told: list[str] = []

    def measure(spec: Spec) -> Any:
        if spec.name is Name.FLOOR:
            raise MeasureError("it is gone")
        return figures_of()

    rows = build_rows(measure_rounds([FLOOR, BATCH], 2, measure, told.append))
    assert [row.name for row in rows] == ["batch"]
    assert rows[0].ratio_to_floor is None
    assert told[0] == "[1/4] floor 64 players: not measured: it is gone"


def test_a_round_that_failed_does_not_move_the_others() -> None:
    measured = {FLOOR: [None, figures_of(2.0)], BATCH: [figures_of(100.0), figures_of(6.0)]}
    _, batch = build_rows(measured)
    assert batch.ratio_to_floor == 3.0


def test_after_ctrl_c_there_is_what_was_measured_until_then() -> None:
    told: list[str] = []

    def measure(spec: Spec) -> Any:
        if spec.name is Name.BATCH:
            raise KeyboardInterrupt
        return figures_of()

    rows = build_rows(measure_rounds([FLOOR, BATCH], 2, measure, told.append))
    assert [row.name for row in rows] == ["floor"]
    assert "interrupted" in told[-1]


# --- One row


def test_of_several_rounds_the_median_counts() -> None:
    row = row_of(figures_of(5.0), figures_of(9.0), figures_of(6.0))
    assert (row.us_per_player_tick, row.rounds) == (6.0, 3)
    assert row.spread == pytest.approx((9.0 - 5.0) / 6.0)
    assert row.spread_of == "rounds"


def test_the_ratio_is_that_of_the_same_round() -> None:
    # a machine that is twice as slow in the second round: the ratio does not see it
    floor = [figures_of(3.0), figures_of(6.0), figures_of(3.0)]
    row = row_of(figures_of(4.5), figures_of(9.0), figures_of(4.5), floor=floor)
    assert row.ratio_to_floor == 1.5


def test_the_ratio_of_the_floor_is_1() -> None:
    assert row_of(figures_of(3.0), floor=[figures_of(3.0)], spec=FLOOR).ratio_to_floor == 1.0


def test_rows_find_the_floor_of_their_own_shape() -> None:
    specs = default_specs()
    us = {
        64: {"floor": 4.0, "compiled": 8.0},
        500: {"floor": 3.0, "compiled": 4.5},
        4000: {"floor": 2.0, "compiled": 2.5},
    }
    measured = {spec: [figures_of(us[spec.players].get(str(spec.name), 40.0), 4000)] for spec in specs}
    ratios = {(row.name, row.players): row.ratio_to_floor for row in build_rows(measured)}
    assert (ratios["compiled", 64], ratios["compiled", 500], ratios["compiled", 4000]) == (2.0, 1.5, 1.25)
    assert ratios["uvloop", 64] == 10.0


def test_one_round_has_the_spread_of_its_thirds_and_says_so() -> None:
    row = row_of(figures_of(5.0, relay={"us_per_player_tick_thirds": [4.9, 5.0, 5.3]}))
    assert row.spread == pytest.approx(0.08)
    assert row.spread_of == "thirds"


def test_one_round_without_thirds_has_no_spread() -> None:
    assert (row_of(figures_of()).spread, row_of(figures_of()).spread_of) == (None, "")


def test_everything_else_is_taken_over() -> None:
    row = row_of(figures_of())
    assert (row.delivered_share, row.state_age_p99_ms, row.bytes_per_player_s) == (0.999, 45.0, 7800.0)
    assert (row.rss_mib, row.cpu_percent, row.load_cpu_percent) == (50.0, 20.0, 40.0)
    assert (row.saturated, row.failures, row.bottlenecks) == (False, [], [])


@pytest.mark.parametrize("who", ["relay", "load"])
def test_a_core_that_was_full_in_any_round_proves_nothing(who: str) -> None:
    full = figures_of(**{who: {"cpu_percent": 90.1}})
    assert row_of(figures_of(), full, figures_of()).saturated
    assert not row_of(figures_of(**{who: {"cpu_percent": 90.0}})).saturated


def test_what_the_load_found_wrong_stands_in_the_row_once() -> None:
    wrong = figures_of(passed=False, failures=["2 messages missing"], load={"bottlenecks": ["its own core"]})
    row = row_of(wrong, wrong)
    assert row.failures == ["2 messages missing"]
    assert row.bottlenecks == ["its own core"]


def test_a_load_that_failed_without_a_word_is_a_failure_too() -> None:
    assert row_of(figures_of(passed=False)).failures == ["the load failed and did not say why"]


def test_players_that_did_not_connect_are_a_failure() -> None:
    assert row_of(figures_of(connected=63)).failures == ["only 63 of 64 players connected"]
    assert row_of(figures_of(connected=72)).failures == []
    assert row_of(figures_of(connected=63), spec=replace(BATCH, joins_per_s=10)).failures == []


def test_an_idle_row_has_no_cost_per_player_and_tick() -> None:
    players, server = idle_specs()
    assert row_of(figures_of(connected=1000), spec=players).us_per_player_tick is None
    row = row_of({"players": {"connected": 0}, "relay": {"cpu_percent": 0.4, "rss_mib": 40.0}}, spec=server)
    assert (row.us_per_player_tick, row.ratio_to_floor, row.cpu_percent, row.failures) == (None, None, 0.4, [])


def test_figures_without_most_of_their_keys_make_a_row() -> None:
    row = row_of({"players": {"connected": 64}, "relay": None, "state_age_ms": None})
    assert (row.us_per_player_tick, row.state_age_p99_ms, row.saturated) == (None, None, False)


# --- What is printed and kept


def test_rows_of_another_shape_tell_datagrams_and_rows_with_messages_their_latency() -> None:
    spec = Spec(name=Name.COMPILED, players=64, messages=5, title="5 messages/s")
    figures = figures_of(6.0, datagrams_per_s={"down": 64 * 30 * 1.5}, message_latency_ms={"p50": 2.0, "p99": 8.5})
    (printed,) = json.loads(rows_json([build_row(spec, [figures], [])]))["rows"]
    assert (printed["datagrams_per_player_tick"], printed["message_p99_ms"]) == (1.5, 8.5)


def test_json_is_as_promised() -> None:
    printed = json.loads(rows_json([row_of(figures_of(6.0), floor=[figures_of(4.0)])]))
    assert printed == {
        "rows": [
            {
                "name": "batch",
                "players": 64,
                "us_per_player_tick": 6.0,
                "ratio_to_floor": 1.5,
                "delivered_share": 0.999,
                "state_age_p99_ms": 45.0,
                "bytes_per_player_s": 7800.0,
                "rss_mib": 50.0,
                "saturated": False,
            }
        ]
    }
    assert tuple(printed["rows"][0]) == JSON_KEYS


def test_rows_of_another_shape_say_which() -> None:
    small = row_of(figures_of(), spec=replace(BATCH, per_room=2))
    assert json.loads(rows_json([small]))["rows"][0]["shape"] == "rooms of 2"


def test_rows_whose_load_was_held_up_say_by_what() -> None:
    late = row_of(figures_of(load={"bottlenecks": ["late"]}))
    assert json.loads(rows_json([late]))["rows"][0]["bottlenecks"] == ["late"]


def test_idle_rows_say_their_share_of_a_core() -> None:
    idle = row_of({"relay": {"cpu_percent": 0.4}}, spec=idle_specs()[1])
    (row,) = json.loads(rows_json([idle]))["rows"]
    assert (row["us_per_player_tick"], row["cpu_percent"], row["shape"]) == (None, 0.4, "idle server")


def test_a_run_is_kept_and_read_again(tmp_path: Path) -> None:
    rows = [row_of(figures_of(failures=["x"]), figures_of()), row_of(figures_of(), spec=FLOOR)]
    save(tmp_path / "run.json", rows, "abc123", {"cpu": "some"})
    saved = load_saved(tmp_path / "run.json")
    assert (saved.commit, saved.machine, saved.rows) == ("abc123", {"cpu": "some"}, rows)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "commit": "a", "machine": {}, "rows": [1]}']
)
def test_a_file_that_is_no_run_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="not a run"):
        load_saved(tmp_path / "run.json")


def test_a_run_of_another_format_is_refused_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"format": 7}', encoding="utf-8")
    with pytest.raises(ValueError, match="format 7"):
        load_saved(tmp_path / "run.json")


def test_a_change_is_that_of_the_same_row() -> None:
    before = [row_of(figures_of(4.0)), row_of(figures_of(2.0), spec=FLOOR)]
    now = [row_of(figures_of(5.0)), row_of(figures_of(5.0), spec=replace(BATCH, players=500, title="x"))]
    assert changes(now, before) == {("batch", 64, ""): pytest.approx(0.25)}


def test_idle_rows_compare_by_their_share_of_a_core() -> None:
    spec = idle_specs()[1]

    def idle(percent: float) -> Row:
        return row_of({"players": {"connected": 0}, "relay": {"cpu_percent": percent}}, spec=spec)

    assert changes([idle(0.3)], [idle(0.4)]) == {("compiled", 0, "idle server"): pytest.approx(-0.25)}


def test_what_proves_nothing_is_not_compared() -> None:
    good, full = row_of(figures_of()), row_of(figures_of(relay={"cpu_percent": 99.0}))
    wrong = row_of(figures_of(failures=["x"]))
    late = row_of(figures_of(load={"bottlenecks": ["late"]}))
    assert changes([full], [good]) == changes([good], [full]) == changes([good], [wrong]) == {}
    assert changes([late], [good]) == changes([good], [late]) == {}
    assert changes([good], [good]) == {("batch", 64, ""): 0.0}
