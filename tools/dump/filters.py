"""Which datagrams are shown: options for the usual questions, and expressions for the others.

An expression is one of Python's with comparisons, `in`, `and`, `or`, `not` and parentheses, over the names below. It is
read by Python's own parser into closures; nothing in it is ever executed.
"""

import argparse
import ast
import operator
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from protocol.constants import Kind
from protocol.drops import DropReason
from tools.cli import UsageError
from tools.dump.datagrams import Direction
from tools.dump.fields import id_text
from tools.dump.sessions import HEADERS, Seen

Keep = Callable[[Seen], bool]


def _session_text(seen: Seen) -> str | None:
    return id_text(seen.session.session) if seen.session is not None else None


def _problem_name(seen: Seen) -> str | None:
    return seen.problem.reason.name if seen.problem is not None and seen.problem.reason is not None else None


def _ahead(seen: Seen) -> int | None:
    return None if seen.seq is None or seen.dropped is not None else seen.ahead


def _round_trip_ms(seen: Seen) -> float | None:
    return None if seen.round_trip_s is None else seen.round_trip_s * 1000


def _header_field(name: str) -> Callable[[Seen], Any]:
    def read(seen: Seen) -> Any:
        record, data = HEADERS.get(seen.kind), seen.datagram.data
        if record is None or len(data) < record.size or name not in record.tuple._fields:
            return None
        return getattr(record.decode(data), name)

    return read


NAMES: dict[str, tuple[str, Callable[[Seen], Any]]] = {
    "number": ("of the packet in the capture", lambda seen: seen.datagram.number),
    "time": ("seconds since 1970", lambda seen: seen.datagram.time_s),
    "direction": ("up or down", lambda seen: seen.direction.value),
    "kind": ("HELLO ... UPDATE", lambda seen: seen.kind_name),
    "room": ("code, or None", lambda seen: seen.room or None),
    "player": ("name, or None", lambda seen: seen.player or None),
    "player_id": ("number in the room, or None", lambda seen: seen.session.player_id if seen.session else None),
    "session": ("id such as 0x0123456789abcdef, in quotes or not, or None", _session_text),
    "bytes": ("of UDP payload", lambda seen: seen.datagram.size),
    "seq": ("of DATA and UPDATE", lambda seen: None if seen.seq is None else seen.seq & 0xFFFF),
    "ack": ("of DATA and UPDATE", _header_field("ack")),
    "tick": ("of UPDATE", _header_field("tick")),
    "log_cursor": ("of DATA", _header_field("log_cursor")),
    "ahead": ("seq less the newest before it: 1 in order, 3 if two are missing; None if dropped", _ahead),
    "round_trip_ms": ("that it shows, or None", _round_trip_ms),
    "problem": ("reason such as BAD_SECTION if it is malformed, or None", _problem_name),
    "dropped": ("reason such as DUPLICATE, or None", lambda seen: seen.dropped.name if seen.dropped else None),
    "source": ("address", lambda seen: str(seen.datagram.flow.source)),
    "target": ("address", lambda seen: str(seen.datagram.flow.target)),
}  # fmt: skip
"""What expressions may name: its description and how to get it."""

_WORDS = (
    frozenset(Kind.__members__) | frozenset(DropReason.__members__) | {Direction.UP.value, Direction.DOWN.value}
)  # fmt: skip
"""May stand in an expression without quotes."""
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


def compile_expression(text: str) -> Keep:
    """Turn an expression into a filter. A comparison with something that is not known is false, `!=` and `not in` too;
    to ask for what is not known, None is written: `tick is None`.

    Raises: UsageError for what is no expression, or has more in it than is permitted.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        keep = _compile(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        text_of_error = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UsageError(
            f'where is {text!r}: {text_of_error}; permitted: as in "kind == UPDATE and bytes > 500"'
        ) from None
    return lambda seen: bool(keep(seen))


def _compile(node: ast.expr) -> Callable[[Seen], Any]:
    """Compile a part of an expression. Raises: ValueError that says what is not permitted."""
    if isinstance(node, ast.Constant):
        value = node.value
        return lambda seen: value
    if isinstance(node, ast.Name):
        return _compile_name(node.id)
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        items = [_compile(item) for item in node.elts]
        return lambda seen: [item(seen) for item in items]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = _compile(node.operand)
        return lambda seen: not inner(seen)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and _is_number(node.operand):
        negative = -ast.literal_eval(node.operand)
        return lambda seen: negative
    if isinstance(node, ast.BoolOp):
        parts = [_compile(part) for part in node.values]
        combine = all if isinstance(node.op, ast.And) else any
        return lambda seen: combine(part(seen) for part in parts)
    if isinstance(node, ast.Compare):
        return _compile_comparison(node)
    raise ValueError(f"{ast.unparse(node)} is not permitted")


def _compile_name(name: str) -> Callable[[Seen], Any]:
    if name in NAMES:
        return NAMES[name][1]
    if name in _WORDS:
        return lambda seen: name
    raise ValueError(f"{name} is not known, only {', '.join(NAMES)}; other texts stand in quotes")


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _compile_comparison(node: ast.Compare) -> Callable[[Seen], Any]:
    parts = [node.left, *node.comparators]
    if any(isinstance(part, ast.Name) and part.id == "session" for part in parts):
        parts = [_with_session_ids(part) for part in parts]
    operands = [_compile(part) for part in parts]
    operators = [_COMPARISONS[type(op)] for op in node.ops]
    asks_for_none = [_writes_none(a) or _writes_none(b) for a, b in pairwise(parts)]

    def compare(seen: Seen) -> bool:
        values = [operand(seen) for operand in operands]
        for op, a, b, may_be_none in zip(operators, values, values[1:], asks_for_none):
            if (a is None or b is None) and not may_be_none:
                return False
            try:
                if not op(a, b):
                    return False
            except TypeError:  # 5 < "five", 3 in 5
                return False
        return True

    return compare


def _with_session_ids(node: ast.expr) -> ast.expr:
    """Put texts for the numbers beside `session`: 0x0123456789abcdef is a number to Python, and would equal nothing."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return ast.Constant(id_text(node.value))
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return ast.List([_with_session_ids(item) for item in node.elts])
    return node


def _writes_none(node: ast.expr) -> bool:
    items = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return any(isinstance(item, ast.Constant) and item.value is None for item in items)


def parse_session(text: str) -> Callable[[str], bool]:
    """Read a session id or the begin of one, with or without "0x". Returns: what tells whether an id fits.

    Raises: UsageError.
    """
    wanted = text.lower().removeprefix("0x")
    if not wanted or len(wanted) > 16 or any(c not in "0123456789abcdef" for c in wanted):
        raise UsageError(f"session is {text!r}; permitted: an id as shown, or its first digits")
    return lambda shown: shown.removeprefix("0x").startswith(wanted)


def build_filter(options: argparse.Namespace, begin_s: Callable[[], float]) -> Keep | None:
    """Build one filter from the options. Every one that is given must hold.

    Args:
        options: room, player, session, kind, direction, after, before, min_bytes, max_bytes, dropped, where.
        begin_s: Tells when the first datagram was seen, seconds since 1970.
    Returns: None if nothing is filtered. Raises: UsageError.
    """
    keeps: list[Keep] = []
    if options.room is not None:
        room = options.room.upper()
        keeps.append(lambda seen: seen.room == room)
    if options.player is not None:
        keeps.append(lambda seen: options.player in (seen.player, _player_id_text(seen)))
    if options.session is not None:
        fits = parse_session(options.session)
        keeps.append(lambda seen: seen.session is not None and fits(id_text(seen.session.session)))
    if options.kind is not None:
        kinds = _parse_kinds(options.kind)
        keeps.append(lambda seen: seen.kind in kinds)
    if options.direction is not None:
        keeps.append(lambda seen: seen.direction.value == options.direction)
    if options.after is not None:
        keeps.append(lambda seen: seen.datagram.time_s - begin_s() >= options.after)
    if options.before is not None:
        keeps.append(lambda seen: seen.datagram.time_s - begin_s() < options.before)
    if options.min_bytes is not None:
        keeps.append(lambda seen: seen.datagram.size >= options.min_bytes)
    if options.max_bytes is not None:
        keeps.append(lambda seen: seen.datagram.size <= options.max_bytes)
    if options.dropped:
        keeps.append(lambda seen: seen.dropped is not None)
    if options.where is not None:
        keeps.append(compile_expression(options.where))
    return (lambda seen: all(keep(seen) for keep in keeps)) if keeps else None


def _player_id_text(seen: Seen) -> str:
    return "" if seen.session is None or seen.session.player_id is None else str(seen.session.player_id)


def _parse_kinds(text: str) -> frozenset[int]:
    """Read names or numbers of kinds with commas between. Raises: UsageError."""
    kinds = set()
    for word in text.split(","):
        name = word.strip().upper()
        if name in Kind.__members__:
            kinds.add(int(Kind[name]))
        elif name.isascii() and name.isdigit() and int(name) < 256:
            kinds.add(int(name))
        else:
            raise UsageError(f"kind is {word!r}; permitted: {', '.join(kind.name for kind in Kind)}, or a number")
    return frozenset(kinds)
