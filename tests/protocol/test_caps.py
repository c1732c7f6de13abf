"""The table of caps: true to the constants, and every test that it names exists."""

import ast
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from protocol import schemas
from protocol.caps import CAPS
from protocol.constants import MAX_BODY_BYTES, MAX_STATE_BYTES, ByeReason, Refusal, RequestRefusal
from protocol.drops import DropReason
from protocol.dtypes import page_ids

ROOT = Path(__file__).resolve().parents[2]


def named_tests(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_a_cap_names_exists() -> None:
    named = [cap.test.split("::") for cap in CAPS if cap.test]
    assert named
    assert [(path, name) for path, name in named if name not in named_tests(path)] == []


def test_every_cap_says_what_happens_beyond_it() -> None:
    for cap in CAPS:
        assert cap.what and cap.policy and any(letter.isdigit() for letter in cap.limit), cap


def test_counters_are_reasons_that_exist() -> None:
    known = {reason.name for reason in (*DropReason, *Refusal, *ByeReason, *RequestRefusal)} | {"-"}
    assert {name for cap in CAPS for name in cap.counted.split(", ")} <= known


def test_the_rows_are_what_the_spec_says_of_them() -> None:
    limits = {cap.what: cap.limit for cap in CAPS}
    assert limits["datagram received"] == "1,200 bytes"
    assert limits["datagram built"] == "1,160 bytes"
    assert limits["removals and groups of a page section"] == "1,112 bytes"
    assert limits["one message"] == "1,048,576 bytes"


@given(st.integers(1, MAX_STATE_BYTES), st.data())
def test_one_whole_page_of_any_room_fits_one_datagram(max_state_bytes: int, data: st.DataObject) -> None:
    """The worst page: every id was removed and lives again, in as many groups as its lengths make."""
    ids = list(range(page_ids(max_state_bytes)))
    strides = [data.draw(st.integers(1, max_state_bytes)) for _ in ids] if data.draw(st.booleans()) else []
    by_stride: dict[int, list[int]] = {}
    for entity, stride in zip(ids, strides or [max_state_bytes] * len(ids), strict=True):
        by_stride.setdefault(stride, []).append(entity)
    groups = [
        {
            "header": {"encoding": 0, "count": len(members), "stride": stride},
            "ids": members,
            "ages": [0] * len(members),
            "states": [bytes(stride)] * len(members),
        }
        for stride, members in by_stride.items()
    ]
    header = {
        "page": 0,
        "layer": 0,
        "since": 0,
        "log_index": 0,
        "removed_count": len(ids),
        "group_count": len(groups),
    }
    section = schemas.PAGE_SECTION.build({"header": header, "removed": ids, "groups": groups})
    assert schemas.UPDATE_HEADER.sizeof() + schemas.SECTION_HEADER.sizeof() + len(section) <= MAX_BODY_BYTES
