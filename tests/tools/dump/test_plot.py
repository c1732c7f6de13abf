"""Pictures over time."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.tools.dump.made import Game, Packet, chatter
from tests.tools.dump.reading import run_views
from tools.cli import UsageError
from tools.dump.datagrams import Direction
from tools.dump.plot import PlotView, draw

matplotlib = pytest.importorskip("matplotlib")


def game_with_a_bad_second() -> list[Packet]:
    """Three seconds; in the second one half of all is lost."""
    game = Game(2, seed=4).run(1.0, chatter)
    game.loss_up = game.loss_down = 0.5
    game.run(1.0, chatter)
    game.loss_up = game.loss_down = 0.0
    return game.run(1.0, chatter).capture


@pytest.mark.parametrize("ending", ["png", "html"])
def test_a_file_of_each_kind_is_written(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out.{ending}"
    run_views(game_with_a_bad_second(), PlotView(str(path))).finish()
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG" if ending == "png" else b"<!DOCTYPE html>") and len(data) > 20_000
    if ending == "html":
        assert b"<svg" in data and b"<script" not in data


def test_the_lines_show_what_happened(tmp_path: Path) -> None:
    view = PlotView(str(tmp_path / "out.png"))
    run_views(game_with_a_bad_second(), view)
    trips, loss, ages, sizes = view.draw().axes
    lines = {line.get_label(): line.get_data() for line in loss.get_lines()}
    x, up = lines["up"]
    inside = (x > 1.2) & (x < 1.9)
    assert np.nanmean(up[inside]) > 25 > 5 > np.nanmean(up[(x > 0.3) & (x < 0.9)])
    p50 = {line.get_label(): line.get_data()[1] for line in trips.get_lines()}["to the client, p50"]
    assert np.nanmedian(p50) == pytest.approx(50, abs=8)
    age = {line.get_label(): line.get_data() for line in ages.get_lines()}["p50"]
    assert np.nanmax(age[1][(age[0] > 1) & (age[0] < 2.2)]) > np.nanmedian(age[1])
    assert all(np.nanmax(line.get_data()[1]) > 0.5 for line in sizes.get_lines())


def test_loss_behind_the_capture_is_drawn_when_it_happened(tmp_path: Path) -> None:
    view = PlotView(str(tmp_path / "out.png"))
    packets = game_with_a_bad_second()
    run_views(packets, view)
    x, down = {line.get_label(): line.get_data() for line in view.draw().axes[1].get_lines()}["down"]
    assert np.nanmean(down[(x > 1.2) & (x < 1.9)]) > 25 and np.nanmax(down[(x > 0.3) & (x < 0.9)]) == 0


def test_a_point_between_two_gaps_is_marked(tmp_path: Path) -> None:
    packets = Game(1).run(1.0, chatter).capture
    alone = packets[-1].time_s + 20.0
    view = PlotView(str(tmp_path / "out.png"))
    run_views(
        [*packets, *(packet._replace(time_s=alone) for packet in Game(1, seed=7).run(0.5, chatter).capture)], view
    )
    x, y = (line := view.draw().axes[1].get_lines()[0]).get_data()
    assert line.get_marker() == "." and line.get_markevery()[-1] and not np.isnan(y[-1]) and np.isnan(y[-2])
    assert not line.get_markevery()[(x > 0.2) & (x < 0.9)].any()


def test_nothing_at_all_is_an_empty_picture() -> None:
    names = ("time_s", "bytes", "expected", "came", "round_trip_ms", "lost_s")
    columns = {way: {name: np.zeros(0) for name in names} for way in (Direction.UP, Direction.DOWN)}
    assert len(draw(columns, {"time_s": np.zeros(0), "age_ms": np.zeros(0)}).axes) == 4


@pytest.mark.parametrize(
    ("name", "words"),
    [("out.pdf", "permitted: a file that ends in .png or .html"), ("no/out.png", "there is no folder")],
)
def test_a_file_that_cannot_be_is_named_before_anything_is_read(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        PlotView(str(tmp_path / name))


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match="needs matplotlib"):
        PlotView(str(tmp_path / "out.png"))
