"""What the demo shows."""

import builtins
from typing import Any

import pytest

from tools import demo_view
from tools.demo_view import LiveScreen, PlainScreen, RoomView, View, draw_map, open_screen, plain_line

ROOM = RoomView("LOBBY", 6, 1.25, 12, "Ada: [hello]", [("Ada", -1.0, -1.0), ("Bo", 1.0, 1.0), ("far", 5.0, 0.0)])
VIEW = View(3.0, [ROOM, ROOM], 12, 360.4, 359.6, 1.25, 0.4217, 3, 30)


def test_a_line_has_everything_a_user_asks_for() -> None:
    assert plain_line(VIEW) == (
        "   3 s  rooms 2  players 12  datagrams/s 360 in 360 out  round trip 1.2 ms  tick 0.42 ms  load 3 %"
    )


def test_what_is_not_known_yet_is_a_dash() -> None:
    assert "round trip -" in plain_line(View(0.0, [], 0, 0, 0, None, 0, 0, 30))


def test_a_map_shows_who_is_where() -> None:
    rows = draw_map(ROOM.positions).split("\n")
    assert len(rows) == demo_view.MAP_ROWS
    assert all(len(row) == demo_view.MAP_COLUMNS for row in rows)
    assert rows[0][0] == "A" and rows[-1][-1] == "B"
    assert "f" not in "".join(rows)


def test_without_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with open_screen(is_terminal=False) as screen:
        assert isinstance(screen, PlainScreen)
        screen.show(VIEW)
    assert capsys.readouterr().out == plain_line(VIEW) + "\n"


def test_without_rich_there_are_plain_lines_and_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def no_rich(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("rich"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_rich)
    assert isinstance(open_screen(is_terminal=True), PlainScreen)
    assert "install rich" in capsys.readouterr().out


def test_on_a_terminal_there_is_a_table_and_a_map_of_each_room(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    with open_screen(is_terminal=True) as screen:
        assert isinstance(screen, LiveScreen)
        screen.show(VIEW)
    shown = capsys.readouterr().out
    for words in ("LOBBY", "1.2 ms", "Ada: [hello]", "360 datagrams/s in", "0.42 ms at 30 ticks/s"):
        assert words in shown
