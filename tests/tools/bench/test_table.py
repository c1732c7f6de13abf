"""The table: all rows, in whatever there is to draw it."""

import builtins
from typing import Any

import pytest

from tests.tools.bench.figures import figures_of
from tools.bench.results import Row, build_row
from tools.bench.rows import Name, Spec, idle_specs
from tools.bench.table import HEADINGS, markdown, plain, table_text

BATCH = Spec(name=Name.BATCH, players=4000)


def rows() -> list[Row]:
    floor = [figures_of(4.0, 4000)]
    thirds = {"us_per_player_tick_thirds": [5.9, 6.0, 6.2], "cpu_percent": 95.0}
    return [
        build_row(BATCH.floor(), floor, floor),
        build_row(BATCH, [figures_of(6.0, 4000, relay=thirds)], floor),
        build_row(
            idle_specs()[1], [{"relay": {"cpu_percent": 0.4}, "failures": ["x"], "load": {"bottlenecks": ["y"]}}], []
        ),
    ]


@pytest.fixture(params=["rich", "plain"])
def drawing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    real = builtins.__import__

    def without_rich(name: str, *args: Any, **named: Any) -> Any:
        if name.startswith("rich"):
            raise ImportError(name)
        return real(name, *args, **named)

    if request.param == "rich":
        pytest.importorskip("rich")
    else:
        monkeypatch.setattr(builtins, "__import__", without_rich)
    return str(request.param)


def test_a_table_shows_every_row_and_figure(drawing: str) -> None:
    shown = table_text(rows())
    (line,) = [line for line in shown.splitlines() if "batch" in line and "4,000" in line]
    for text in ("6.00", "5.0%*", "1.50", "95.0", "40.0", "0.9990", "45.0", "7,800", "50", "saturated"):
        assert text in line
    assert "idle server" in shown and "held up, FAILED" in shown and "floor" in shown


def test_a_compared_run_has_a_column_for_the_change(drawing: str) -> None:
    shown = table_text(rows(), {("batch", 4000, ""): 0.123})
    assert "change" in shown and "+12.3%" in shown
    assert "change" not in table_text(rows())


def test_plain_columns_are_aligned() -> None:
    lines = plain(["a", "number"], [["x", "1"], ["long name", "1,000"]], {0}).splitlines()
    assert lines == ["a          number", "x               1", "long name   1,000"]


def test_markdown_has_a_line_per_row() -> None:
    lines = markdown(rows()).splitlines()
    assert len(lines) == 2 + 3
    assert len({line.count("|") for line in lines}) == 1
    assert lines[0].count("|") == len(HEADINGS) + 1
