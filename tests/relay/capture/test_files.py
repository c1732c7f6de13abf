"""Files of a capture: bounded, whole, and nobody else's."""

import errno
import os
import stat
from pathlib import Path

import pytest

from relay.capture import files as module
from relay.capture.blocks import build_file_head
from relay.capture.files import NUM_FILES, CaptureFiles
from tests.relay.capture.captures import read_file
from tests.relay.capture.test_blocks import V4, framed

HEAD = build_file_head("test", "")
needs_posix = pytest.mark.skipif(os.name == "nt", reason="modes, links and fifos are POSIX's")
needs_locks = pytest.mark.skipif(not module._HAS_LOCKS, reason="no locks here")


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


@needs_posix
@pytest.mark.parametrize("name", ["a.pcapng", "a.2.pcapng"])
@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR])
def test_what_is_no_regular_file_is_neither_opened_nor_renamed(tmp_path: Path, name: str, kind: int) -> None:
    """A device reads as empty or not at all, so it was taken for an empty file and renamed; a fifo was waited for."""
    if kind == stat.S_IFDIR:
        (tmp_path / name).mkdir()
    else:
        os.mknod(tmp_path / name, kind | 0o600)
    with pytest.raises(ValueError, match=f"{name} is not a regular file; permitted: a new file, or a pcapng file"):
        CaptureFiles(tmp_path / "a.pcapng", 1 << 20, HEAD)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert stat.S_IFMT((tmp_path / name).lstat().st_mode) == kind


@needs_posix
def test_a_device_is_not_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Root alone can make one, and opening one may do anything."""
    path = tmp_path / "a.pcapng"
    path.touch()
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
    monkeypatch.setattr(os, "lstat", lambda _: os.stat_result([stat.S_IFCHR | 0o666] + [0] * 9))
    with pytest.raises(ValueError, match="is not a regular file"):
        CaptureFiles(path, 1 << 20, HEAD)


@needs_posix
def test_a_link_stays_and_the_files_are_where_it_leads(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    (here / "link").symlink_to(there / "a.pcapng")
    for number in range(2):
        files = CaptureFiles(here / "link", 1 << 20, HEAD)
        files.write(memoryview(block(number)))
        files.close()
    assert (here / "link").is_symlink() and len(list(here.iterdir())) == 1
    assert [numbers_of(file) for file in files_of(there / "a.pcapng")] == [[1], [0]]


@needs_posix
@pytest.mark.parametrize("target", ["a.pcapng", "fifo"])
def test_a_link_that_leads_to_no_regular_file_is_refused(tmp_path: Path, target: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "a.pcapng").symlink_to(tmp_path / target)
    with pytest.raises(ValueError, match="is not a regular file"):
        CaptureFiles(tmp_path / "a.pcapng", 1 << 20, HEAD)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pcapng", "fifo"]


@needs_posix
def test_a_numbered_name_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    (tmp_path / "a.1.pcapng").symlink_to(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"a\.1\.pcapng is not a regular file"):
        CaptureFiles(tmp_path / "a.pcapng", 1 << 20, HEAD)


@needs_locks
def test_a_file_that_is_written_is_nobody_elses(tmp_path: Path) -> None:
    """Two relays with one name renamed each other's files."""
    path = tmp_path / "a.pcapng"
    files = CaptureFiles(path, NUM_FILES * 10_000, HEAD)
    for number in range(30):  # again after every new file
        with pytest.raises(ValueError, match=r"a\.pcapng is written by another process"):
            CaptureFiles(path, 1 << 20, HEAD)
        files.write(memoryview(block(number)))
    assert len(files_of(path)) == NUM_FILES
    files.close()
    CaptureFiles(path, 1 << 20, HEAD).close()


@needs_locks
def test_a_file_is_locked_while_the_names_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pcapng"
    files = CaptureFiles(path, NUM_FILES * 10_000, HEAD)
    real, refused = os.open, []

    def open_late(name: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT and not refused:
            refused.append(name)
            with pytest.raises(ValueError, match=r"a\.1\.pcapng is written by another process"):
                CaptureFiles(path, 1 << 20, HEAD)
        return real(name, flags, mode)

    monkeypatch.setattr(os, "open", open_late)
    for number in range(11):
        files.write(memoryview(block(number)))
    assert refused
    files.close()


def test_without_locks_a_capture_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no fcntl, some network file systems no locks."""
    monkeypatch.setattr(module, "_HAS_LOCKS", False)
    test_full_files_are_numbered_and_only_so_many_are_kept(tmp_path)
    assert len(files_of(tmp_path / "a.pcapng")) == NUM_FILES


def test_an_empty_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.pcapng").touch()
    CaptureFiles(tmp_path / "a.pcapng", 1 << 20, HEAD).close()
    assert numbers_of(tmp_path / "a.pcapng") == []


@needs_posix
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
