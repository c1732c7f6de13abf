"""Files of a capture: bounded, whole, and nobody else's."""

import errno
import os
import stat
from pathlib import Path

import pytest

from relay.capture.blocks import build_file_head
from relay.capture.files import NUM_FILES, CaptureFiles
from tests.relay.capture.captures import read_file
from tests.relay.capture.test_blocks import V4, framed

HEAD = build_file_head("test", "")


def block(number: int, size: int = 1_000) -> bytes:
    """A packet block of `size` bytes that holds its number (a received datagram, without anything in it)."""
    data = framed([number.to_bytes(4, "big").ljust(size - 60, b"\0")], [V4])
    assert len(data) == size
    return data


def numbers_of(path: Path) -> list[int]:
    return [int.from_bytes(packet.payload[:4], "big") for packet in read_file(path)]


def files_of(path: Path) -> list[Path]:
    """All files of a capture that are there, newest first."""
    names = [path, *(path.with_name(f"{path.stem}.{n}{path.suffix}") for n in range(1, 9))]
    return [name for name in names if name.exists()]


def test_what_is_written_can_be_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    files = CaptureFiles(path, 1 << 20, HEAD)
    assert numbers_of(path) == []
    for number in range(3):
        files.write(memoryview(block(number)))
        assert numbers_of(path) == list(range(number + 1))  # nothing waits in the process
    files.close()
    files.close()
    assert numbers_of(path) == [0, 1, 2]


def test_full_files_are_numbered_and_only_so_many_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    limit = NUM_FILES * 10_000
    files = CaptureFiles(path, limit, HEAD)
    for number in range(200):
        files.write(memoryview(block(number)))
        assert sum(file.stat().st_size for file in files_of(path)) <= limit
    files.close()
    kept = files_of(path)
    assert [file.name for file in kept] == ["a.pcapng", "a.1.pcapng", "a.2.pcapng", "a.3.pcapng"]
    numbers = [number for file in reversed(kept) for number in numbers_of(file)]
    assert numbers == list(range(numbers[0], 200)) and len(numbers) > 27
    assert len(list(tmp_path.iterdir())) == NUM_FILES


def test_a_capture_of_before_becomes_an_older_file(tmp_path: Path) -> None:
    """A relay that was killed and started again must not overwrite what it was killed with."""
    path = tmp_path / "a.pcapng"
    for number in range(6):
        files = CaptureFiles(path, 1 << 20, HEAD)
        files.write(memoryview(block(number)))
        files.close()
    assert [numbers_of(file) for file in files_of(path)] == [[5], [4], [3], [2]]


@pytest.mark.parametrize("name", ["a.pcapng", "a.2.pcapng"])
def test_a_file_that_is_something_else_is_not_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"my thesis")
    with pytest.raises(ValueError, match="is not a pcapng file"):
        CaptureFiles(tmp_path / "a.pcapng", 1 << 20, HEAD)
    assert (tmp_path / name).read_bytes() == b"my thesis" and len(list(tmp_path.iterdir())) == 1


def test_an_empty_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.pcapng").touch()
    CaptureFiles(tmp_path / "a.pcapng", 1 << 20, HEAD).close()
    assert numbers_of(tmp_path / "a.pcapng") == []


@pytest.mark.skipif(os.name == "nt", reason="modes of files are POSIX's")
def test_only_the_operator_may_read_it(tmp_path: Path) -> None:
    CaptureFiles(tmp_path / "a.pcapng", 1 << 20, HEAD).close()
    assert stat.S_IMODE((tmp_path / "a.pcapng").stat().st_mode) == 0o600


def test_a_disk_that_is_full_leaves_a_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pcapng"
    files = CaptureFiles(path, 1 << 20, HEAD)
    files.write(memoryview(block(1)))
    real = os.write
    rooms = [300, 0]

    def write(fd: int, data: memoryview) -> int:
        if not (room := rooms.pop(0)):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[:room])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        files.write(memoryview(block(2)))
    monkeypatch.undo()
    assert numbers_of(path) == [1]
    with pytest.raises(OSError):  # it is closed
        files.write(memoryview(block(3)))


def test_a_write_in_pieces_is_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = CaptureFiles(tmp_path / "a.pcapng", 1 << 20, HEAD)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    files.write(memoryview(block(5)))
    files.close()
    assert numbers_of(tmp_path / "a.pcapng") == [5]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        CaptureFiles(tmp_path / "no/a.pcapng", 1 << 20, HEAD)
