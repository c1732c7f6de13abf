"""Which uploads of a capture are played; the playing itself is in test_replay_session."""

import re
from pathlib import Path

import pytest

from protocol.constants import Kind
from tests.tools.dump.made import Framed, framed, ordinary_capture, write_pcap, write_pcapng
from tools import dump
from tools.cli import UsageError
from tools.dump.options import parse_options
from tools.dump.replay import read_recording
from tools.dump.uploads import Recording

pytest.importorskip("scapy", reason="capture files are read by scapy")
CAPTURE = ordinary_capture()
RECORDS = framed(CAPTURE, "raw IP")
ADA = [packet.data for packet in CAPTURE if packet.data[0] == Kind.DATA and packet.source[1] == 40_000]


def recording_of(*arguments: object) -> Recording:
    return read_recording(parse_options(["--to", "127.0.0.1", *map(str, arguments)]))


def cut_pcap(path: Path, records: list[Framed], snap_bytes: int) -> Path:
    """A pcap of packets of which at most `snap_bytes` were kept."""
    return write_pcap(path, [record._replace(frame=record.frame[:snap_bytes]) for record in records], 101)


def test_a_rotated_capture_is_played_as_a_whole_one(tmp_path: Path) -> None:
    parts = [
        write_pcapng(tmp_path / name, framed(CAPTURE[begin:end], "raw IP"))
        for name, begin, end in (("g.1.pcapng", 80, 160), ("g.2.pcapng", 0, 80), ("g.pcapng", 160, None))
    ]
    recording = recording_of("--replay", *parts, "--player", "Ada")
    assert [upload.data for upload in recording.uploads] == ADA and recording.name == "Ada"
    times = [upload.at_s for upload in recording.uploads]
    assert times == sorted(times) and recording.welcome is not None
    with pytest.raises(UsageError, match="a capture of 3 files holds 2 players; permitted: one"):
        recording_of("--replay", *parts)


def test_without_the_handshake_a_player_is_chosen_by_session(tmp_path: Path) -> None:
    whole = recording_of("--replay", write_pcap(tmp_path / "a", RECORDS, 101), "--player", "Ada")
    later = write_pcap(tmp_path / "b", RECORDS[160:], 101)
    with pytest.raises(UsageError, match="no uploads of a player that the filters let pass"):
        recording_of("--replay", later, "--player", "Ada")
    shown = f"0x{int.from_bytes(ADA[0][4:12], 'little'):016x}"
    recording = recording_of("--replay", later, "--session", shown)
    played = [upload.data for upload in recording.uploads]
    assert recording.name == "" and played == [upload.data for upload in whole.uploads][-len(played) :] != []


def test_uploads_that_the_capture_cut_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snap_bytes = 20 + 8 + 48
    num_cut = sum(len(data) > 48 for data in ADA)
    path = cut_pcap(tmp_path / "a", RECORDS, snap_bytes)
    shown = f"0x{int.from_bytes(ADA[0][4:12], 'little'):016x}"
    recording = recording_of("--replay", path, "--session", shown)
    assert [upload.data for upload in recording.uploads] == [data for data in ADA if len(data) <= 48]
    assert 0 < num_cut < len(ADA)
    assert capsys.readouterr().err == f"tickrelay dump: {num_cut} uploads were cut by the capture and left out\n"


@pytest.mark.parametrize("num_kept", [20, 28], ids=["within the header", "behind it"])
def test_a_capture_of_cut_uploads_only_is_not_played(
    tmp_path: Path, num_kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [record for record, packet in zip(RECORDS, CAPTURE) if packet.source[1] == 40_000]
    path = cut_pcap(tmp_path / "a", [r for r in records if len(r.frame) > 20 + 8 + 28], 20 + 8 + num_kept)
    assert dump.main(["--replay", str(path), "--to", "127.0.0.1:9"], {}) == 1
    shown = capsys.readouterr().err
    assert re.match(r"tickrelay dump: all \d+ uploads were cut by the capture", shown) and shown.count("\n") == 1
