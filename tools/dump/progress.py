"""A progress bar on a terminal, while a large capture is read."""

from types import TracebackType
from typing import Any, Self, TextIO


class Progress:
    """Shows how far it is, by rich. Without rich, a terminal, or an end that is known, it shows nothing."""

    def __init__(self, stream: TextIO, text: str, *, is_wanted: bool = True) -> None:
        """Prepare it.

        Args:
            stream: Where to.
            text: What stands before the bar.
            is_wanted: False where other lines go to the same terminal meanwhile: each would wipe out the other.
        """
        self._bar: Any = None
        self._task: Any = None
        if is_wanted and stream.isatty():
            try:
                from rich.console import Console
                from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
            except ImportError:
                return
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(file=stream), transient=True)
            self._task = self._bar.add_task(text, total=1.0)

    def __enter__(self) -> Self:
        """Show it."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar.stop()

    def show(self, share: float | None) -> None:
        """Draw a share of 0 to 1; None if it is not known."""
        if self._bar is not None and share is not None:
            self._bar.update(self._task, completed=share)
