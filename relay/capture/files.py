"""The files of a capture: the newest under its own name, older ones numbered, all together bounded.

    game.pcapng   game.1.pcapng   game.2.pcapng   game.3.pcapng      (the last is the oldest; a fifth is not kept)

They are beside the file that a symbolic link names. As long as one is written no other relay takes it: a lock on the
newest says so, where the system has locks. While the files are numbered anew the one before stays locked.

Every write goes to the system at once: there is no buffer of ours that a crash or a kill could lose. What a kill can do
is cut the write that is under way; every reader of captures takes a file whose last block is not whole.
"""

import contextlib
import os
import stat
from pathlib import Path

from relay.capture.blocks import SECTION_BLOCK

try:
    import fcntl
except ImportError:  # Windows, where nobody renames a file that another process has open anyway
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

NUM_FILES = 4
"""Files of one capture: a quarter of what is kept goes when the newest is full (chosen)."""
_MAGIC = SECTION_BLOCK.to_bytes(4, "little")
_ALWAYS = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _ALWAYS
_LOOK_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | _ALWAYS
"""For a file that may become a fifo between two looks: opening that must not wait for a writer."""
_PERMITTED = "permitted: a new file, or a pcapng file"
_MODE = 0o600
"""For the operator alone: a capture holds what players say, and their addresses."""


class CaptureFiles:
    """Writes whole blocks, and begins a new file when one is full."""

    def __init__(self, path: Path, max_bytes: int, head: bytes) -> None:
        """Begin a new file; those of an earlier capture under this name become older ones.

        Args:
            path: A symbolic link stays, and the files are where it leads.
            max_bytes: Of all files together.
            head: What every file begins with.
        Raises: OSError if it cannot be written; ValueError if one of the names is that of something else, or
            of a file that another process captures into.
        """
        path = Path(os.path.realpath(path))  # of a circle of links, which `resolve` raises for, a link is left
        self._names = [path, *(path.with_name(f"{path.stem}.{n}{path.suffix}") for n in range(1, NUM_FILES))]
        self._max_file_bytes = max_bytes // NUM_FILES
        self._head = head
        self._fd = -1
        self._num_bytes = 0
        for name in self._names:
            _refuse_foreign(name)
        self._begin()

    def _begin(self) -> None:
        """Number the files anew, and begin an empty one."""
        if not _HAS_LOCKS:
            self.close()  # Windows renames no open file
        before, self._fd = self._fd, -1
        try:
            self._names[-1].unlink(missing_ok=True)
            for older, newer in zip(reversed(self._names), reversed(self._names[:-1])):
                if newer.exists():
                    newer.replace(older)
            self._fd = os.open(self._names[0], _FLAGS, _MODE)
            _lock(self._fd)
        finally:
            if before >= 0:
                os.close(before)
        self._num_bytes = 0
        self._write(memoryview(self._head))

    def write(self, blocks: memoryview) -> None:
        """Write whole blocks. Raises: OSError; then the file ends with the last whole write and is closed."""
        if not len(blocks):
            return
        if self._num_bytes + len(blocks) > self._max_file_bytes and self._num_bytes > len(self._head):
            self._begin()
        self._write(blocks)

    def _write(self, data: memoryview) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:])
        except OSError:
            os.ftruncate(self._fd, self._num_bytes)
            self.close()
            raise
        self._num_bytes += done

    def close(self) -> None:
        """Close the newest file. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _lock(fd: int) -> None:
    """Lock a file as long as it is open. A file system that has no locks is no reason not to capture."""
    if _HAS_LOCKS:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_locked(fd: int) -> bool:
    """Tell whether somebody else has locked a file."""
    if _HAS_LOCKS:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass
    return False


def _refuse_foreign(path: Path) -> None:
    """Keep a wrong name from costing somebody a file, a device, or a relay its capture."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):  # before it is opened: that may wait for ever, or rewind a tape
        raise ValueError(f"{path} is not a regular file; {_PERMITTED}")
    fd = os.open(path, _LOOK_FLAGS)
    try:
        if _is_locked(fd):
            raise ValueError(f"{path} is written by another process; permitted: a file that no other relay captures to")
        if os.read(fd, len(_MAGIC)) not in (b"", _MAGIC):
            raise ValueError(f"{path} is there and is not a pcapng file; {_PERMITTED}")
    finally:
        os.close(fd)
