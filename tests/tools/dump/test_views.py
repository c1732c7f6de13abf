"""Lines, structures, bytes and objects of single datagrams."""

import io
import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings

from protocol import codec, schemas
from protocol.constants import Kind
from protocol.drops import DropReason
from tests.tools.dump.made import RELAY, Packet, ordinary_capture
from tests.tools.dump.reading import see
from tests.tools.dump.samples import GOOD, REFUSED, damaged, datagrams
from tools.dump.sessions import HEADERS, Seen
from tools.dump.views import Printer, Text, hex_of, line_of, object_of, structure_of

CLIENT = ("10.0.1.1", 40_000)
FROM_RELAY = {
    Kind.CHALLENGE,
    Kind.WELCOME,
    Kind.REFUSE,
    Kind.REDIRECT,
    Kind.PONG,
    Kind.RESET,
    Kind.PATH_CHALLENGE,
    Kind.UPDATE,
}


def seen_of(data: bytes) -> Seen:
    """One datagram, seen alone, going the way that its kind goes."""
    ends = (RELAY, CLIENT) if data and data[0] in FROM_RELAY else (CLIENT, RELAY)
    (one,) = see([Packet(5.0, *ends, data)])
    return one


def shown(text: Text) -> str:
    return "".join(part for part, _ in text)


def from_json(value: Any) -> Any:
    """Turn what --json prints back into what a schema builds from."""
    if isinstance(value, dict):
        return {key: from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if isinstance(value, str):
        return int(value, 16) if value.startswith("0x") else bytes.fromhex(value)
    return value


def assert_json_is_the_datagram(data: bytes) -> None:
    """From the JSON text alone the codec builds the same bytes: so every field is there with its value."""
    printed = json.loads(json.dumps(object_of(seen_of(data))))
    assert printed["kind"] == Kind(data[0]).name and printed["bytes"] == len(data)
    built = schemas.DATAGRAMS[Kind(data[0])].build(from_json(printed["value"]))
    if data[0] in (Kind.HELLO, Kind.PING):  # what follows their fields is ignored
        assert built.rstrip(b"\0") == data[: len(built)].rstrip(b"\0")[: len(built.rstrip(b"\0"))]
    else:
        assert built == data


@pytest.mark.parametrize("data", [data for _, data in GOOD], ids=[name for name, _ in GOOD])
def test_json_holds_every_field_of_every_vector(data: bytes) -> None:
    assert_json_is_the_datagram(data)


def test_the_vectors_have_every_kind() -> None:
    assert {Kind(data[0]) for _, data in GOOD} == set(Kind)


@given(datagrams())
@settings(max_examples=400, deadline=None)
def test_json_holds_every_field_of_any_datagram(data: bytes) -> None:
    if not isinstance(codec.decode(data), DropReason):
        assert_json_is_the_datagram(data)


@pytest.mark.parametrize(("data", "reason"), [entry[1:] for entry in REFUSED], ids=[entry[0] for entry in REFUSED])
def test_a_refused_datagram_has_its_reason_offset_bytes_and_what_could_be_read(data: bytes, reason: str) -> None:
    one = seen_of(data)
    printed = json.loads(json.dumps(object_of(one)))
    assert printed["value"] is None or reason == "BAD_SECTION"
    assert printed["problem"]["reason"] == reason and printed["dropped"]["reason"] == reason
    if printed["value"] is None:
        assert bytes.fromhex(printed["hex"]) == data
        assert (
            data[:1] == b"" or reason in ("TOO_LONG", "UNKNOWN_KIND") or "kind" in str(printed["read"]) or len(data) < 2
        )
    line = shown(line_of(one, 0.0))
    assert f"!! {reason} at byte {printed['problem']['offset']}: " in line


@given(damaged())
@settings(max_examples=400, deadline=None)
def test_no_bytes_raise_in_any_view_and_hex_shows_them_all(data: bytes) -> None:
    one = seen_of(data)
    line = shown(line_of(one, 0.0))
    assert "\n" not in line and line.isprintable()
    json.dumps(object_of(one))
    rows = [shown(text) for text in hex_of(one)]
    assert bytes.fromhex("".join(row[10:58] for row in rows)) == data
    for text in structure_of(one):
        assert shown(text).isprintable()


@pytest.mark.parametrize("data", [data for _, data in GOOD], ids=[name for name, _ in GOOD])
def test_every_field_has_a_row_of_its_own_with_its_bytes(data: bytes) -> None:
    rows = [shown(text) for text in hex_of(seen_of(data))]
    structure = [shown(text) for text in structure_of(seen_of(data))]
    named = [row for row in rows if " = " in row]
    assert [row.partition("  ")[2].split("   ")[-1].split(" = ")[0].split()[-1] for row in named] == [
        text.split(" = ")[0].split()[-1] for text in structure if " = " in text
    ]


def test_what_lines_say() -> None:
    lines = [shown(line_of(one, 1_700_000_000.0)) for one in see(ordinary_capture())]
    text = "\n".join(lines)
    for words in (
        "up    LOBBY             Ada                 HELLO             256  revisions 1 to 1, features 0x0, client",
        "JOIN_OR_CREATE LOBBY as Bob, max_state_bytes 24",
        "of 32 slots in LOBBY, 30 ticks/s",
        "PLAYER_JOINED",
        "MESSAGE 1 17 B to ALL",
        "STATE 1x12 B (ids 0)",
        "PAGE 0 full",
        " ticks) ",
        "SIGNAL 1 6 B to ALL",
        "  rtt 50.",
        "dropped: UNKNOWN_SESSION, the session had ended: BYE LEFT by the client",
    ):
        assert words in text, words


def test_gaps_and_late_ones_are_pointed_out() -> None:
    capture = [packet for packet in ordinary_capture(num_players=1) if packet.data[0] != Kind.BYE]
    updates = [i for i, packet in enumerate(capture) if packet.data[0] == Kind.UPDATE]
    moved = capture.pop(updates[10])
    capture.insert(updates[12], moved)
    lines = [shown(line_of(one, 0.0)) for one in see(capture)]
    assert sum("after a gap of 1" in line for line in lines) == 1
    assert sum("  late by " in line for line in lines) == 1


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def printed_to(stream: io.StringIO) -> str:
    printer = Printer(stream)
    printer.print([("12.5  ", "dim"), ("[red]BAD[/red]", "bold red")])
    return stream.getvalue()


def test_a_pipe_gets_no_colour_and_a_terminal_does(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert printed_to(io.StringIO()) == "12.5  [red]BAD[/red]\n"
    colourful = printed_to(Terminal())
    assert "\x1b[" in colourful and "[red]BAD[/red]" in colourful


def test_without_rich_a_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert printed_to(Terminal()) == "12.5  [red]BAD[/red]\n"


def test_a_name_that_a_terminal_cannot_write_becomes_escapes() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Printer(stream).print([("Zoë", "")])
    stream.flush()
    assert raw.getvalue() == b"Zo\\xeb\n"


@pytest.mark.parametrize("snap_bytes", [65_535, 20 + 8 + 40])
def test_the_line_of_what_is_malformed_or_cut_has_what_its_header_says(snap_bytes: int) -> None:
    packets = [packet for packet in ordinary_capture() if packet.data[0] in (Kind.DATA, Kind.UPDATE)]
    broken = [packet._replace(data=packet.data + b"\x01\xff\xff") for packet in packets]
    for one in see(broken, snap_bytes=snap_bytes):
        text, header = shown(line_of(one, 0.0)), HEADERS[one.kind].decode(one.datagram.data)
        assert one.problem is not None and str(one.problem) in text
        assert f"seq {header.seq} ack " in text
        assert one.kind == Kind.DATA or f"  tick {header.tick}" in text


def test_a_datagram_without_a_whole_header_has_a_line_too() -> None:
    data = next(packet.data for packet in ordinary_capture() if packet.data[0] == Kind.DATA)
    assert "!! " in shown(line_of(seen_of(data[:20]), 0.0)) and "seq" not in shown(line_of(seen_of(data[:20]), 0.0))
