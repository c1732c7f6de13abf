"""The charts: parts of a page, with nothing of a stand-alone file."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.tools.load.samples import RAMP_UP_S, SETTLING_S, WARM_UP_S, sample_series
from tools.load import charts
from tools.load.charts import CHARTS, COLOR_VARIABLES, SVG_NAMESPACE, describe, draw_chart, shaded_spans

pytest.importorskip("matplotlib")
SVG = f"{{{SVG_NAMESPACE}}}"
STATE_AGE = next(chart for chart in CHARTS if chart.has_tick)
PLAYERS = CHARTS[0]


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    """Each chart of the sample."""
    return {chart.name: draw_chart(chart, sample_series(), 1000 / 30) for chart in CHARTS}


def test_charts_show_everything_that_the_series_have() -> None:
    keys = {line.key for chart in CHARTS for line in chart.lines}
    assert keys == set(sample_series()[0]) - {"t", "phase"}
    assert len({chart.name for chart in CHARTS}) == len(CHARTS)


def test_charts_are_svg_with_a_title_and_a_description(drawn: dict[str, str]) -> None:
    for chart in CHARTS:
        root = ElementTree.fromstring(drawn[chart.name])
        assert root.tag == f"{SVG}svg" and root.get("role") == "img"
        title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
        assert title is not None and description is not None
        assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert title.text == chart.title
        assert description.text == describe(chart, sample_series())


def test_every_color_is_a_variable(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        used = set(re.findall(r"(?:stroke|fill): ([^;\"]+)", svg))
        assert used <= {"none", *(f"var({name})" for name in COLOR_VARIABLES.values())}
        assert not re.search(r"#[0-9a-f]{6}\b", svg)


def test_ids_are_unique_over_all_charts_and_all_used(drawn: dict[str, str]) -> None:
    together = "".join(drawn.values())
    ids = re.findall(r' id="([^"]+)"', together)
    assert len(ids) == len(set(ids))
    references = set(re.findall(r"url\(#([^)]+)\)", together)) | set(re.findall(r'href="#([^"]+)"', together))
    assert references == {name for name in ids if not name.endswith(("-title", "-desc"))}


def test_nothing_of_a_stand_alone_file_is_left(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        assert svg.startswith(f'<svg xmlns="{SVG_NAMESPACE}"')
        assert svg.count("http") == 1
        assert not re.search("<style|<metadata|<!DOCTYPE|<[?]xml|xlink|matplotlib|DejaVu", svg)


def test_text_stays_text(drawn: dict[str, str]) -> None:
    assert ">one tick (33.3 ms)</text>" in drawn[STATE_AGE.name]
    assert ">seconds since the start</text>" in drawn[STATE_AGE.name]
    assert ">99.5 %</text>" in drawn["delivered"]


def test_the_same_input_draws_the_same_whatever_the_settings_of_matplotlib() -> None:
    import matplotlib

    first = draw_chart(PLAYERS, sample_series())
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "axes.facecolor": "red"}):
        assert draw_chart(PLAYERS, sample_series()) == first
        assert matplotlib.rcParams["lines.linewidth"] == 9  # and they are left as they were


@pytest.mark.parametrize("series", [[], [{}], [{"t": 1.0, "players": None}], [{"t": 1.0, "players": "many"}]])
def test_what_was_not_measured_is_not_drawn(series: list[dict[str, Any]]) -> None:
    assert draw_chart(PLAYERS, series) == ""
    assert "not measured" in describe(PLAYERS, series)


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
@pytest.mark.parametrize("value", [0, 1, 1e12])
def test_one_second_is_enough(chart: charts.Chart, value: float) -> None:
    svg = ElementTree.fromstring(draw_chart(chart, [{"t": 1.0} | {line.key: value for line in chart.lines}]))
    assert svg.tag.endswith("svg")


def test_items_without_a_time_follow_each_other() -> None:
    shown = draw_chart(PLAYERS, [{"players": 3}, {"t": None, "players": 4}, {"t": 9.0, "players": 5}])
    assert ElementTree.fromstring(shown).tag.endswith("svg") and "nan" not in shown.lower()


def test_a_line_that_was_not_measured_leaves_the_other() -> None:
    series = [item | {"relay_cpu_percent": None} for item in sample_series()]
    cpu = next(chart for chart in CHARTS if chart.name == "cpu")
    assert "relay: not measured. load generator: lowest 37.0 %" in draw_chart(cpu, series)


def test_the_description_says_the_numbers() -> None:
    series = [{"t": t, "state_age_p50_ms": t * 10, "state_age_p99_ms": 50} for t in (1, 3, 2)]
    assert describe(STATE_AGE, series).endswith(
        "p50: lowest 10.0 ms, highest 30.0 ms, at the end 20.0 ms. "
        "p99: lowest 50.0 ms, highest 50.0 ms, at the end 50.0 ms."
    )


def test_everything_but_the_load_is_shaded() -> None:
    before, total = RAMP_UP_S + WARM_UP_S, RAMP_UP_S + WARM_UP_S + 60 + SETTLING_S
    assert shaded_spans(sample_series()) == [(0.0, before), (total - SETTLING_S, total)]
    assert shaded_spans([{"t": 1.0, "phase": "load"}, {"t": 2.0}]) == shaded_spans([]) == []


def test_a_long_run_is_in_minutes_and_stays_small() -> None:
    long = draw_chart(STATE_AGE, sample_series(7200), 1000 / 30)
    assert ">minutes since the start</text>" in long
    assert len(long) < 400_000
