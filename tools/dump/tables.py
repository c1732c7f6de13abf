"""Tables for people: drawn by rich on a terminal where it is installed, in plain columns otherwise."""

from collections.abc import Sequence
from typing import NamedTuple, TextIO


class Table(NamedTuple):
    """A title, headings and cells. Columns whose heading begins with "<" are aligned to the left."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


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
        "  ".join(cell.ljust(width) if left else cell.rjust(width) for cell, width, left in zip(row, widths, lefts))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _print_with_rich(table: Table, stream: TextIO) -> None:
    """Draw with rich. Raises: ImportError where it is not installed."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=table.title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in table.headings:
        drawn.add_column(heading.removeprefix("<"), justify="left" if heading.startswith("<") else "right")
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    console = Console(file=stream, highlight=False)
    console.print()
    console.print(drawn)
