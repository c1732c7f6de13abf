"""Views with something for every datagram."""

from collections.abc import Callable, Sequence

from tools.dump.pipeline import chosen
from tools.dump.sessions import Batch
from tools.dump.views import HEADING, Printer, hex_of, line_of, object_of, structure_of


class LineView:
    """A line per datagram, with its structure or its bytes below if asked."""

    def __init__(
        self, printer: Printer, begin_s: Callable[[], float], *, with_structure: bool = False, with_hex: bool = False
    ) -> None:
        """Begin.

        Args:
            printer: Where to.
            begin_s: Tells when the first datagram was seen, seconds since 1970.
            with_structure: Every field follows each line.
            with_hex: Every field with its bytes follows each line.
        """
        self._printer = printer
        self._begin_s = begin_s
        self._with_structure = with_structure
        self._with_hex = with_hex
        self._has_heading = False

    def take(self, batch: Batch, kept: Sequence[bool] | None) -> None:
        """Print those that the filter lets pass."""
        for seen in chosen(batch, kept):
            if not self._has_heading:
                self._has_heading = True
                self._printer.print([(HEADING, "bold")])
            self._printer.print(line_of(seen, self._begin_s()))
            if self._with_hex:
                for text in hex_of(seen):
                    self._printer.print(text)
            elif self._with_structure:
                for text in structure_of(seen):
                    self._printer.print(text)
        self._printer.flush()

    def finish(self) -> None:
        """Nothing is left to show."""


class JsonView:
    """An object per datagram, one a line."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer

    def take(self, batch: Batch, kept: Sequence[bool] | None) -> None:
        """Print those that the filter lets pass."""
        for seen in chosen(batch, kept):
            self._printer.print_object(object_of(seen))
        self._printer.flush()

    def finish(self) -> None:
        """Nothing is left to show."""
