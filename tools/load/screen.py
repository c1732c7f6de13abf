"""What people see of a load in the terminal: a live table where rich is installed, else a line a second; the result."""

import math
from collections.abc import Mapping
from typing import Any, TextIO

from tools.load.figures import (
    MAX_HEADING,
    ROWS,
    Figures,
    Row,
    Unit,
    bottlenecks_of,
    cost_line,
    failures_of,
    format_value,
    get,
    groups,
    is_wrong,
    verdict,
)

MAX_SHOWN_TEXTS = 3
"""Of what is wrong so far, and of the bottlenecks. The result has them all."""
LAST_SECOND_COLUMNS = 76
"""A terminal at least this wide has room for the last second beside the figures so far."""
MIN_LIVE_ROWS = 4

SeriesItem = Mapping[str, Any] | None
"""One second of the series; None or empty before the first is over."""
_RED, _YELLOW, _GREEN, _DIM, _BOLD = "bold red", "yellow", "bold green", "dim", "bold"


def plain_line(figures: Figures, item: SeriesItem, progress: float, phase: str, left_s: float) -> str:
    """Write a second as one line."""
    now = item or {}
    parts = [
        f"{_number(now.get('t')):>5} s",
        f"{phase:9}",
        f"{_percent(progress):>3} %",
        f"players {_number(now.get('players'))}",
        f"datagrams/s {_number(now.get('datagrams_up'))} up {_number(now.get('datagrams_down'))} down",
        f"delivered {format_value(now.get('delivered_share'), Unit.SHARE)}",
        f"state age p99 {format_value(now.get('state_age_p99_ms'), Unit.MS)}",
        f"relay {format_value(now.get('relay_cpu_percent'), Unit.CPU_PERCENT)}",
        format_left(left_s),
    ]
    failures = failures_of(figures)
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        parts.append(f"WRONG: {failures[0]}{more}")
    return "  ".join(part for part in parts if part)


def format_left(left_s: float) -> str:
    """Write the time left. Returns: empty if it is not known (infinite)."""
    if not math.isfinite(left_s):
        return ""
    seconds = max(0, math.ceil(left_s))
    if seconds < 120:
        return f"{seconds} s left"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min left" if hours else f"{minutes} min {seconds} s left"


def _number(value: Any) -> str:
    return format_value(value, Unit.COUNT)


def _percent(progress: float) -> int:
    return math.floor(min(max(progress, 0.0), 1.0) * 100)


class PlainScreen:
    """Prints a line per item of the series, that is one a second."""

    interval_s = 1.0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown_t: Any = None

    def __enter__(self) -> "PlainScreen":
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def show(self, figures: Figures, item: SeriesItem, progress: float, phase: str, left_s: float) -> None:
        """Print a line, unless there is one for this second; flushed, for whoever reads a pipe."""
        t = get(item, "t")
        if t is not None and t == self._shown_t:
            return
        self._shown_t = t
        _print(plain_line(figures, item, progress, phase, left_s), self._stream)


class LiveScreen:
    """Redraws a table, a progress bar and what is wrong so far. Raises: ImportError where rich is missing."""

    interval_s = 0.5

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream, highlight=False)
        # Standard output stays alone: with --json it belongs to the one object.
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False)

    def __enter__(self) -> "LiveScreen":
        """Take over the terminal."""
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Give the terminal back; the last picture stays."""
        self._live.__exit__(*error)

    def show(self, figures: Figures, item: SeriesItem, progress: float, phase: str, left_s: float) -> None:
        """Draw a moment."""
        from rich.console import Group

        notes = _notes(figures)
        size = self._console.size
        fixed_lines = 3 + len(notes) + 1  # title, headings, progress; one below, where the cursor is
        table = _live_table(figures, item, size.width, max(MIN_LIVE_ROWS, size.height - fixed_lines))
        picture = Group(table, _progress(progress, phase, left_s), *notes)
        self._live.update(picture, refresh=True)


def _live_table(figures: Figures, item: SeriesItem, width: int, max_rows: int) -> Any:
    from rich.table import Table
    from rich.text import Text

    has_last_second = width >= LAST_SECOND_COLUMNS
    table = Table(title="tickrelay load (Ctrl-C ends it, with the figures so far)", title_justify="left", box=None)
    table.add_column("", no_wrap=True)
    table.add_column("so far", justify="right", no_wrap=True)
    if has_last_second:
        table.add_column("last second", justify="right", no_wrap=True)
    table.add_column("key in --json", overflow="fold", style=_DIM)
    for row in [row for row in ROWS if row.is_live][:max_rows]:
        style = _RED if is_wrong(row, figures) else ""
        cells = [row_heading(row), format_value(get(figures, row.key), row.unit)]
        if has_last_second:
            cells.append(format_value(get(item, row.series_key), row.unit) if row.series_key else "")
        table.add_row(*(Text(cell, style=style) for cell in cells), Text(row.key))
    return table


def row_heading(row: Row) -> str:
    """Write a heading that can stand without its group: "messages missing"."""
    stands_alone = row.group not in ("Players", "Messages", "Signals") or " " in row.heading
    text = row.heading if stands_alone else f"{row.group.lower()} {row.heading}"
    return text if len(text) <= MAX_HEADING else row.heading


def _progress(progress: float, phase: str, left_s: float) -> Any:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1), expand=False)
    grid.add_column(no_wrap=True)
    grid.add_column(width=20)
    grid.add_column(no_wrap=True)
    share = min(max(progress, 0.0), 1.0)
    grid.add_row(
        Text(phase, style=_BOLD),
        ProgressBar(total=1.0, completed=share, width=20),
        Text(f"{_percent(share)} %  {format_left(left_s)}".rstrip()),
    )
    return grid


def _notes(figures: Figures) -> list[Any]:
    """Build a line for each thing that is wrong so far and each bottleneck, cut at the edge of the terminal."""
    from rich.text import Text

    notes = []
    for texts, style in ((failures_of(figures), _RED), (bottlenecks_of(figures), _YELLOW)):
        notes += [Text(text, style=style, no_wrap=True, overflow="ellipsis") for text in texts[:MAX_SHOWN_TEXTS]]
        if len(texts) > MAX_SHOWN_TEXTS:
            notes.append(Text(f"... and {len(texts) - MAX_SHOWN_TEXTS} more", style=style))
    return notes


def open_screen(is_terminal: bool, stream: TextIO) -> PlainScreen | LiveScreen:
    """Choose: live on a terminal with rich, a line a second otherwise."""
    if is_terminal:
        try:
            return LiveScreen(stream)
        except ImportError:
            _print("(install rich for a live table: pip install 'tickrelay[all]')", stream)
    return PlainScreen(stream)


# --- The result


def print_result(figures: Figures, stream: TextIO) -> None:
    """Print every figure, the cost, what held the load back, and last, where the eye is, the verdict."""
    for text, style in result_lines(figures):
        _print(text, stream, style)


def result_lines(figures: Figures) -> list[tuple[str, str]]:
    """Write the result. Returns: (line, style of rich, may be empty) in order."""
    lines = _table_lines(figures)
    cost = cost_line(figures)
    if cost:
        lines += [("", ""), (cost, "")]
    bottlenecks = bottlenecks_of(figures)
    if bottlenecks:
        lines += [
            ("", ""),
            ("The load generator was held back, so the relay may be better than these figures:", _YELLOW),
        ]
        lines += [(f"  - {text}", _YELLOW) for text in bottlenecks]
    has_passed = verdict(figures) == "PASSED"
    lines += [("", ""), (verdict(figures), _GREEN if has_passed else _RED)]
    lines += [(f"  - {text}", _RED) for text in failures_of(figures)]
    return lines


def _table_lines(figures: Figures) -> list[tuple[str, str]]:
    cells = {row.key: format_value(get(figures, row.key), row.unit) for row in ROWS}
    width = max(len(cell) for cell in cells.values())
    lines: list[tuple[str, str]] = []
    for group, rows in groups().items():
        lines += [("", ""), (group, _BOLD)]
        for row in rows:
            text = f"{row.heading:{MAX_HEADING}}  {cells[row.key]:>{width}}  {row.key}"
            lines.append((text, _RED if is_wrong(row, figures) else ""))
    return lines[1:]


def _print(text: str, stream: TextIO, style: str = "") -> None:
    """Print a line, in colour where the stream is a terminal and rich is installed."""
    # At the end of an hour's run a name that this terminal cannot write must not cost the result.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    if style and stream.isatty():
        try:
            from rich.console import Console
            from rich.text import Text
        except ImportError:
            pass  # colour is all that is missing then
        else:
            Console(file=stream, highlight=False).print(Text(text, style=style))
            return
    print(text, file=stream, flush=True)
