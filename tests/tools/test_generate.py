"""The generated files are fresh, the generator finds what is stale, and a released wire cannot change unnoticed."""

import json
import re
from pathlib import Path

import pytest
from construct import Flag, Int8ul, Struct

from protocol import codec, constants, schemas
from protocol.constants import Kind
from relay.config import documented_fields
from tools.generate import __main__ as command
from tools.generate import fingerprint, gdscript, lua, spec_tables, vectors

ROOT = command.ROOT


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with fresh copies of the generated files."""
    for name, text in command.generated_files(ROOT).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_every_generated_file_is_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    "name", [spec_tables.PATH, spec_tables.README_PATH, vectors.path(), gdscript.PATH, lua.PATH, fingerprint.PATH]
)
def test_a_stale_file_is_named_with_its_first_wrong_line(
    copy: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--check"], root=copy) == 0
    fresh = (copy / name).read_text(encoding="utf-8")
    marks = {
        spec_tables.PATH: "| HELLO |",
        spec_tables.README_PATH: "| `--tick-rate` |",
        vectors.path(): '"LOBBY"',
        gdscript.PATH: "const SIZE",
        lua.PATH: "number(2, ",
        fingerprint.PATH: "0x",
    }
    stale = fresh.replace(marks[name], "stale", 1)
    (copy / name).write_text(stale, encoding="utf-8")
    capsys.readouterr()
    assert command.main(["--check"], root=copy) == 1
    assert re.search(rf"^{re.escape(name)} is stale: line \d+: -.*stale", capsys.readouterr().out)
    assert (copy / name).read_text(encoding="utf-8") == stale
    assert command.main([], root=copy) == 0
    assert (copy / name).read_text(encoding="utf-8") == fresh


def test_a_missing_file_is_stale_and_is_written(copy: Path) -> None:
    (copy / vectors.path()).unlink()
    assert command.main(["--check"], root=copy) == 1
    assert command.main([], root=copy) == 0
    assert (copy / vectors.path()).exists()


def test_a_file_that_only_became_longer_is_described() -> None:
    assert command.first_difference("a\nb\n", "a\nb\nc\n") == "line 3: one of the two ends here"


def test_two_runs_give_the_same_bytes() -> None:
    assert command.generated_files(ROOT) == command.generated_files(ROOT)


def test_a_schema_whose_form_gdscript_lacks_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "RESET", Struct("flag" / Flag))
    with pytest.raises(TypeError, match="'flag'"):
        gdscript.build_text()


def test_a_schema_whose_form_the_dissector_lacks_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Struct("kind" / Int8ul, "flag" / Flag)
    monkeypatch.setitem(schemas.DATAGRAMS, Kind.RESET, odd)
    with pytest.raises(TypeError, match=r"'reset\.flag' is of the class FormatField|'reset\.flag' is of the class"):
        lua.build_text()


# --- The fingerprint


def record(**changes: object) -> str:
    return json.dumps({"revision_max": 1, "features": 0, "fingerprint": "0x00000001", "released": True} | changes)


NOW: dict[str, object] = {"revision_max": 1, "features": 0, "fingerprint": "0x00000002"}


def test_the_recorded_fingerprint_is_the_codes_or_the_revision_was_raised() -> None:
    """The check of the brief: layouts that change need a new revision or a feature bit once they are released."""
    recorded = json.loads((ROOT / fingerprint.PATH).read_text(encoding="utf-8"))
    assert recorded["revision_max"] == constants.REVISION_MAX
    assert recorded["fingerprint"] == f"0x{codec.FINGERPRINT:08x}"


def test_a_released_layout_may_not_change() -> None:
    with pytest.raises(fingerprint.FrozenLayoutError, match="raise REVISION_MAX or define a feature bit"):
        fingerprint.build_text(record(), NOW)


@pytest.mark.parametrize("change", ["revision_max", "features"])
def test_a_new_revision_or_feature_may_change_it(change: str) -> None:
    built = json.loads(fingerprint.build_text(record(), NOW | {change: 2}))
    assert built == NOW | {change: 2, "released": False}


def test_before_its_release_a_layout_changes_freely() -> None:
    assert json.loads(fingerprint.build_text(record(released=False), NOW)) == NOW | {"released": False}
    assert json.loads(fingerprint.build_text("", NOW)) == NOW | {"released": False}


def test_a_released_layout_that_is_the_same_stays_released() -> None:
    same = NOW | {"fingerprint": "0x00000001"}
    assert json.loads(fingerprint.build_text(record(), same)) == same | {"released": True}


def test_the_command_refuses_in_one_line(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / fingerprint.PATH).write_text(record(), encoding="utf-8")
    assert command.main([], root=copy) == 1
    assert "revision 1 are released and have changed" in capsys.readouterr().err
    assert (copy / fingerprint.PATH).read_text(encoding="utf-8") == record()


# --- The tables of the SPEC


def test_an_unknown_block_is_an_error() -> None:
    for name in ("kind", "layout NOTHING", "layout DATAGRAMS"):
        with pytest.raises(ValueError, match="permitted: layout SCHEMA, kinds"):
            spec_tables.fill_blocks(f"<!-- generated: {name} -->\n<!-- end -->")


def test_filling_twice_changes_nothing_more() -> None:
    once = spec_tables.fill_blocks(
        "a\n<!-- generated: kinds -->\n<!-- end -->\nb\n<!-- generated: caps -->\n<!-- end -->"
    )
    assert spec_tables.fill_blocks(once) == once
    assert once.startswith("a\n<!-- generated: kinds -->\n\n| kind |")
    assert once.endswith("|\n\n<!-- end -->")


def test_every_kind_has_a_direction() -> None:
    assert set(spec_tables.KINDS) == set(Kind)
    assert {direction for direction, _ in spec_tables.KINDS.values()} == {"up", "down", "both"}


def test_kinds_that_a_client_sends_are_those_of_the_receive_checks() -> None:
    spec = (ROOT / spec_tables.PATH).read_text(encoding="utf-8")
    up = [int(kind) for kind, (direction, _) in spec_tables.KINDS.items() if direction in ("up", "both")]
    assert f"`kind` is one that a client sends: {', '.join(map(str, up))} " in spec


def test_a_layout_table_adds_its_sizes_up() -> None:
    table = spec_tables.build_block("layout REFUSE")
    assert "| 15 | `text` | u8 length, then bytes | 1 + length |" in table
    assert table.endswith("|  |  | **total** | **16 + length** |")


def test_every_setting_stands_in_the_table() -> None:
    table = spec_tables.build_block("settings")
    assert "| `--tick-rate` | 30 | Snapshots per second, 1 ... 240 |" in table
    assert table.count("\n") == len(documented_fields())  # head and rule, less the release, which nobody sets


def test_a_type_without_a_name_for_people_is_an_error() -> None:
    with pytest.raises(TypeError, match="'odd'"):
        spec_tables.layout_table(Struct("odd" / Flag))


# --- The vectors


def test_values_survive_the_way_through_json() -> None:
    value = {"nonce": 2**64 - 1, "list": [1, {"a": b"\x01\x02"}], "b": b""}
    written = json.loads(json.dumps(vectors.to_json(value)))
    assert written["nonce"] == {"u64": "18446744073709551615", "bytes": "ff" * 8}
    assert vectors.from_json(written) == value


def test_no_number_of_the_vectors_is_too_large_for_a_double() -> None:
    def numbers(value: object) -> list[int]:
        if isinstance(value, dict):
            return [n for item in value.values() for n in numbers(item)]
        if isinstance(value, list):
            return [n for item in value for n in numbers(item)]
        return [int(value)] if isinstance(value, int | float) else []

    assert max(numbers(vectors.build())) < 2**53
    assert {"nonce", "session", "challenge"} == vectors.U64_NAMES
