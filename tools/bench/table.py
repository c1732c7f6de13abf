"""The table of a run, for people: drawn by rich where that is installed, in plain columns otherwise."""

from collections.abc import Mapping, Sequence
from io import StringIO

from tools.bench.results import Row

HEADINGS = (
    "row", "players", "shape", "us per\nplayer-tick", "spread", "to\nfloor", "relay\nCPU %", "load\nCPU %",
    "delivered", "state age\np99 ms", "message\np99 ms", "bytes per\nplayer-s",
    "datagrams\ndown", "RSS\nMiB", "",
)  # fmt: skip
_TEXT_COLUMNS = frozenset({0, 2, len(HEADINGS) - 1})
"""Aligned to the left; the others are numbers."""

Changes = Mapping[tuple[str, int, str], float]


def table_text(rows: Sequence[Row], changed: Changes | None = None, width: int = 180) -> str:
    """Draw the table.

    Args:
        changed: What `results.changes` found; then there is a column for it.
        width: Columns of the terminal; only rich uses it.
    """
    headings = [*HEADINGS[:4], "change", *HEADINGS[4:]] if changed is not None else list(HEADINGS)
    lines = []
    for row in rows:
        cells = _cells(row)
        if changed is not None:
            change = changed.get((row.name, row.players, row.shape))
            cells.insert(4, "-" if change is None else f"{change:+.1%}")
        lines.append(cells)
    left = {0, 2, len(headings) - 1}
    try:
        return _with_rich(headings, lines, left, width)
    except ImportError:
        return plain(headings, lines, left)


def _cells(row: Row) -> list[str]:
    spread = "-" if row.spread is None else f"{row.spread:.1%}" + ("*" if row.spread_of == "thirds" else "")
    return [
        row.name,
        f"{row.players:,}",
        row.shape or "-",
        _number(row.us_per_player_tick, 2),
        spread,
        _number(row.ratio_to_floor, 2),
        _number(row.cpu_percent, 1),
        _number(row.load_cpu_percent, 1),
        _number(row.delivered_share, 4),
        _number(row.state_age_p99_ms, 1),
        _number(row.message_p99_ms, 1),
        _number(row.bytes_per_player_s, 0),
        _number(row.datagrams_per_player_tick, 2),
        _number(row.rss_mib, 0),
        _remark(row),
    ]


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:,.{decimals}f}"


def _remark(row: Row) -> str:
    remarks = {"saturated": row.saturated, "held up": row.bottlenecks, "FAILED": row.failures}
    return ", ".join(word for word, applies in remarks.items() if applies)


def _with_rich(headings: Sequence[str], lines: Sequence[Sequence[str]], left: set[int], width: int) -> str:
    """Draw with rich. Raises: ImportError where it is not installed."""
    from rich.console import Console
    from rich.table import Table

    table = Table(header_style="bold")
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i in left else "right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    shown = StringIO()
    Console(file=shown, width=width, no_color=True).print(table)
    return shown.getvalue().rstrip("\n")


def plain(headings: Sequence[str], lines: Sequence[Sequence[str]], left: set[int]) -> str:
    """Write aligned columns."""
    flat = [heading.replace("\n", " ") for heading in headings]
    widths = [max(len(line[i]) for line in [flat, *lines]) for i in range(len(flat))]
    shown = [
        "  ".join(cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths)))
        for line in [flat, *lines]
    ]
    return "\n".join(line.rstrip() for line in shown)


def markdown(rows: Sequence[Row]) -> str:
    """Write the table as tools/bench/README.md has it."""
    headings = [heading.replace("\n", " ") for heading in HEADINGS[:-1]] + ["remark"]
    rule = ["---" if i in _TEXT_COLUMNS else "---:" for i in range(len(headings))]
    return "\n".join("| " + " | ".join(line) + " |" for line in [headings, rule, *map(_cells, rows)])
