"""Datagrams for the tests of the dump: those of the shared vectors, random ones from the schemas, and damaged ones."""

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from protocol import schemas
from protocol.constants import MAX_DATAGRAM_BYTES, Kind

ROOT = Path(__file__).resolve().parents[3]
VECTORS: dict[str, Any] = json.loads((ROOT / "protocol/vectors/revision1.json").read_text(encoding="utf-8"))
GOOD = [(entry["name"], bytes.fromhex(entry["hex"])) for entry in VECTORS["datagrams"]]
"""(what it shows, datagram) of every kind."""
REFUSED = [(entry["name"], bytes.fromhex(entry["hex"]), entry["reason"]) for entry in VECTORS["refused_datagrams"]]
"""(what is wrong, datagram, name of the DropReason)."""


@st.composite
def datagrams(draw: st.DrawFn) -> bytes:
    """Random datagrams that the codec decodes, of every kind, with random values in every field."""
    kind = draw(st.sampled_from(sorted(schemas.DATAGRAMS)))
    data: bytes = schemas.DATAGRAMS[kind].build(draw(_value(schemas.DATAGRAMS[kind], kind)))
    return data if len(data) <= MAX_DATAGRAM_BYTES else draw(datagrams())


def _value(schema: Any, kind: Kind) -> st.SearchStrategy[Any]:
    """Values that `schema` builds from."""
    name = type(schema).__name__
    if name == "FormatField":
        return st.integers(0, 256**schema.length - 1)
    if name == "Bytes":
        return st.binary(min_size=schema.length, max_size=schema.length)
    if name == "GreedyBytes":
        return st.binary(max_size=40)
    if name in ("Prefixed", "Padded", "Renamed"):
        return _value(schema.subcon, kind)
    if name == "GreedyRange":
        return st.lists(_value(schema.subcon, kind), max_size=3)
    assert name == "Struct", name
    names = [part.name for part in schema.subcons]
    if names == ["type", "body"]:
        return _section(kind)
    if schema is schemas.STATE_SECTION:
        return _state_sections()
    if schema is schemas.PAGE_SECTION:
        return _page_sections()
    if schema is schemas.ENTRY:
        return _entries()
    if "targets" in names:
        return _with_targets(schema, kind)
    fields = {part.name: _value(part.subcon, kind) for part in schema.subcons if part.name}
    fixed = {"kind": st.just(int(kind)), "magic": st.just(b"TKRL")} if "shard" in names else {}
    return st.fixed_dictionaries({field: fixed.get(field, value) for field, value in fields.items()})


def _section(kind: Kind) -> st.SearchStrategy[Any]:
    bodies = schemas.DATA_SECTION_BODIES if kind is Kind.DATA else schemas.UPDATE_SECTION_BODIES
    known = [st.fixed_dictionaries({"type": st.just(int(t)), "body": _value(b, kind)}) for t, b in bodies.items()]
    unknown = st.fixed_dictionaries({"type": st.integers(5, 255), "body": st.binary(max_size=20)})
    return st.one_of(*known, unknown)


@st.composite
def _state_sections(draw: st.DrawFn) -> Any:
    count, stride = draw(st.integers(0, 4)), draw(st.integers(0, 24))
    states = [
        {"entity_id": draw(st.integers(0, 65535)), "state": draw(st.binary(min_size=stride, max_size=stride))}
        for _ in range(count)
    ]
    return {"header": {"sample_ms": draw(st.integers(0, 65535)), "count": count, "stride": stride}, "states": states}


@st.composite
def _page_sections(draw: st.DrawFn) -> Any:
    removed = draw(st.lists(st.integers(0, 65535), max_size=3))
    groups = []
    for _ in range(draw(st.integers(0, 2))):
        count, stride = draw(st.integers(0, 4)), draw(st.integers(0, 24))
        header = {"encoding": draw(st.integers(0, 255)), "count": count, "stride": stride}
        exactly = dict(min_size=count, max_size=count)
        groups.append(
            {
                "header": header,
                "ids": draw(st.lists(st.integers(0, 65535), **exactly)),
                "ages": draw(st.lists(st.integers(0, 255), **exactly)),
                "states": draw(st.lists(st.binary(min_size=stride, max_size=stride), **exactly)),
            }
        )
    values = draw(_value(schemas.PAGE_HEADER, Kind.UPDATE))
    return {
        "header": values | {"removed_count": len(removed), "group_count": len(groups)},
        "removed": removed,
        "groups": groups,
    }


@st.composite
def _entries(draw: st.DrawFn) -> Any:
    payload = draw(st.binary(max_size=30))
    return {"header": draw(_value(schemas.ENTRY_HEADER, Kind.UPDATE)) | {"length": len(payload)}, "payload": payload}


@st.composite
def _with_targets(draw: st.DrawFn, schema: Any, kind: Kind) -> Any:
    targets = draw(st.lists(st.integers(0, 65535), max_size=3))
    header = draw(_value(schema.subcons[0].subcon, kind)) | {"target_count": len(targets)}
    return {"header": header, "targets": targets, "payload": draw(st.binary(max_size=40))}


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Good datagrams with a few bytes changed, cut off, or added; and plain random bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=1300))
    data = bytearray(draw(st.one_of(datagrams(), st.sampled_from([data for _, data in GOOD]))))
    for _ in range(draw(st.integers(0, 4))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    action = draw(st.sampled_from(["keep", "keep", "cut", "grow"]))
    if action == "cut":
        del data[draw(st.integers(0, len(data))) :]
    elif action == "grow":
        data += draw(st.binary(min_size=1, max_size=20))
    return bytes(data)
