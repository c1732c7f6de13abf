"""`tickrelay serve --capture` as a user runs it, and as it is after a kill."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from protocol import codec
from protocol.constants import DataSection, Kind
from relay.client import RelayClient
from tests.relay.capture.captures import Packet, read_file
from tests.tools.commands import serving, tickrelay
from tools import serve
from tools.cli import UsageError
from tools.serve_settings import ServeSettings, merge_settings

pytestmark = pytest.mark.slow
needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be killed so")


def merge(**options: str) -> ServeSettings:
    return merge_settings(options, {}, None)


async def talk(port: int, seconds: float, code: str = "LOBBY") -> list[tuple[float, bytes]]:
    """Say something every 10 ms. Returns: when what was said, monotonic seconds."""
    said = []
    async with RelayClient("127.0.0.1", port, code=code, name="Ada") as ada:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            text = b"word %d." % len(said)
            ada.send_message(text)
            said.append((time.monotonic(), text))
            await asyncio.sleep(0.01)
        return said


def words_of(packets: list[Packet]) -> bytes:
    return b"".join(packet.payload for packet in packets if packet.payload[0] == Kind.DATA)


@needs_kill
@pytest.mark.parametrize("seconds", [0.6, 1.3])
def test_after_a_kill_all_but_the_last_second_is_in_the_file_and_the_file_is_whole(
    tmp_path: Path, seconds: float
) -> None:
    capture = tmp_path / "a.pcapng"

    async def talk_until_killed(port: int) -> tuple[list[tuple[float, bytes]], float]:
        async with RelayClient("127.0.0.1", port, code="LOBBY", name="Ada") as ada:
            said: list[tuple[float, bytes]] = []
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                text = b"word %d." % len(said)
                ada.send_message(text)
                said.append((time.monotonic(), text))
                await asyncio.sleep(0.01)
            relay.process.kill()
            killed_at = time.monotonic()
            relay.process.wait(10)
            return said, killed_at

    with serving(tmp_path, "--capture", str(capture)) as relay:
        said, killed_at = asyncio.run(talk_until_killed(relay.port))
    packets = read_file(capture)  # strict: a damaged block raises
    words = words_of(packets)
    old_enough = [text for at, text in said if at < killed_at - 0.5]
    assert len(old_enough) >= 5 and [text for text in old_enough if text not in words] == []


@needs_kill
def test_a_relay_that_is_started_again_keeps_what_was_captured_before(tmp_path: Path) -> None:
    capture = tmp_path / "a.pcapng"
    for code in ("FIRST", "SECOND"):
        with serving(tmp_path, "--capture", str(capture)) as relay:
            asyncio.run(talk(relay.port, 0.1, code))
            assert relay.end(signal.SIGTERM) == 0
    older = tmp_path / "a.1.pcapng"
    assert b"FIRST" in older.read_bytes() and b"SECOND" in capture.read_bytes()
    sessions = []
    for path in (older, capture):
        (welcome,) = [codec.decode(p.payload) for p in read_file(path) if p.payload[0] == Kind.WELCOME]
        sessions.append(welcome.fields.session)  # type: ignore[union-attr]
    assert sessions[0] != sessions[1]


@needs_kill
def test_one_room_without_its_words(tmp_path: Path) -> None:
    capture = tmp_path / "a.pcapng"
    options = ["--capture", str(capture), "--capture-room", "here", "--redact-text"]

    async def talk_in_two_rooms(port: int) -> None:
        await asyncio.gather(talk(port, 0.3, "HERE"), talk(port, 0.3, "THERE"))

    with serving(tmp_path, *options) as relay:
        asyncio.run(talk_in_two_rooms(relay.port))
        assert relay.end(signal.SIGTERM) == 0
    packets = read_file(capture)
    joins = [codec.decode(packet.payload).fields for packet in packets if packet.payload[0] == Kind.JOIN]  # type: ignore[union-attr]
    assert {join.code.rstrip(b"\0") for join in joins} == {b"HERE"}
    assert {join.name.rstrip(b"\0") for join in joins} == {b"xxx"}
    assert len(packets) > 20 and b"word" not in b"".join(packet.payload for packet in packets)


def test_a_file_that_is_something_else_is_one_line_and_exit_2(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = tickrelay(tmp_path, "serve", "--port", "0", "--capture", str(tmp_path / "notes.txt"), "--log-level", "error")
    assert done.returncode == 2 and (tmp_path / "notes.txt").read_text() == "mine"
    assert done.stderr.count("\n") == 1 and "is not a pcapng file" in done.stderr


@needs_kill
def test_a_fifo_is_one_line_and_exit_2(tmp_path: Path) -> None:
    """It was waited for, for ever."""
    os.mkfifo(tmp_path / "fifo")
    done = tickrelay(tmp_path, "serve", "--port", "0", "--capture", str(tmp_path / "fifo"), "--log-level", "error")
    assert done.returncode == 2 and (tmp_path / "fifo").is_fifo()
    assert done.stderr.count("\n") == 1
    assert "fifo is not a regular file; permitted: a new file, or a pcapng file" in done.stderr


@needs_kill
def test_a_capture_of_another_relay_is_one_line_and_exit_2(tmp_path: Path) -> None:
    capture = tmp_path / "a.pcapng"
    with serving(tmp_path, "--capture", str(capture)) as relay:
        asyncio.run(talk(relay.port, 0.1))
        done = tickrelay(tmp_path, "serve", "--port", "0", "--capture", str(capture), "--log-level", "error")
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert "is written by another process" in done.stderr
        assert relay.end(signal.SIGTERM) == 0
    assert [path.name for path in tmp_path.glob("a*")] == ["a.pcapng"] and words_of(read_file(capture))


def test_a_folder_that_is_not_there_is_one_line_and_exit_2(tmp_path: Path) -> None:
    done = tickrelay(
        tmp_path, "serve", "--port", "0", "--capture", str(tmp_path / "no/a.pcapng"), "--log-level", "error"
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "cannot write" in done.stderr and "No such file" in done.stderr


@needs_kill
def test_a_port_in_use_leaves_an_earlier_capture_alone(tmp_path: Path) -> None:
    """A relay that is started twice by mistake must not push the first one's files aside."""
    capture = tmp_path / "a.pcapng"
    with serving(tmp_path, "--capture", str(capture)) as relay:
        done = tickrelay(tmp_path, "serve", "--port", str(relay.port), "--capture", str(capture))
        assert done.returncode == 1 and "already in use" in done.stderr
    assert [path.name for path in tmp_path.glob("a*")] == ["a.pcapng"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capture_room": "LOBBY"}, r"capture_room \(command line\) is of no use without capture"),
        ({"capture_session": "1"}, "of no use without capture"),
        ({"redact_text": "true"}, "of no use without capture"),
        ({"capture": "a", "capture_room": "A", "capture_session": "1"}, "exclude each other"),
        ({"capture": "a", "capture_room": "what room?"}, "permitted: 1 to 16 of A-Z, 0-9"),
        ({"capture": "a", "capture_session": "-1"}, r"capture_session \(command line\) is -1; permitted: 0 to"),
        ({"capture": "a", "capture_max_mib": "31"}, "is 31; permitted: 32 to"),
        ({"capture": "a", "capture_max_mib": str(2**21)}, "permitted: 32 to"),
    ],
)
def test_settings_that_do_not_fit_are_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        merge(**options)


def test_a_capture_is_off_unless_a_file_is_given() -> None:
    settings = merge()
    assert (settings.capture, settings.capture_max_mib, settings.redact_text) == ("", 256, False)
    assert merge(capture="a", capture_room="lobby-1").capture_room == "LOBBY-1"


def test_a_home_folder_can_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    serve.open_capture(merge(capture="~/a.pcapng")).close()
    assert read_file(tmp_path / "a.pcapng") == []
    head = (tmp_path / "a.pcapng").read_bytes()
    assert b"are pseudonyms" in head and os.fsencode(tmp_path) not in head


# --- What a capture is for


@needs_kill
@pytest.mark.parametrize("options", [[], ["--redact-text"]])
def test_a_session_of_a_capture_can_be_followed_and_replayed(tmp_path: Path, options: list[str]) -> None:
    pytest.importorskip("scapy", reason="the dump reads captures with scapy")
    capture = str(tmp_path / "a.pcapng")
    with serving(tmp_path, "--capture", capture, *options) as relay:
        num_said = len(asyncio.run(talk(relay.port, 0.4)))
        assert relay.end(signal.SIGTERM) == 0
        port = str(relay.port)
    story = tickrelay(tmp_path, "dump", capture, "--port", port, "--follow", "xxx" if options else "Ada")
    assert story.returncode == 0, story.stderr
    for word in ("HELLO", "CHALLENGE", "JOIN", "WELCOME", "BYE"):
        assert word in story.stdout
    with serving(tmp_path, "--capture", str(tmp_path / "again.pcapng")) as fresh:
        to = f"127.0.0.1:{fresh.port}"
        replayed = tickrelay(tmp_path, "dump", "--replay", capture, "--port", port, "--to", to, "--speed", "4")
        assert replayed.returncode == 0, replayed.stderr
        assert fresh.end(signal.SIGTERM) == 0
    messages = set()
    for packet in read_file(tmp_path / "again.pcapng"):
        value = codec.decode(packet.payload)
        if packet.payload[0] == Kind.DATA:
            sections = value.sections  # type: ignore[union-attr]
            messages |= {section.body.header.message_id for section in sections if section.type == DataSection.MESSAGE}
    assert len(messages) == num_said
