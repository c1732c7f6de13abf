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
    Kind.ROOMS,
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


VECTORS_SAY = {
    "create a room with every option of a room, a password and an identity": (
        "CREATE LOBBY as Ada, max_players 16, entities_per_player 256, max_state_bytes 48, room_key (32 B), "
        "identity (16 B), room_flags ANYONE_SETS"
    ),
    "come back behind log index 65539": "resume 0x0f1e2d3c4b5a6978 behind log 65539, identity (16 B)",
    "a welcome": "log 65540, kept 60 s",
    "welcome back: the log goes on": "log 65539, kept 60 s, resumed CONTINUED",
    "welcome back afresh, to a room where everybody sets properties": "kept 65535 s, resumed AFRESH, ANYONE_SETS",
    "a message to keep, beyond its sender's leave": "MESSAGE 6 9 B to ALL KEEP|OUTLIVES_SENDER",
    "asks for a property of the room": "MESSAGE 5 SET_PROPERTY 'map' of the room = 'Görlitz'",
    "a pong of a region, with bytes for later": "0.1.0 in eu-west, load 12 %",
    "a quick match by tags and a property": "game_version '2.3', tags 'ranked', 'duo', properties 'map'",
    "list the open rooms that suit, from the first on": "behind 0, OPEN_ONLY, game 'org.example.kart'",
    "a page of two rooms, and more behind serial 70009": (
        "behind 70000 in eu-west: LOBBY 'Adas Rennstrecke Ω' 2.3 4/4 'ranked', 'duo' with 'map' = 'Görlitz'; "
        "K3XW7P '' 2.3 1/4 LOCKED|PASSWORD, of 40 listed, next behind 70009"
    ),
    "asks to list the room, with two of its properties": "MESSAGE 5 SHOW listed, with 'map', 'laps'",
    "the room is hidden": "64:ROOM_SHOWN",
    "asks to remove a player": "MESSAGE 5 KICK player 2 'Be nice.'",
    "asks for something of a later revision": "MESSAGE 5 request 127 5 B",
    "kept messages, one of a sender who left": "[9:14 B of 1 at 19 KEEP|KEPT 10:9 B of 65535 at 65540 ",
    "all that a joiner is told before the kept messages": "[6:ROSTER 7:PROPERTIES 8:OWNERS]",
}


@pytest.mark.parametrize("name", VECTORS_SAY)
def test_what_lines_say_of_rooms_that_last(name: str) -> None:
    assert VECTORS_SAY[name] in shown(line_of(seen_of(dict(GOOD)[name]), 0.0))


VECTORS_MEAN = {
    "create a room with every option of a room, a password and an identity": (
        "options[4].key = 6  IDENTITY",
        "(16 B)",
        "options[5].key = 8  ROOM_FLAGS",
        "options[5].value = 01  ANYONE_SETS",
    ),
    "come back behind log index 65539": ("fields.mode = 4  RESUME", "0x0f1e2d3c4b5a6978 behind log 65539"),
    "welcome back afresh, to a room where everybody sets properties": (
        "fields.resumed = 2  AFRESH",
        "fields.room_flags = 1  ANYONE_SETS",
    ),
    "a message to keep, beyond its sender's leave": ("header.kind = 1  MESSAGE", "flags = 3  KEEP|OUTLIVES_SENDER"),
    "asks to ban a player and its address": ("header.kind = 117  BAN", "payload = 020001  player 2 ADDRESS"),
    "a request is refused": ("header.kind = 139  REQUEST_REFUSED", "message 65535, SET_PROPERTY: CHANGED"),
    "kept messages, one of a sender who left": ("entries[0].header.flags = 5  KEEP|KEPT",),
    "a signal after message 4, newest first, to one": ("header.flags = 3  NEWEST_FIRST|AFTER_LOG",),
    "bare, nothing received yet": ("header.flags = 1  NOTHING_RECEIVED",),
    "what a player sees first": ("host 1, members 1 'Bob', 2 'Zoë!' away", "player 3 'Ada'"),
}


@pytest.mark.parametrize("name", VECTORS_MEAN)
def test_what_fields_mean_in_rooms_that_last(name: str) -> None:
    structure = "\n".join(shown(text) for text in structure_of(seen_of(dict(GOOD)[name])))
    assert [words for words in VECTORS_MEAN[name] if words not in structure] == [], structure


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
