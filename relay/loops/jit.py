"""Compiling with numba, and where the compiled code is kept.

Compiling takes some 40 s and 520 MB, so it is done once per version: the code is kept in a folder named by a hash of
every source of relay and protocol, for numba itself looks only at the file that a function stands in.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

Loop = TypeVar("Loop", bound=Callable[..., Any])
Built = TypeVar("Built")
NUM_OTHERS_KEPT = 1
"""Versions whose code is kept beside this one's, 11 MB each: that to which one would go back."""
_ROOT = Path(__file__).resolve().parents[2]
_DONE = "complete"
"""Name of the file that says that a folder holds all the code."""


def _version_hash() -> str:
    """Hash what the compiled code is made of."""
    digest = hashlib.sha256(f"{sys.version} {numba.__version__}".encode())
    for package in ("protocol", "relay"):
        for path in sorted((_ROOT / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def choose_folder(environ: dict[str, str], home: Path | None) -> Path:
    """Choose where compiled code is kept: a service's own cache, the user's, or one for this process alone.

    Args:
        environ: CACHE_DIRECTORY is what systemd names a service's cache by, XDG_CACHE_HOME a user's.
        home: The user's home, which need not be writable; None if the user has none.
    Raises: OSError if nothing at all can be written.
    """
    named = environ.get("CACHE_DIRECTORY")
    cache = environ.get("XDG_CACHE_HOME") or (home / ".cache" if home else None)
    base = Path(named) if named else Path(cache) / "tickrelay" if cache else None
    folder = base / _version_hash() if base else None
    if folder and _is_ours(folder):
        return folder
    return Path(tempfile.mkdtemp(prefix="tickrelay-"))


def _is_ours(folder: Path) -> bool:
    """Make a folder, and tell whether it is writable and ours: numba runs what it finds there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        owner = folder.stat().st_uid
    except OSError:
        return False
    return os.access(folder, os.W_OK) and owner == getattr(os, "getuid", lambda: owner)()


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # neither HOME nor an entry of the user database
        return None


FOLDER = choose_folder(dict(os.environ), _home())
numba.config.CACHE_DIR = str(FOLDER)  # type: ignore[attr-defined]
_OPTIONS: dict[str, Any] = {"cache": True}
_INNER_OPTIONS: dict[str, Any] = _OPTIONS | {"forceinline": True, "_nrt": False}


def compiled(loop: Loop) -> Loop:
    """Compile a function when it is first called. It may use numbers, arrays and named tuples of them."""
    return numba.njit(**_OPTIONS)(loop)


def inlined(loop: Loop) -> Loop:
    """Compile a function into those that call it. It may not make arrays, nor return or keep any.

    For it counts no references: numba would count one for each array of a tuple at every call, which took four fifths
    of the time of a receive pass (measured: 1.65 instead of 0.33 us per datagram at 4,000 players).
    """
    return numba.njit(**_INNER_OPTIONS)(loop)


def is_complete() -> bool:
    """Tell whether all loops were compiled before, by a process that said so by `mark_complete`."""
    return (FOLDER / _DONE).exists()


def mark_complete() -> None:
    """Note that all loops have been compiled, and remove the code of old versions but the newest."""
    (FOLDER / _DONE).touch()
    others = [folder for folder in FOLDER.parent.iterdir() if folder != FOLDER and (folder / _DONE).exists()]
    for folder in sorted(others, key=lambda folder: (folder / _DONE).stat().st_mtime)[:-NUM_OTHERS_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


def with_whole_cache(build: Callable[[], Built]) -> Built:
    """Build what calls the loops; if that fails, once more without the compiled code that was kept.

    A power cut can leave half a file there, and numba does not get over it (0.68, numba issue 10434).
    """
    try:
        return build()
    except Exception:
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        return build()
