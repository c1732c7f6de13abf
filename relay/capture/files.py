"""The files of a capture: the newest under its own name, older ones numbered, all together bounded.

    game.pcapng   game.1.pcapng   game.2.pcapng   game.3.pcapng      (the last is the oldest; a fifth is not kept)

Every write goes to the system at once: there is no buffer of ours that a crash or a kill could lose. What a kill can do
is cut the write that is under way; every reader of captures takes a file whose last block is not whole.
"""

import os
from pathlib import Path

from relay.capture.blocks import SECTION_BLOCK

NUM_FILES = 4
"""Files of one capture: a quarter of what is kept goes when the newest is full (chosen)."""
_MAGIC = SECTION_BLOCK.to_bytes(4, "little")
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_MODE = 0o600
"""For the operator alone: a capture holds what players say, and their addresses."""


class CaptureFiles:
    """Writes whole blocks, and begins a new file when one is full."""

    def __init__(self, path: Path, max_bytes: int, head: bytes) -> None:
        """Begin a new file; those of an earlier capture under this name become older ones.

        Args:
            max_bytes: Of all files together.
            head: What every file begins with.
        Raises: OSError if it cannot be written; ValueError if one of the names is that of something else.
        """
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
        self.close()
        self._names[-1].unlink(missing_ok=True)
        for older, newer in zip(reversed(self._names), reversed(self._names[:-1])):
            if newer.exists():
                newer.replace(older)
        self._fd = os.open(self._names[0], _FLAGS, _MODE)
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


def _refuse_foreign(path: Path) -> None:
    """Keep a wrong name from costing somebody a file."""
    try:
        with path.open("rb") as file:
            begin = file.read(len(_MAGIC))
    except FileNotFoundError:
        return
    if begin not in (b"", _MAGIC):
        raise ValueError(f"{path} is there and is not a pcapng file")
