"""The shared test vectors: one JSON file per revision, read by Python and by GDScript.

Numbers are JSON numbers below 2^53. A u64 is an object: `u64` in decimal, `bytes` in hex as on the wire. Bytes are hex.
"""

import json
from typing import Any

from construct import Construct, FormatField

from protocol import constants, schemas
from tools.generate import vector_datagrams, vector_log, vector_meanings


def path() -> str:
    """Path of the newest revision's vectors. Those of earlier revisions stay as they are."""
    return f"protocol/vectors/revision{constants.REVISION_MAX}.json"


def _names_of_u64(schema: Construct) -> set[str]:
    """Collect the names of all u64 fields at the top of a schema and of the structs in it."""
    names = set()
    for field in getattr(schema, "subcons", []):
        inner = getattr(field, "subcon", field)
        if isinstance(inner, FormatField) and inner.fmtstr == "<Q":
            names.add(field.name)
        names |= _names_of_u64(inner)
    return names


U64_NAMES = set().union(*(_names_of_u64(schema) for schema in schemas.DATAGRAMS.values()))
"""Names of the fields that are written as a u64 object."""


def to_json(value: Any, name: str = "") -> Any:
    """Turn a schema's value (dicts, lists, ints, bytes) into what the vectors hold."""
    if isinstance(value, dict):
        return {key: to_json(item, key) for key, item in value.items() if not str(key).startswith("_")}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    number = int(value)
    if name in U64_NAMES:
        return {"u64": str(number), "bytes": number.to_bytes(8, "little").hex()}
    return number


def from_json(schema_value: Any) -> Any:
    """Turn a vector's value back into what a schema builds from. A string is always bytes in hex."""
    if isinstance(schema_value, dict):
        if set(schema_value) == {"u64", "bytes"}:
            return int(schema_value["u64"])
        return {key: from_json(item) for key, item in schema_value.items()}
    if isinstance(schema_value, list):
        return [from_json(item) for item in schema_value]
    return bytes.fromhex(schema_value) if isinstance(schema_value, str) else schema_value


def _datagrams() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "kind": kind.name,
            "hex": schemas.DATAGRAMS[kind].build(value).hex(),
            "value": to_json(value),
        }
        for name, kind, value in vector_datagrams.datagram_cases()
    ]


def _refused() -> list[dict[str, str]]:
    return [{"name": name, "hex": data, "reason": reason} for name, data, reason in vector_datagrams.REFUSED_CASES]


def build() -> dict[str, Any]:
    """Make all vectors of the newest revision."""
    return {
        "about": " ".join(__doc__.split()),
        "revision": constants.REVISION_MAX,
        "datagrams": _datagrams(),
        "refused_datagrams": _refused(),
        **vector_meanings.build(),
        "pages": vector_meanings.page_cases(),
        "logs": vector_log.log_cases(),
    }


def build_text() -> str:
    """Make the text of the newest revision's file."""
    return json.dumps(build(), indent=1, ensure_ascii=False) + "\n"
