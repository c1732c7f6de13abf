"""Proxy mode, where it ends otherwise than by Ctrl-C."""

import errno

import pytest

from tools import dump


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 0, ""),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "cannot write the output: No space left on device"),
    ],
)
def test_an_output_that_fails_is_not_taken_for_a_port_that_does(
    error: OSError, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def show(*_: object) -> None:
        raise error

    monkeypatch.setattr(dump.WatchingProxy, "watch", show)
    assert dump.main(["--proxy", "127.0.0.1:0", "--to", "127.0.0.1:9"], {}) == code
    started, *rest = capsys.readouterr().err.splitlines()
    assert started.startswith("Point the game at ") and rest == ([f"tickrelay dump: {words}"] if words else [])
