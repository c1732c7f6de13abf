"""What a load looks like in a terminal and in a pipe."""

import builtins
import io
import math
from typing import Any

import pytest

from tests.tools.load.samples import HOSTILE_NAME, failed_figures, sample_figures, sample_series
from tests.tools.load.samples import unmeasured_figures as unmeasured
from tools.load.figures import ROWS, failures_of, format_value, get
from tools.load.screen import LiveScreen, PlainScreen, format_left, open_screen, plain_line, print_result

ITEM = sample_series()[30]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def no_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fake(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("rich"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fake)


def live_picture(monkeypatch: pytest.MonkeyPatch, figures: Any, item: Any, columns: int, lines: int = 50) -> list[str]:
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(lines))
    stream = io.StringIO()
    with open_screen(True, stream) as screen:
        assert isinstance(screen, LiveScreen)
        screen.show(figures, item, 0.404, "load", 75.0)
    return stream.getvalue().split("\n")


# --- Plain lines


def test_a_line_has_what_somebody_watches() -> None:
    assert plain_line(sample_figures(), ITEM, 0.404, "load", 75.0) == (
        "   31 s  load        40 %  players 64  datagrams/s 1,919 up 1,984 down  delivered 100 %  "
        "state age p99 34.7 ms  relay 11.9 %  75 s left"
    )


def test_a_line_says_what_is_wrong() -> None:
    line = plain_line(failed_figures(), ITEM, 0.4, "load", 75.0)
    assert line.endswith(f"WRONG: {failures_of(failed_figures())[0]} (and 1 more)")
    assert line.isprintable()


@pytest.mark.parametrize("item", [None, {}, {"t": None, "players": math.nan}])
def test_before_the_first_second_there_are_dashes(item: Any) -> None:
    assert "players -  datagrams/s - up - down" in plain_line(unmeasured(), item, 0.0, "ramp-up", 60.0)


@pytest.mark.parametrize(
    ("left_s", "text"),
    [
        (47.2, "48 s left"),
        (-3.0, "0 s left"),
        (125.0, "2 min 5 s left"),
        (3720.0, "1 h 2 min left"),
        (math.inf, ""),
        (math.nan, ""),
    ],
)
def test_the_time_left_is_written_for_people(left_s: float, text: str) -> None:
    assert format_left(left_s) == text


def test_without_a_terminal_there_is_a_line_per_second() -> None:
    stream = io.StringIO()
    with open_screen(False, stream) as screen:
        assert isinstance(screen, PlainScreen)
        for item in [None, *sample_series()[:3], sample_series()[2]]:
            screen.show(sample_figures(), item, 0.1, "ramp-up", 60.0)
    assert [line[:7] for line in stream.getvalue().splitlines()] == ["    - s", "    1 s", "    2 s", "    3 s"]


def test_without_rich_there_are_plain_lines_and_a_hint(no_rich: None) -> None:
    stream = Terminal()
    assert isinstance(open_screen(True, stream), PlainScreen)
    assert "install rich" in stream.getvalue()


# --- The live table


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_live_table_has_the_figures_with_their_keys(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    figures = sample_figures()
    lines = live_picture(monkeypatch, figures, ITEM, columns)
    assert max(map(len, lines)) <= columns
    for row in ROWS:
        found = [line.split() for line in lines if line.split()[-1:] == [row.key]]
        assert len(found) == row.is_live
        if row.is_live:
            assert format_value(get(figures, row.key), row.unit) in " ".join(found[0])


def test_a_wide_terminal_has_the_last_second_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = "\n".join(live_picture(monkeypatch, sample_figures(), ITEM, 80))
    narrow = "\n".join(live_picture(monkeypatch, sample_figures(), ITEM, 60))
    assert "last second" in wide and "34.7 ms" in wide
    assert "last second" not in narrow and "34.7 ms" not in narrow


def test_the_live_table_shows_phase_progress_and_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = "\n".join(live_picture(monkeypatch, failed_figures(), ITEM, 120))
    assert "40 %  75 s left" in shown
    for text in [*failures_of(failed_figures()), "sysctl -w net.core.rmem_max=8388608"]:
        assert text in shown


def test_what_is_wrong_is_cut_to_a_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = sample_figures(passed=False, failures=[f"failure {i} " + "long " * 30 for i in range(9)])
    lines = live_picture(monkeypatch, figures, ITEM, 60)
    assert sum(line.startswith("failure") for line in lines) == 3
    assert "... and 6 more" in "\n".join(lines)
    assert max(map(len, lines)) <= 60


def test_a_usual_terminal_is_high_enough_and_a_low_one_has_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    num_live = sum(row.is_live for row in ROWS)
    usual = live_picture(monkeypatch, sample_figures(), ITEM, 80, 24)
    low = live_picture(monkeypatch, failed_figures(), ITEM, 80, 15)
    assert len(usual) < 24 and sum("." in line or "_" in line for line in usual) >= num_live - 2
    assert len(low) < 15 and any("left" in line for line in low)


@pytest.mark.parametrize("item", [None, {}])
def test_the_live_table_needs_no_figure(monkeypatch: pytest.MonkeyPatch, item: Any) -> None:
    assert any("delivered_share" in line for line in live_picture(monkeypatch, unmeasured(), item, 80))


def test_what_is_wrong_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    for name, value in {"COLUMNS": "80", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    with open_screen(True, stream) as screen:
        screen.show(failed_figures(), ITEM, 0.4, "load", 75.0)
    assert "\x1b[1;31mno convergence" in stream.getvalue()
    assert "\x1b[31m\x00" not in stream.getvalue()  # the one in the name


def test_standard_output_stays_free_for_the_json_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with open_screen(True, stream) as screen:
        screen.show(sample_figures(), ITEM, 0.4, "load", 75.0)
        print('{"one": "object"}')
    assert capsys.readouterr().out == '{"one": "object"}\n'
    assert "object" not in stream.getvalue()


# --- The result


def test_the_result_has_every_figure_with_its_key() -> None:
    stream = io.StringIO()
    print_result(sample_figures(), stream)
    lines = stream.getvalue().splitlines()
    for row in ROWS:
        assert [line for line in lines if line.split()[-1:] == [row.key]], row.key
    assert "state age p99           35.6 ms  state_age_ms.p99" in lines
    assert max(map(len, lines)) <= 80
    assert "a player costs 37 MB an hour; 64 players for a month: 1.7 TB" in lines
    assert lines[-1] == "PASSED"


def test_a_failed_result_ends_with_every_failure_after_every_bottleneck() -> None:
    stream = io.StringIO()
    print_result(failed_figures(), stream)
    lines = stream.getvalue().splitlines()
    verdict_at = lines.index("FAILED")
    assert lines[verdict_at + 1 :] == [f"  - {text}" for text in failures_of(failed_figures())]
    assert any("rmem_max" in line for line in lines[:verdict_at])
    assert HOSTILE_NAME not in stream.getvalue() and all(line.isprintable() for line in lines)


def test_a_result_without_figures_has_dashes_and_no_cost() -> None:
    stream = io.StringIO()
    print_result(unmeasured(), stream)
    assert "a player costs" not in stream.getvalue()
    assert stream.getvalue().count("  -  ") >= len(ROWS) - 1


def test_on_a_narrow_terminal_the_result_is_folded_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    for name, value in {"COLUMNS": "60", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    print_result(failed_figures(), stream)
    assert "\x1b[1;31mFAILED\x1b[0m" in stream.getvalue()
    plain = stream.getvalue().replace("\x1b[33m", "").replace("\x1b[1;31m", "").replace("\x1b[1m", "")
    assert max(map(len, plain.replace("\x1b[0m", "").splitlines())) <= 60


def test_without_rich_the_result_of_a_terminal_is_plain(no_rich: None) -> None:
    stream = Terminal()
    print_result(failed_figures(), stream)
    assert "\nFAILED\n" in stream.getvalue() and "\x1b" not in stream.getvalue()


def test_a_stream_that_can_not_write_a_name_still_gets_the_result() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_result(sample_figures(passed=False, failures=["room 猫"]), stream)
    stream.flush()
    assert raw.getvalue().decode().splitlines()[-1] == "  - room \\u732b"
