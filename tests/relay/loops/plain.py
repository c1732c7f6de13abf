"""The loops as the plain Python that they are written in, so that a test may put a wrong helper into them.

The compiled loops have their helpers within them; here each helper is a function that can be replaced by name.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from relay.loops import arrays, bits, delivery, intake, messages, packing, pages, parts, sending, signals, stages

MODULES = (bits, parts, sending, intake, pages, packing, delivery, signals, messages)
"""In order of their imports of each other."""
ENTRY_POINTS = (
    (intake, "take_in"),
    (sending, "find_overdue"),
    (sending, "plan"),
    (pages, "due_pages"),
    (packing, "build"),
    (delivery, "gather"),
    (signals, "accept"),
    (messages, "accept"),
)
"""What `LoopStages` calls."""

Spaces = dict[str, dict[str, Any]]
"""Module's last name -> the globals of its functions."""


class _PlainBox:
    """Stands for `arrays.Box`; its records have attributes as they have in compiled code."""

    def __init__(self, value: Any) -> None:
        self.value = _with_attributes(value)


def _with_attributes(value: Any) -> Any:
    if isinstance(value, tuple):
        return type(value)(*(_with_attributes(part) for part in value))  # type: ignore[call-arg]
    return _Records(value) if value.dtype.names else value


class _Records:
    """An array of records with attributes. (Those of numpy have no `flags` and `size` of their own.)"""

    def __init__(self, array: npt.NDArray[np.void]) -> None:
        self._array = array

    def __getitem__(self, k: int) -> "_Record":
        return _Record(self._array[k])


class _Record:
    def __init__(self, record: np.void) -> None:
        object.__setattr__(self, "_record", record)

    def __getattr__(self, name: str) -> Any:
        return self._record[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self._record[name] = value


def uncompiled() -> Spaces:
    """Build every function of the loops anew without numba."""
    spaces: Spaces = {}
    functions: dict[int, FunctionType] = {}
    for module in MODULES:
        space = spaces[module.__name__.rpartition(".")[2]] = dict(vars(module))
        for name, value in vars(module).items():
            if hasattr(value, "py_func"):
                if id(value) not in functions:
                    functions[id(value)] = FunctionType(value.py_func.__code__, space, name)
                space[name] = functions[id(value)]
    return spaces


@contextmanager
def plain_loops(*wrong: tuple[str, str, Callable[..., Any]]) -> Iterator[None]:
    """Let `LoopStages` that are built and used within run as plain Python.

    Args:
        wrong: (module, helper, what stands for it; it is given the right one first).
    """
    spaces = uncompiled()
    for module, name, fault in wrong:
        spaces[module][name] = _spoiled(fault, spaces[module][name])
    with pytest.MonkeyPatch.context() as patch:
        for box_user in (arrays, stages, signals):
            patch.setattr(box_user, "Box", _PlainBox)
        for owner, name in ENTRY_POINTS:
            patch.setattr(owner, name, spaces[owner.__name__.rpartition(".")[2]][name])
        yield


def _spoiled(fault: Callable[..., Any], right: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: fault(right, *args)
