"""Columns of a table as what a compiled loop takes: a named tuple of arrays."""

from typing import Any

from relay.columns import Columns


class Arrays:
    """Some columns of a table. A loop is handed those it uses and no more: each costs 0.1 us a call (measured)."""

    def __init__(self, table: Columns, columns: Any) -> None:
        """Choose columns. `columns` is a named tuple class whose fields are names of columns.

        It must stand in a module, or compiled code could not be found again by it.
        """
        self._table = table
        self._columns = columns
        self._rows = -1
        self._arrays: Any = None

    def get(self) -> Any:
        """Return the columns as they are now; they are replaced when the table grows."""
        if self._rows != self._table.rows:
            self._rows = self._table.rows
            self._arrays = self._columns(*(getattr(self._table, name) for name in self._columns._fields))
        return self._arrays
