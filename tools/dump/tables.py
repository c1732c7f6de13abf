"""Tables for people: drawn by rich on a terminal where it is installed, in plain columns otherwise."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TextIO

GAP = 2
"""Spaces between columns."""


class Table(NamedTuple):
    """A title, headings and cells. Columns whose heading begins with "<" are aligned to the left."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_names: int = 1
    """Leading columns that tell what a row is of. A table wider than the terminal comes in parts, each with these; the
    last of them is what people copy, so it is never cut."""


def print_table(table: Table, stream: TextIO) -> None:
    """Print a table with an empty line before it."""
    if stream.isatty():
        try:
            _print_with_rich(table, stream)
            return
        except ImportError:
            pass  # looks are all that is missing then
    text = f"\n{table.title}\n{plain_text(table)}\n"
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def plain_text(table: Table) -> str:
    """Write headings and cells in aligned columns."""
    lefts = [heading.startswith("<") for heading in table.headings]
    rows = [[heading.removeprefix("<") for heading in table.headings], *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(lefts))]
    lines = [
        (" " * GAP).join(
            cell.ljust(width) if left else cell.rjust(width) for cell, width, left in zip(row, widths, lefts)
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def parts_of(table: Table, width: int, width_of: Callable[[str], int] = len) -> list[Table]:
    """Split a table into ones that fit a terminal as far as their columns allow.

    Args:
        table: Of any width.
        width: Of the terminal, characters.
        width_of: Tells how wide a cell is on it.
    Returns: at least one; each has the columns that name its rows, and at least one more if there are more.
    """
    headings = [heading.removeprefix("<") for heading in table.headings]
    widths = [max(map(width_of, column)) for column in zip(headings, *table.rows)]
    names = list(range(min(table.num_names, len(widths))))
    parts: list[list[int]] = [list(names)]
    for column in range(len(names), len(widths)):
        taken = sum(widths[i] + GAP for i in parts[-1])
        if len(parts[-1]) > len(names) and taken + widths[column] > width:
            parts.append(list(names))
        parts[-1].append(column)
    return [
        Table(
            table.title if number == 0 else "",
            [table.headings[i] for i in columns],
            [[row[i] for i in columns] for row in table.rows],
            table.num_names,
        )
        for number, columns in enumerate(parts)
    ]


def _print_with_rich(table: Table, stream: TextIO) -> None:
    """Draw with rich. Raises: ImportError where it is not installed."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    for part in parts_of(table, console.width, cell_len):
        drawn = RichTable(
            title=part.title or None, title_justify="left", box=None, header_style="bold", pad_edge=False,
            padding=(0, GAP - 1, 0, 1),
        )  # fmt: skip
        for number, heading in enumerate(part.headings, 1):
            drawn.add_column(
                heading.removeprefix("<"),
                justify="left" if heading.startswith("<") else "right",
                no_wrap=number == part.num_names,
                overflow="fold",
            )
        for row in part.rows:
            drawn.add_row(*map(Text, row))
        console.print()
        console.print(drawn)
