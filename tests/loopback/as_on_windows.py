"""Runs pytest with what Windows does not have taken away: uvloop, libc's recvmmsg, resource, fcntl, signal handlers of
the loop, and its watching of plain file descriptors.

    python tests/loopback/as_on_windows.py tests/loopback/test_relay.py

What is left out of it: the Proactor loop itself, which exists on Windows only.
"""

import asyncio
import ctypes
import sys
from typing import Any, NoReturn

import pytest

MISSING_MODULES = ("uvloop", "resource", "fcntl")


class LibcWithout:
    """A C library that has neither recvmmsg nor sendmmsg."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Load nothing."""


def unavailable(*args: Any, **kwargs: Any) -> NoReturn:
    """Stand for what a loop of Windows does not do."""
    raise NotImplementedError


def take_away() -> None:
    """Make this process like one on Windows, as far as our code can tell."""
    for name in MISSING_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    ctypes.CDLL = LibcWithout  # type: ignore[misc,assignment]
    loop_class = type(asyncio.new_event_loop())
    for name in ("add_signal_handler", "remove_signal_handler", "add_reader", "remove_reader"):
        setattr(loop_class, name, unavailable)


if __name__ == "__main__":
    take_away()
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "--numprocesses=0", *sys.argv[1:]]))
