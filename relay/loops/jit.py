"""Compiling with numba, and where the compiled code is kept.

Compiling takes some seconds, so it is done once per version: the code is kept in a folder named by a hash of every
source of relay and protocol, for numba itself looks only at the file that a function stands in.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

Loop = TypeVar("Loop", bound=Callable[..., Any])
CACHE_ENV = "TICKRELAY_CACHE_DIR"
"""Environment variable that names another folder for compiled code."""
_SOURCES = Path(__file__).resolve().parents[2]


def _version_hash() -> str:
    """Hash what the compiled code is made of."""
    digest = hashlib.sha256(f"{sys.version} {numba.__version__}".encode())
    for package in ("protocol", "relay"):
        for path in sorted((_SOURCES / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> str:
    """Choose where compiled code is kept: the user's cache, or a folder of this process where that is not writable."""
    named = os.environ.get(CACHE_ENV) or os.environ.get("CACHE_DIRECTORY")  # systemd sets the latter
    base = Path(named) if named else Path.home() / ".cache" / "tickrelay"
    folder = base / _version_hash()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return str(folder)
    except OSError:
        pass
    return tempfile.mkdtemp(prefix="tickrelay-")


numba.config.CACHE_DIR = _cache_folder()  # type: ignore[attr-defined]


def compiled(loop: Loop) -> Loop:
    """Compile a function when it is first called. It may use numbers, arrays and tuples of them, and nothing else."""
    return numba.njit(cache=True)(loop)


def inlined(loop: Loop) -> Loop:
    """Compile a function into whatever calls it."""
    return numba.njit(cache=True, forceinline=True, _nrt=False)(loop)
