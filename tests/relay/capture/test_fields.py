"""Every field of the wire is classified, and found where the codec reads it."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from construct import Flag, Int32ul, Optional, Struct

import protocol
from protocol import codec, schemas
from protocol.constants import Kind
from protocol.drops import DropReason
from relay.capture import fields as module
from relay.capture.fields import PUBLIC, SECRET, TEXT, Secrecy, all_paths, field_paths, secrecy_of, spans_of
from tests.tools.wireshark.samples import all_fields, fields_of, payload_fields, random_datagram

ALL = list(all_paths())
OPTIONS = ("join.options", "list.options")
INSIDE = {path for path in payload_fields() if not path.startswith(OPTIONS)}
"""What lies in payloads, which are walked elsewhere."""
VECTORS = json.loads((Path(protocol.__file__).parent / "vectors/revision1.json").read_text(encoding="utf-8"))


def test_every_field_of_every_datagram_is_in_exactly_one_list() -> None:
    """A field that somebody adds to a schema must be put into one of the lists of `relay.capture.fields`."""
    assert [path for path in ALL if (path in PUBLIC) + (path in SECRET) + (path in TEXT) != 1] == []
    assert set(ALL) == PUBLIC | SECRET | TEXT


def test_no_field_of_the_wire_is_left_out() -> None:
    """Against a list that was made from the schemas by other means."""
    assert {path for path in ALL if not path.endswith(".length")} == {
        path for path in all_fields() if not path.endswith(".length")
    }


@pytest.mark.parametrize("name", ["name", "key", "value", "text"])
def test_what_players_write_is_a_text_wherever_it_stands(name: str) -> None:
    """But for what the relay itself says when it refuses."""
    places = [path for path in ALL if path.endswith(f".{name}") and "options" not in path and path != "refuse.text"]
    assert places and set(places) <= TEXT


def test_a_field_that_nobody_classified_is_secret() -> None:
    grown = Struct(*schemas.RESET.subcons[:-1], "fresh" / Int32ul)
    (added,) = set(field_paths(grown, "reset")) - set(ALL)
    assert secrecy_of(added) is Secrecy.SECRET
    assert secrecy_of("data.seq") is Secrecy.PUBLIC and secrecy_of("join.name") is Secrecy.TEXT


@pytest.mark.parametrize("name", ["session", "nonce", "cookie", "secret", "reset_token", "challenge", "proof"])
def test_what_names_or_opens_a_session_is_secret_wherever_it_stands(name: str) -> None:
    places = [path for path in ALL if path.rpartition(".")[2] == name]
    assert places and set(places) <= SECRET


@pytest.mark.parametrize("seed", range(3))
def test_fields_are_found_where_the_codec_reads_them(seed: int) -> None:
    rng = Random(seed)
    for _ in range(400):
        data, value = random_datagram(rng, rng.choice(list(Kind)))
        found = [span for span in spans_of(data) if not span.path.endswith(".length") or ".entries." in span.path]
        wanted = [(path, field) for path, field in fields_of(value) if path not in INSIDE]
        wanted = without_values_that_have_fields(wanted)
        assert [span.path for span in found] == [path for path, _ in wanted], data.hex()
        for span, (path, field) in zip(found, wanted, strict=True):
            raw = data[span.start : span.stop]
            assert (int.from_bytes(raw, "little") if isinstance(field, int) else raw) == field, path


def without_values_that_have_fields(fields: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Leave out the values of options whose own fields stand behind them, or are none but the value is no bytes."""
    left = []
    for at, (path, value) in enumerate(fields):
        behind = fields[at + 1][0] if at + 1 < len(fields) else ""
        is_whole = path.endswith("options.value") and behind.count(".") >= 3 and behind.startswith(OPTIONS)
        if not (is_whole or (path.endswith("options.value") and has_no_fields(path, fields[at - 1][1], value))):
            left.append((path, value))
    return left


def has_no_fields(path: str, key: int, value: bytes) -> bool:
    """Tell whether an option's value is a list of nothing."""
    layouts = schemas.OPTION_LAYOUTS[Kind[path.partition(".")[0].upper()]] if path.startswith(OPTIONS) else {}
    return value == b"" and layouts.get(key) in (schemas.TEXTS, schemas.PLAIN_PROPERTIES)  # type: ignore[call-overload]


def test_fields_lie_side_by_side_and_fill_a_datagram_that_is_whole() -> None:
    rng = Random(5)
    for kind in set(Kind) - {Kind.HELLO, Kind.PING}:  # these two are padded
        for _ in range(20):
            data, _ = random_datagram(rng, kind)
            spans = spans_of(data)
            assert [span.start for span in spans] == [0, *(span.stop for span in spans[:-1])]
            assert spans[-1].stop == len(data)


def test_a_damaged_datagram_has_its_fields_as_far_as_they_go() -> None:
    for case in VECTORS["datagrams"]:
        data = bytes.fromhex(case["hex"])
        whole = spans_of(data)
        for length in range(len(data)):
            cut = spans_of(data[:length])
            assert all(span.stop <= length for span in cut)
            inside = [span for span in whole if span.stop <= length and not is_in_option(span.path)]
            cut = [span for span in cut if not is_in_option(span.path)]
            if data[0] not in (Kind.DATA, Kind.UPDATE):
                assert cut[: len(inside)] == inside[: len(cut)]


def is_in_option(path: str) -> bool:
    """Tell whether a field is an option's value, or in one: what it is is known only of one that is whole."""
    return path.startswith(OPTIONS) and not path.endswith((".options.key", ".options.value.length"))


def test_any_bytes_are_walked_without_an_error() -> None:
    rng = Random(8)
    for case in VECTORS["refused_datagrams"]:
        data = bytes.fromhex(case["hex"])
        spans_of(data)
        assert isinstance(codec.decode(data), DropReason)
    for _ in range(20_000):
        data = bytes([rng.choice([*Kind, 99])]) + rng.randbytes(rng.randint(0, 120))
        assert all(0 <= span.start <= span.stop <= len(data) for span in spans_of(data))


def test_a_schema_of_another_form_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Struct("kind" / Optional(Flag))
    monkeypatch.setattr(module, "_SCHEMAS", {int(Kind.RESET): odd})
    with pytest.raises(TypeError, match=r"'reset\.kind' is of the class"):
        spans_of(bytes([Kind.RESET, 1]))
    with pytest.raises(TypeError, match=r"'reset\.kind' is of the class"):
        list(field_paths(odd, "reset"))
