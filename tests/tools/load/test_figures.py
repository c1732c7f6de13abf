"""The rows that every view shows, and how values are written."""

import math
from typing import Any

import pytest

from tests.tools.load.samples import HOSTILE_NAME, failed_figures, keys_of, sample_figures, sample_series
from tests.tools.load.samples import unmeasured_figures as unmeasured
from tools.load.figures import (
    MAX_HEADING,
    ROWS,
    Unit,
    bottlenecks_of,
    cost_line,
    failures_of,
    format_bytes,
    format_setting,
    format_value,
    get,
    groups,
    is_wrong,
    printable,
    verdict,
)

NOT_IN_ROWS = {"failures", "load.bottlenecks"}
"""Lists of texts; every view shows them in another way. So are the settings."""


def test_rows_have_every_key_of_the_figures_once() -> None:
    keys = [row.key for row in ROWS]
    figures = sample_figures()
    del figures["settings"]
    assert len(keys) == len(set(keys))
    assert set(keys) == keys_of(figures) - NOT_IN_ROWS


def test_rows_name_columns_that_the_series_have() -> None:
    named = {row.series_key for row in ROWS if row.series_key}
    in_charts_only = {"t", "phase", "state_age_p50_ms"}
    assert named <= set(sample_series()[0])
    assert set(sample_series()[0]) - named <= in_charts_only


def test_every_row_is_explained_and_its_heading_fits() -> None:
    for row in ROWS:
        assert 0 < len(row.heading) <= MAX_HEADING
        assert row.explanation.endswith(".") and len(row.explanation) < 120


def test_a_row_of_a_narrow_terminal_fits() -> None:
    for row in ROWS:
        assert MAX_HEADING + 2 + 10 + 2 + len(row.key) <= 60


def test_headings_are_unique_within_their_group() -> None:
    for rows in groups().values():
        assert len({row.heading for row in rows}) == len(rows)
    assert [row for rows in groups().values() for row in rows] == list(ROWS)  # a group stands in one place


def test_get_follows_the_dots() -> None:
    assert get(sample_figures(), "state_age_ms.p99") == 35.62
    assert get(sample_figures(), "seconds") == 60.0


@pytest.mark.parametrize("key", ["nothing", "relay.nothing", "seconds.p99", "relay.cpu_percent.more", ""])
def test_get_finds_nothing_without_an_error(key: str) -> None:
    assert get(sample_figures(), key) is None
    assert get(None, key) is None


def test_a_relay_elsewhere_has_no_figures() -> None:
    assert get(unmeasured(), "relay.cpu_percent") is None


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, Unit.COUNT, "0"),
        (1234567, Unit.COUNT, "1,234,567"),
        (0.4, Unit.PER_S, "0.40"),
        (1921.4, Unit.PER_S, "1,921"),
        (60, Unit.S, "60.0 s"),
        (0, Unit.MS, "0 ms"),
        (0.0412, Unit.MS, "0.04 ms"),
        (9.9, Unit.MS, "9.90 ms"),
        (9.994, Unit.MS, "9.99 ms"),
        (9.996, Unit.MS, "10.0 ms"),
        (99.96, Unit.MS, "100 ms"),
        (1234.5, Unit.MS, "1,234 ms"),
        (64.27, Unit.US, "64.3 µs"),
        (12.34, Unit.CPU_PERCENT, "12.3 %"),
        (137.0, Unit.CPU_PERCENT, "137.0 %"),
        (950, Unit.BYTES_PER_S, "950 B/s"),
        (2160.0, Unit.BYTES_PER_S, "2.16 kB/s"),
        (37_008_000, Unit.BYTES, "37.0 MB"),
        (1705.33, Unit.GB, "1.71 TB"),
        (0.5, Unit.GB, "500 MB"),
        (61.5, Unit.MIB, "61.5 MiB"),
        (True, Unit.FLAG, "yes"),
        (False, Unit.FLAG, "no"),
    ],
)
def test_values_are_written_with_their_unit(value: Any, unit: Unit, text: str) -> None:
    assert format_value(value, unit) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.999999, ">99.99 %"), (0.9999, "99.99 %"), (0.5, "50.00 %"), (1e-6, "<0.01 %"), (0.0, "0 %")],
)
def test_almost_all_is_not_all_and_almost_nothing_is_not_nothing(share: float, text: str) -> None:
    assert format_value(share, Unit.SHARE) == text
    assert format_value(share * 100, Unit.PERCENT) == text


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("value", [None, math.nan, math.inf, "words", [], {}, 10**400])
def test_what_is_no_number_is_a_dash(value: Any, unit: Unit) -> None:
    assert format_value(value, unit) == "-"


def test_a_number_is_no_flag_and_a_flag_no_number() -> None:
    assert format_value(1, Unit.FLAG) == format_value(True, Unit.COUNT) == "-"


@pytest.mark.parametrize(
    ("num_bytes", "digits", "text"),
    [
        (0, 3, "0 B"),
        (999, 3, "999 B"),
        (999.7, 3, "1.00 kB"),
        (37e6, 2, "37 MB"),
        (1.7053e12, 2, "1.7 TB"),
        (170.5e9, 2, "170 GB"),
        (999_700, 3, "1.00 MB"),
        (5e21, 3, "5,000,000 PB"),
    ],
)
def test_bytes_have_decimal_prefixes(num_bytes: float, digits: int, text: str) -> None:
    assert format_bytes(num_bytes, digits) == text


def test_the_cost_is_one_sentence() -> None:
    assert cost_line(sample_figures()) == "a player costs 37 MB an hour; 64 players for a month: 1.7 TB"


def test_the_cost_says_only_what_is_known() -> None:
    assert cost_line(unmeasured()) == ""
    per_hour = {"bytes_per_player_hour": 1000.0, "month_gb": None}
    assert cost_line(sample_figures(cost=per_hour)) == "a player costs 1.0 kB an hour"
    one = sample_figures(players={"wanted": 1}, cost=per_hour | {"month_gb": 0.00072})
    assert cost_line(one) == "a player costs 1.0 kB an hour; 1 player for a month: 720 kB"


def test_only_an_explicit_pass_is_one() -> None:
    assert verdict(sample_figures()) == "PASSED"
    for passed in (False, None, 1, "yes"):
        assert verdict(sample_figures(passed=passed)) == "FAILED"
    assert verdict({}) == "FAILED"


def test_what_must_be_zero_is_marked_unless_it_is() -> None:
    assert [row.key for row in ROWS if is_wrong(row, sample_figures())] == []
    assert [row.key for row in ROWS if is_wrong(row, failed_figures())] == ["passed", "converged", "messages.missing"]
    assert [row.key for row in ROWS if is_wrong(row, unmeasured())] == ["passed"]
    assert {row.key for row in ROWS if row.must_be_zero} == {
        "states.wrong",
        "unconverged_players",
        "signals.misdelivered",
        "signals.wrong",
        *(f"messages.{name}" for name in ("missing", "duplicated", "out_of_order", "misdelivered", "wrong")),
    }


def test_texts_are_lists_even_where_there_are_none() -> None:
    assert failures_of({}) == bottlenecks_of({}) == bottlenecks_of(sample_figures(load=None)) == []
    assert bottlenecks_of(failed_figures()) == failed_figures()["load"]["bottlenecks"]


def test_control_characters_reach_no_terminal() -> None:
    assert printable("Ada é 猫\x1b[31m\n\x00\u202e") == "Ada é 猫\\x1b[31m\\n\\x00\\u202e"
    assert all(text.isprintable() for text in failures_of(failed_figures()))


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (True, "yes"), (30.0, "30.0"), ([1, None], "1, -"), ("a\x1b", "a\\x1b"), (HOSTILE_NAME, None)],
)
def test_settings_are_written_for_people(value: Any, text: str | None) -> None:
    assert format_setting(value) == (printable(HOSTILE_NAME) if text is None else text)
