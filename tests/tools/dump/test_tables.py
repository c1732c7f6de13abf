"""Tables with and without rich."""

import io
import sys

import pytest

from tests.tools.dump.test_views import Terminal
from tools.dump.tables import Table, plain_text, print_table

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
