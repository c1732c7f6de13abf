"""Capture files of every form, whole and broken."""

import gzip
import io
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tools.dump.made import (
    BEGIN_S,
    RELAY,
    Framed,
    Packet,
    framed,
    pcapng_begin,
    pcapng_block,
    pcapng_packet,
    write_pcap,
    write_pcapng,
)
from tools.cli import UsageError
from tools.dump.captures import CaptureFile, Frame, in_time_order

pytest.importorskip("scapy", reason="capture files are read by scapy")
RECORDS = framed([Packet(BEGIN_S + n / 8, ("10.0.1.1", 4000 + n), RELAY, bytes([n]) * n) for n in range(5)])


def read(path: Path | str) -> tuple[list[Frame], list[str]]:
    """Read a file to its end. Returns: its packets, and what it says of the rest."""
    with CaptureFile(str(path)) as capture:
        frames = list(capture)
    return frames, capture.notices


def assert_is(frames: list[Frame], records: list[Framed], link_type: int = 1) -> None:
    assert [frame.data for frame in frames] == [record.frame for record in records]
    assert [frame.time_s for frame in frames] == pytest.approx([record.time_s for record in records], abs=1e-6)
    assert {frame.link_type for frame in frames} <= {link_type}


@pytest.mark.parametrize("options", [{}, {"nano": True}, {"order": ">"}, {"order": ">", "nano": True}])
def test_pcap_of_both_byte_orders_and_units_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    frames, notices = read(write_pcap(tmp_path / "a.pcap", RECORDS, 1, **options))
    assert_is(frames, RECORDS)
    assert notices == []


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("resolution", "units_per_s"), [(None, 10**6), (9, 10**9), (3, 10**3), (0x80 | 10, 1 << 10)])
def test_pcapng_of_both_byte_orders_and_any_unit_is_read(
    tmp_path: Path, order: str, resolution: int | None, units_per_s: int
) -> None:
    path = tmp_path / "a.pcapng"
    packets = b"".join(pcapng_packet(record, 0, order, units_per_s) for record in RECORDS)
    path.write_bytes(pcapng_begin([1], order, resolution) + packets)
    frames, notices = read(path)
    assert_is(frames, RECORDS)
    assert notices == []


def test_each_interface_of_a_pcapng_has_its_own_link_type(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(pcapng_begin([1, 276, 101]) + b"".join(pcapng_packet(RECORDS[n], n) for n in (2, 0, 1)))
    frames, notices = read(path)
    assert [frame.link_type for frame in frames] == [101, 1, 276] and notices == []


def test_a_simple_packet_keeps_the_time_before_it_and_other_blocks_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    record = RECORDS[1]
    simple = pcapng_block(3, struct.pack("<I", len(record.frame)) + record.frame)
    name_block = pcapng_block(4, bytes(4))
    begin = pcapng_begin([1])[:-20] + pcapng_block(1, struct.pack("<HHI", 1, 0, 65_535))
    path.write_bytes(begin + pcapng_packet(RECORDS[0]) + name_block + simple)
    frames, notices = read(path)
    assert_is(frames, [RECORDS[0], Framed(RECORDS[0].time_s, record.frame)])
    assert notices == []


def pipe_with(content: bytes) -> Any:
    """Something like a standard input that is a pipe."""
    pipe = io.BytesIO(content)
    pipe.seekable = lambda: False  # type: ignore[method-assign]
    return SimpleNamespace(buffer=io.BufferedReader(pipe))  # type: ignore[type-var]


@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
def test_a_file_may_be_gzipped_or_come_through_a_pipe(
    tmp_path: Path, write: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a", RECORDS, 1)  # type: ignore[operator]
    zipped = tmp_path / "b.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert_is(read(zipped)[0], RECORDS)
    for content in (path.read_bytes(), zipped.read_bytes()):
        monkeypatch.setattr(sys, "stdin", pipe_with(content))
        with CaptureFile("-") as capture:
            assert capture.share_read is None
            assert_is(list(capture), RECORDS)
        assert capture.notices == []


@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
def test_a_file_that_breaks_off_anywhere_gives_all_before_and_one_notice(tmp_path: Path, write: object) -> None:
    whole = write(tmp_path / "a", RECORDS, 1).read_bytes()  # type: ignore[operator]
    ends = packet_ends(whole, is_pcapng=write is write_pcapng)
    for size in range(ends[0], len(whole)):
        path = tmp_path / "b"
        path.write_bytes(whole[:size])
        frames, notices = read(path)
        num_whole = sum(end <= size for end in ends) - 1
        assert_is(frames, RECORDS[:num_whole])
        if size not in ends:
            assert len(notices) == 1 and notices[0].startswith(str(path)), (size, notices)
        else:
            assert notices == []


def packet_ends(data: bytes, is_pcapng: bool) -> list[int]:
    """Where a file of RECORDS could end without breaking a packet, the begin of the first included."""
    ends = [len(pcapng_begin([1])) if is_pcapng else 24]
    for record in RECORDS:
        ends.append(ends[-1] + (len(pcapng_packet(record)) if is_pcapng else 16 + len(record.frame)))
    assert ends[-1] == len(data)
    return ends


def test_damage_in_the_middle_is_told_and_what_came_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(pcapng_begin([1]) + pcapng_packet(RECORDS[0]) + b"\xff" * 400 + pcapng_packet(RECORDS[1]))
    frames, notices = read(path)
    assert_is(frames, RECORDS[:1])
    assert len(notices) == 1


def test_how_much_was_read_grows_to_all(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "a.pcap", RECORDS * 1000)
    with CaptureFile(str(path)) as capture:
        shares = [capture.share_read or 0.0 for _ in capture]
        assert shares == sorted(shares) and shares[0] < 0.1 and capture.share_read == 1.0


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"", "is no pcap or pcapng file"), (b"GIF89a" * 10, "is no pcap or pcapng file")],
)
def test_what_is_no_capture_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "a"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        CaptureFile(str(path))


@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
def test_files_are_taken_in_the_order_of_their_times_whatever_their_names(
    tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [
        write(tmp_path / name, RECORDS[begin:end], 1)
        for name, begin, end in (("a", 3, 5), ("b", 0, 2), ("empty", 0, 0))
    ]
    monkeypatch.setattr(sys, "stdin", pipe_with(write(tmp_path / "c", RECORDS[2:3], 1).read_bytes()))
    frames = []
    for capture in in_time_order([*map(str, paths), "-"]):
        with capture:
            frames += list(capture)
        assert capture.notices == []
    assert_is(frames, RECORDS)


def test_of_several_files_all_are_looked_at_before_the_first_is_read(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "a", RECORDS)
    with pytest.raises(UsageError, match="No such file"):
        next(in_time_order([str(path), str(tmp_path / "b")]))


def test_a_closed_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input is closed"):
        CaptureFile("-")


def test_a_folder_is_no_capture(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        CaptureFile(str(tmp_path))


def test_without_scapy_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pcap(tmp_path / "a.pcap", RECORDS)
    monkeypatch.setitem(sys.modules, "scapy.utils", None)
    with pytest.raises(UsageError, match="need scapy"):
        CaptureFile(str(path))
