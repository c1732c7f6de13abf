"""Every field of every datagram: what tshark shows with the dissector is what the codec reads."""

import json
import os
import re
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import pytest
from construct import Container

from protocol import codec, schemas
from protocol.constants import DEFAULT_PORT, MAX_PLAYER_KIND, DataSection, EntryKind, Kind, RequestKind, UpdateSection
from protocol.drops import DropReason
from tests.tools.wireshark import tshark as tool
from tests.tools.wireshark.samples import all_fields, fields_of, random_datagram
from tests.tools.wireshark.tshark import ROOT, Dissected

FULL = os.environ.get("TICKRELAY_FULL") == "1"
GENERATED = {"kind", "direction", "session", "nonce"}
ADDED = re.compile(
    r"\.length$|\.(flags|room_flags|fragment|part)\.\w+$|^join\.options\.(max_\w+|entities_\w+|room_flags)$"
)
"""Fields that the codec does not show: lengths before texts and sections, bits of a field, options that are numbers."""
BRANCHES = {
    *(f"data.{section.name.lower()}" for section in DataSection),
    *(f"update.{section.name.lower()}" for section in UpdateSection),
    *(f"update.log_range.entries.{kind.name.lower()}" for kind in EntryKind if kind > MAX_PLAYER_KIND),
    *(f"data.message.{kind.name.lower()}" for kind in RequestKind),
    *(
        f"{kind.name.lower()}.options.{option.name.lower()}"
        for kind, layouts in schemas.OPTION_LAYOUTS.items()
        for option in layouts
    ),
}
"""What has no value of its own, and can be asked for: "has a PAGE section"."""
VECTORS = [
    case
    for path in sorted((ROOT / "protocol/vectors").glob("revision*.json"))
    for case in json.loads(path.read_text(encoding="utf-8"))["datagrams"]
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tshark() -> str:
    return tool.find_tshark()


@pytest.fixture(scope="module")
def vectors(tshark: str, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Container[Any], Dissected]]:
    """What the codec and tshark say of every vector."""
    payloads = [bytes.fromhex(case["hex"]) for case in VECTORS]
    shown = tool.dissect_payloads(tshark, tmp_path_factory.mktemp("vectors"), payloads)
    return [(_decoded(payload), found) for payload, found in zip(payloads, shown, strict=True)]


def _decoded(payload: bytes) -> Container[Any]:
    value = codec.decode(payload)
    assert not isinstance(value, DropReason)
    return value


def differences(value: Container[Any], found: Dissected) -> list[str]:
    """Compare all fields of one datagram, both ways."""
    wanted: dict[str, list[int | bytes]] = defaultdict(list)
    for name, field in fields_of(value):
        wanted[name].append(field)
    complaints = [f"{name} is not in the datagram" for name in found.fields if not _is_known(name, wanted)]
    for name, values in wanted.items():
        shown = found.fields.get(name, [])
        if len(shown) != len(values):
            complaints.append(f"{name} stands there {len(shown)} times, not {len(values)}")
        complaints += [
            f"{name} is {one}, not {other!r}" for one, other in zip(shown, values) if not _is_same(one, other)
        ]
    return complaints


def _is_known(name: str, wanted: dict[str, list[int | bytes]]) -> bool:
    return name in wanted or name in GENERATED | BRANCHES or bool(ADDED.search(name))


def _is_same(shown: tuple[str, str], value: int | bytes) -> bool:
    text, data = shown
    if isinstance(value, int):
        return int(text, 0) == value == int.from_bytes(bytes.fromhex(data), "little")
    return bytes.fromhex(data) == value


def test_every_vector_is_shown_as_the_codec_reads_it(vectors: list[tuple[Container[Any], Dissected]]) -> None:
    for (value, found), case in zip(vectors, VECTORS, strict=True):
        assert differences(value, found) == [], case["name"]
        assert not found.is_malformed and found.protocols == "raw:ip:udp:tickrelay"


def test_the_vectors_hold_every_field_there_is(vectors: list[tuple[Container[Any], Dissected]]) -> None:
    """So the test above left none out."""
    assert {name for value, _ in vectors for name, _ in fields_of(value)} == all_fields()


@pytest.mark.parametrize("seed", range(100 if FULL else 4))
def test_random_datagrams_are_shown_as_the_codec_reads_them(tshark: str, tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    made = [random_datagram(rng, kind) for kind in Kind for _ in range(20 if kind < Kind.DATA else 200)]
    shown = tool.dissect_payloads(tshark, tmp_path, [data for data, _ in made])
    for (data, value), found in zip(made, shown, strict=True):
        assert differences(value, found) == [], data.hex()
        assert not found.is_malformed, data.hex()


def test_the_dissector_has_exactly_the_fields_of_the_schemas_and_those_it_adds(tshark: str, tmp_path: Path) -> None:
    lines = tool.run(tshark, tmp_path, "-G", "fields").splitlines()
    names = {line.split("\t")[2].removeprefix("tickrelay.") for line in lines if "\ttickrelay." in line[:2000]}
    experts = {"too_short", "too_long", "unknown_kind", "bad_magic", "malformed", "bad_section"}
    assert experts | all_fields() | GENERATED | BRANCHES <= names
    extra = {name for name in names - all_fields() - GENERATED - BRANCHES - experts if not ADDED.search(name)}
    notes = {"bad_entry", "bad_request", "bad_option", "cut_by_capture", "refused", "ended"}
    notes |= {"unknown_section", "unknown_option", "unknown_entry", "unknown_request"}
    assert extra == notes


# --- What it adds


def shown(found: Dissected, name: str) -> list[str]:
    return [text for text, _ in found.fields[name]]


def test_a_text_is_shown_without_its_padding(vectors: list[tuple[Container[Any], Dissected]]) -> None:
    for value, found in vectors:
        for name, field in fields_of(value):
            if name.endswith((".code", ".text", ".release", ".client_name")) and isinstance(field, bytes):
                assert field.decode().rstrip("\0") in shown(found, name)


def test_session_and_nonce_stand_under_one_name_for_all_kinds(vectors: list[tuple[Container[Any], Dissected]]) -> None:
    seen = set()
    for value, found in vectors:
        kind = found.fields["kind"][0][0]
        for name, field in fields_of(value):
            last = name.rpartition(".")[2]
            if last in ("session", "nonce") and name.count(".") == 1:
                assert isinstance(field, int) and [int(text, 0) for text in shown(found, last)] == [field]
                seen.add((last, Kind(int(kind)).name))
    assert {kind for name, kind in seen if name == "session"} == {
        "WELCOME", "BYE", "RESET", "PATH_CHALLENGE", "PATH_RESPONSE", "DATA", "UPDATE",
    }  # fmt: skip


def test_bits_of_flags_parts_and_fragments_can_be_filtered(vectors: list[tuple[Container[Any], Dissected]]) -> None:
    num_checked = 0
    for value, found in vectors:
        for name, field in fields_of(value):
            if name == "update.log_range.entries.part" and isinstance(field, int):
                assert str(field & 0x7FFF) in shown(found, f"{name}.number")
                assert str(field >> 15) in shown(found, f"{name}.more")
                num_checked += 1
            if name.endswith("signal.fragment") and isinstance(field, int):
                assert str(field & 15) in shown(found, f"{name}.number")
                assert str(field >> 4) in shown(found, f"{name}.last")
                num_checked += 1
            if name in ("data.flags", "update.flags"):
                assert shown(found, f"{name}.nothing_received") == [str(field)]
                num_checked += 1
    assert num_checked > 20


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        (
            "tickrelay.update.tick > 70000 && tickrelay.update.log_range.entries.kind == 129",
            ["a player left, timed out", "a player was banned"],
        ),
        (
            'tickrelay.join.code == "LOBBY" && tickrelay.join.mode == 2',
            ["join with a password", "join a room of another version of the game"],
        ),
        ("tickrelay.join.mode == 5", ["a quick match by tags and a property"]),
        (
            'tickrelay.join.options.tags.texts == "duo" && tickrelay.join.options.shown',
            ["create a listed room with every option that lists show"],
        ),
        (
            'tickrelay.list.options.game.text == "org.example.kart" && tickrelay.list.flags.open_only == 1',
            ["list the open rooms that suit, from the first on"],
        ),
        (
            'tickrelay.rooms.region == "eu-west" && tickrelay.rooms.rooms.flags.password == 1',
            ["a page of two rooms, and more behind serial 70009"],
        ),
        ('tickrelay.data.message.show.keys == "laps"', ["asks to list the room, with two of its properties"]),
        ("tickrelay.update.log_range.entries.room_shown.is_listed == 0", ["the room is hidden"]),
        ("tickrelay.update.log_range.entries.player_left", ["a player left, timed out", "a player was banned"]),
        ("tickrelay.join.options.resume.log_index == 0", ["come back and know nothing any more"]),
        ("tickrelay.welcome.resumed == 1", ["welcome back: the log goes on"]),
        (
            "tickrelay.welcome.room_flags.anyone_sets == 1",
            ["welcome back afresh, to a room where everybody sets properties"],
        ),
        (
            "tickrelay.join.options.room_flags.anyone_sets == 1 && tickrelay.join.options.room_flags.listed == 0",
            ["create a room with every option of a room, a password and an identity"],
        ),
        ("tickrelay.data.message.ban.flags.address == 1", ["asks to ban a player and its address"]),
        ('tickrelay.data.message.kick.text == "Be nice."', ["asks to remove a player"]),
        ("tickrelay.data.message.flags.keep == 1", ["a message to keep, beyond its sender's leave"]),
        ("tickrelay.update.log_range.entries.flags.kept == 1", ["kept messages, one of a sender who left"]),
        ('tickrelay.data.message.set_property.key == "map"', ["asks for a property of the room"]),
        (
            'tickrelay.update.log_range.entries.properties.properties.key == "skin"',
            ["all that a joiner is told before the kept messages"],
        ),
        ("tickrelay.update.log_range.entries.request_refused.reason == 6", ["a request is refused"]),
        ("tickrelay.unknown_request", ["asks for something of a later revision"]),
        ("tickrelay.data.log_bits && tickrelay.data.signal", ["everything in one datagram"]),
        ("tickrelay.refused", ["a refusal with a text", "a refusal without a text"]),
        (
            "tickrelay.join.options.max_players == 16 && !tickrelay.unknown_option",
            ["create a room with every option of a room, a password and an identity"],
        ),
        (
            'tickrelay.update.log_range.entries.player_joined.name == "Ada"',
            ["what a player sees first", "a joiner is ready when pages 0, 2 and 15 are here"],
        ),
    ],
)
def test_a_display_filter_finds_its_datagrams(tshark: str, tmp_path: Path, expression: str, names: list[str]) -> None:
    tool.write_pcap(tmp_path / "a.pcap", [tool.packet(bytes.fromhex(case["hex"])) for case in VECTORS])
    lines = tool.read_capture(
        tshark, tmp_path / "a.pcap", "-Y", expression, "-T", "fields", "-e", "frame.number"
    ).split()
    assert [VECTORS[int(line) - 1]["name"] for line in lines] == names


def test_the_one_line_view_says_kind_numbers_and_sections(tshark: str, tmp_path: Path) -> None:
    chosen = ["join with a password", "everything in one datagram", "a range and a signal that waits for it"]
    chosen += ["asks to remove a player", "asks for something of a later revision", "a message to all"]
    payloads = [bytes.fromhex(case["hex"]) for name in chosen for case in VECTORS if case["name"] == name]
    tool.write_pcap(tmp_path / "a.pcap", [tool.packet(payload) for payload in payloads])
    text = tool.read_capture(
        tshark, tmp_path / "a.pcap", "-T", "fields", "-e", "_ws.col.Protocol", "-e", "_ws.col.Info"
    )
    lines = text.splitlines()
    assert lines[0] == "tickrelay\tJOIN LOBBY"
    assert re.fullmatch(r"tickrelay\tDATA seq=\d+ ack=\d+ .*STATE.*MESSAGE.*SIGNAL.*", lines[1])
    assert re.fullmatch(r"tickrelay\tUPDATE seq=\d+ ack=\d+ tick=\d+ LOG_RANGE, SIGNAL", lines[2])
    assert [line.rpartition("=")[2].partition(" ")[2] for line in lines[3:]] == [
        "MESSAGE KICK",
        "MESSAGE 127",
        "MESSAGE",
    ]


def test_it_listens_on_the_default_port(tshark: str, tmp_path: Path) -> None:
    unknown = bytes([99, 0, 1, 2])
    here, elsewhere = tool.dissect(
        tshark, tmp_path, [tool.packet(unknown, target=DEFAULT_PORT), tool.packet(unknown, target=DEFAULT_PORT + 1)]
    )
    assert here.protocols.endswith(":tickrelay") and "tickrelay" not in elsewhere.protocols
