"""Logs that a stranger can cause are held to a rate."""

import logging

import pytest

from relay.quietlog import QuietLog

logger = logging.getLogger("tickrelay.test")


def test_lines_beyond_the_rate_are_kept_back_and_told_later(caplog: pytest.LogCaptureFixture) -> None:
    quiet = QuietLog(logger, 2)
    with caplog.at_level(logging.INFO):
        for number in range(5):
            quiet.log(10.0 + number / 10, logging.INFO, f"line {number}")
        assert caplog.messages == ["line 0", "line 1"]
        assert quiet.num_kept_back == 3
        quiet.log(11.0, logging.INFO, "line 5")
    assert caplog.messages[2:] == ["(3 more lines like the following were kept back)", "line 5"]
    assert quiet.num_kept_back == 0


def test_an_error_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise KeyError("lost")
    except KeyError as error:
        QuietLog(logger, 1).log(0.0, logging.ERROR, "trouble: 100 %", error)
    assert "trouble: 100 %" in caplog.text and "KeyError: 'lost'" in caplog.text
