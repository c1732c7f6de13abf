"""Log lines that somebody outside can cause, held to a rate: a log must not become the way to fill a disk."""

import logging


class QuietLog:
    """Passes at most `lines_per_s` lines on and tells later how many it kept back."""

    def __init__(self, logger: logging.Logger, lines_per_s: int) -> None:
        """Wrap `logger`; bursts of one second are allowed."""
        self.num_kept_back = 0
        """Lines not passed on since the last one that was."""
        self._logger = logger
        self._lines_per_s = lines_per_s
        self._second = -1
        self._num_lines = 0

    def log(self, now: float, level: int, text: str, error: BaseException | None = None) -> None:
        """Log a line, with the traceback of `error` if there is one, or keep it back and count it."""
        if int(now) != self._second:
            self._second = int(now)
            self._num_lines = 0
        if self._num_lines >= self._lines_per_s:
            self.num_kept_back += 1
            return
        self._num_lines += 1
        if self.num_kept_back:
            self._logger.log(level, "(%d more lines like the following were kept back)", self.num_kept_back)
            self.num_kept_back = 0
        self._logger.log(level, "%s", text, exc_info=error)
