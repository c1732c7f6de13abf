"""The blocks of SPEC.md and README.md between `<!-- generated: NAME -->` and `<!-- end -->`."""

import importlib
import importlib.util
import re
from collections.abc import Iterable

from construct import Bytes, Construct, FormatField, GreedyBytes, Prefixed, Renamed, Struct, Terminated

from protocol import caps, schemas
from protocol.constants import ByeReason, Kind, Refusal, RequestRefusal
from protocol.texts import BYE_TEXTS, REFUSAL_TEXTS, REQUEST_TEXTS
from relay.config import documented_fields, field_docs
from tools.generate.exchange import build_exchange

PATH = "protocol/SPEC.md"
README_PATH = "README.md"
_BLOCK = re.compile(r"(<!-- generated: ([^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
_TYPE_NAMES = {"B": "u8", "H": "u16", "L": "u32", "Q": "u64"}

KINDS: dict[Kind, tuple[str, str]] = {
    Kind.HELLO: ("up", "versions, padded; asks for a cookie"),
    Kind.CHALLENGE: ("down", "chosen revision and features, cookie"),
    Kind.JOIN: ("up", "cookie, what room, name, options"),
    Kind.WELCOME: ("down", "session, secret, limits of the room"),
    Kind.REFUSE: ("down", "why not, for the program and for a human"),
    Kind.REDIRECT: ("down", "reserved: another server has the room"),
    Kind.PING: ("up", "padded; is a relay there?"),
    Kind.PONG: ("down", "release, tick rate, load"),
    Kind.BYE: ("both", "the session ends"),
    Kind.RESET: ("down", "the server does not know this session"),
    Kind.PATH_CHALLENGE: ("down", "prove that you are at this new address"),
    Kind.PATH_RESPONSE: ("up", "the proof"),
    Kind.LIST: ("up", "cookie; which rooms are there to find?"),
    Kind.ROOMS: ("down", "a page of rooms that are listed"),
    Kind.DATA: ("up", "acks; states, messages, signals"),
    Kind.UPDATE: ("down", "acks; pages, log, signals"),
}
"""Direction and meaning of every kind. Up is from client to server."""


def fill_blocks(page: str) -> str:
    """Fill every block of a page anew. Raises: ValueError naming a block that nobody makes."""
    return _BLOCK.sub(lambda match: f"{match[1]}\n{build_block(match[2])}\n\n{match[3]}", page)


def build_block(name: str) -> str:
    """Make the content of one block by its name."""
    if name.startswith("layout "):
        schema = getattr(schemas, name.removeprefix("layout "), None)
        if isinstance(schema, Struct):
            return layout_table(schema)
    elif name in _BLOCKS:
        return _BLOCKS[name]()
    raise ValueError(f"nobody makes a block {name!r}; permitted: layout SCHEMA, {', '.join(_BLOCKS)}")


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Write a Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def layout_table(schema: Struct) -> str:
    """Write offset, field, type and size of every field of a schema, and the total."""
    rows: list[tuple[object, ...]] = []
    offset = 0
    rest = ""
    for field in schema.subcons:
        if field is Terminated:
            continue
        kind, size, tail = _type_and_size(field)
        rows.append((offset, f"`{field.name}`", kind, size))
        offset += tail[0]
        rest += tail[1]
    rows.append(("", "", "**total**", f"**{offset}{rest}**"))
    return table(("offset", "field", "type", "bytes"), rows)


def _type_and_size(field: Renamed) -> tuple[str, str, tuple[int, str]]:
    """Tell type and size of a field for people, and (fixed bytes, what else) for the total."""
    inner: Construct = field.subcon
    if isinstance(inner, FormatField):
        return _TYPE_NAMES[inner.fmtstr[1]], str(inner.length), (inner.length, "")
    if isinstance(inner, Bytes):
        return "bytes", str(inner.length), (inner.length, "")
    if isinstance(inner, Prefixed):
        return "u8 length, then bytes", "1 + length", (1, " + length")
    if inner is GreedyBytes:
        return "bytes to the end", "rest", (0, " or more")
    raise TypeError(f"{field.name!r} is of a type that no layout table has yet")


def all_caps() -> list[caps.Cap]:
    """Collect the caps of the wire and, where the relay lists its own in `relay/caps.py`, those too."""
    found = list(caps.CAPS)
    if importlib.util.find_spec("relay.caps"):
        found += importlib.import_module("relay.caps").CAPS
    return found


def _kinds() -> str:
    rows = [(int(kind), kind.name, *KINDS[kind]) for kind in Kind]
    return table(("kind", "name", "direction", "what"), rows)


def _refusals() -> str:
    rows = [(int(reason), f"`{reason.name}`", REFUSAL_TEXTS[reason]) for reason in Refusal]
    return table(("reason", "name", "text"), rows)


def _request_refusals() -> str:
    rows = [(int(reason), f"`{reason.name}`", REQUEST_TEXTS[reason]) for reason in RequestRefusal]
    return table(("reason", "name", "text"), rows)


def _bye_reasons() -> str:
    rows = [(int(reason), f"`{reason.name}`", BYE_TEXTS[reason]) for reason in ByeReason]
    return table(("reason", "name", "text"), rows)


def _caps() -> str:
    rows = [(cap.what, cap.limit, cap.policy, cap.counted, f"`{cap.test}`" if cap.test else "") for cap in all_caps()]
    return table(("what", "cap", "when full", "counted as", "test"), rows)


def _settings() -> str:
    docs = field_docs()
    rows = [
        (f"`--{name.replace('_', '-')}`", default, _first_sentence(docs[name]))
        for name, default in documented_fields()
        if name != "release"
    ]
    return table(("option", "default", "what, and permitted range"), rows)


def _first_sentence(text: str) -> str:
    """Cut a text at its first full stop; the dots of a range ("1 ... 240") are none."""
    return re.split(r"(?<!\.)\.(?:\s|$)", text, maxsplit=1)[0]


_BLOCKS = {
    "kinds": _kinds,
    "refusals": _refusals,
    "bye reasons": _bye_reasons,
    "request refusals": _request_refusals,
    "caps": _caps,
    "settings": _settings,
    "exchange": build_exchange,
}
