"""Tables with and without rich."""

import io
import re
import sys

import pytest

from tests.tools.dump.test_views import Terminal
from tools.dump.tables import Table, parts_of, plain_text, print_table

TABLE = Table("Title", ("<who", "bytes"), [("Ada", "1,000"), ("[b]Bob[/b]", "5")])


def test_plain_columns_are_aligned() -> None:
    assert plain_text(TABLE) == "who         bytes\nAda         1,000\n[b]Bob[/b]      5"


def test_a_pipe_gets_the_title_and_plain_columns() -> None:
    stream = io.StringIO()
    print_table(TABLE, stream)
    assert stream.getvalue() == f"\nTitle\n{plain_text(TABLE)}\n"


def test_a_terminal_gets_them_drawn_and_markup_of_names_stays_text() -> None:
    pytest.importorskip("rich")
    stream = Terminal()
    print_table(TABLE, stream)
    assert "[b]Bob[/b]" in stream.getvalue() and "Title" in stream.getvalue()


def test_without_rich_a_terminal_gets_plain_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    stream = Terminal()
    print_table(TABLE, stream)
    assert plain_text(TABLE) in stream.getvalue()


IDS = [f"0x{number:016x}" for number in range(0x0EDF4EF06BF15CF7, 0x0EDF4EF06BF15CFA)]
WIDE = Table(
    "Wide",
    ("<room", "<player", "<session", *(f"column {i}" for i in range(11))),
    [(f"LOAD-{i}", "a name of " + "much " * (10 * i), id_, *(f"{i}.{j} / 100.5" for j in range(11)))
     for i, id_ in enumerate(IDS)],
    num_names=3,
)  # fmt: skip


@pytest.mark.parametrize("columns", [40, 80, 120, 400])
def test_what_names_a_row_is_never_cut_however_narrow_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    print_table(WIDE, stream)
    shown = stream.getvalue()
    parts = list(shown.split("session")[1:])
    assert all(id_ in part for id_ in IDS for part in parts) and "…" not in shown
    assert all(len(line) <= columns for line in re.sub("\x1b[^m]*m", "", shown).splitlines())


def test_parts_have_every_column_once_behind_those_that_name_the_rows() -> None:
    for width in (1, 60, 100, 10_000):
        parts = parts_of(WIDE, width)
        assert [heading for part in parts for heading in part.headings[3:]] == list(WIDE.headings[3:])
        assert all(part.headings[:3] == list(WIDE.headings[:3]) and len(part.headings) > 3 for part in parts)
        assert [part.title for part in parts] == ["Wide"] + [""] * (len(parts) - 1)
    assert len(parts) == 1 and parts_of(Table("", (), []), 80)
