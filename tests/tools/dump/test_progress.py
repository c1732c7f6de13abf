"""The progress bar."""

import io
import sys

import pytest

from tests.tools.dump.test_views import Terminal
from tools.dump.progress import Progress


def drawn(stream: io.StringIO, is_wanted: bool = True) -> str:
    with Progress(stream, "large.pcap", is_wanted=is_wanted) as progress:
        for share in (None, 0.0, 0.5, 1.0):
            progress.show(share)
    return stream.getvalue()


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    text = drawn(Terminal())
    assert "large.pcap" in text and "100%" in text


def test_a_pipe_and_a_terminal_without_rich_get_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(io.StringIO()) == drawn(Terminal(), is_wanted=False) == ""
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert drawn(Terminal()) == ""
