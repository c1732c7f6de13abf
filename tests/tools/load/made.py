"""Hand-made crowds and UPDATEs: players of a load without a relay, and what one might send them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from protocol import codec
from protocol.constants import NO_PLAYER, AckFlag, EntryKind, Kind, StateEncoding, UpdateSection
from relay.batch import ROW_BYTES
from tools.load import claims
from tools.load.checks import Checks
from tools.load.claims import Use
from tools.load.crowd import Crowd
from tools.load.joining import made_up_welcome
from tools.load.plan import Plan
from tools.load.reading import Shape

TICK_RATE = 10
SIZE = 24
"""Bytes of states, messages and signals."""


def plan_of(**changes: Any) -> Plan:
    """A plan of one room of four."""
    sizes = {"state_bytes": SIZE, "message_bytes": SIZE, "signal_bytes": SIZE}
    return Plan(**({"port": 1, "rooms": 1, "players": 4, "floor": True} | sizes | changes))


def crowd_of(plan: Plan | None = None, witness: Any = None, now: float = 0.0) -> tuple[Crowd, Any]:
    """Players who are in, row = player, and who witnesses what they receive: the checks, unless told otherwise.

    Session numbers are row + 1. All have heard that all are there.
    """
    plan = plan or plan_of()
    welcomes = [made_up_welcome(plan, player, TICK_RATE) for player in range(plan.num_players)]
    shape = Shape(welcomes[0].player_slots, welcomes[0].page_ids, plan.habits.state_bytes)
    checks = Checks() if witness is None else witness
    crowd = Crowd(shape, plan.habits, TICK_RATE, 1.0, checks)
    if witness is None:
        checks.attach(crowd, plan, TICK_RATE)
    for player, welcome in enumerate(welcomes):
        crowd.adopt(welcome, player // plan.players, now)
    crowd.people.member[: plan.num_players, : plan.players] = 1
    return crowd, checks


def content(use: Use, life: int, counter: int) -> bytes:
    """What a life wrote at a counter."""
    return claims.write(use, np.array([life]), np.array([counter]), SIZE).tobytes()


def state(life: int, counter: int) -> bytes:
    """A life's state."""
    return content(Use.STATE, life, counter)


def page(states: Sequence[tuple[int, bytes]], *, number: int = 0, since: int = 0, removed: Sequence[int] = ()) -> Any:
    """A PAGE section with (entity id, state)."""
    group = {
        "header": {"encoding": StateEncoding.WHOLE, "count": len(states), "stride": SIZE},
        "ids": [entity_id for entity_id, _ in states],
        "ages": [0] * len(states),
        "states": [one for _, one in states],
    }
    header = {"page": number, "layer": 0, "since": since, "log_index": 0}
    header |= {"removed_count": len(removed), "group_count": 1 if states else 0}
    body = {"header": header, "removed": list(removed), "groups": [group] if states else []}
    return {"type": int(UpdateSection.PAGE), "body": body}


def entry(index: int, sender: int, payload: bytes, kind: int = EntryKind.MESSAGE, **header: int) -> Any:
    """A log entry."""
    plain = {"index": index & 0xFFFF, "kind": int(kind), "flags": 0, "sender": sender, "channel": 0, "part": 0}
    return {"header": plain | {"length": len(payload)} | header, "payload": payload}


def message(index: int, life: int, counter: int, **header: int) -> Any:
    """The entry of a message of a life whose player id is its row."""
    return entry(index, life, content(Use.MESSAGE, life, counter), **header)


def left(index: int, player_id: int) -> Any:
    """The entry that says that somebody left."""
    return entry(index, NO_PLAYER, player_id.to_bytes(2, "little") + b"\0", EntryKind.PLAYER_LEFT)


def log_range(first: int, last: int, *entries: Any, after: int | None = None) -> Any:
    """A LOG_RANGE section."""
    header = {"first": first, "last": last, "after": first - 1 if after is None else after}
    return {"type": int(UpdateSection.LOG_RANGE), "body": {"header": header, "entries": list(entries)}}


def signal(life: int, counter: int, flags: int = 0, position: int = 0, **header: int) -> Any:
    """A SIGNAL section of a life whose player id is its row."""
    plain = {"kind": 1, "flags": flags, "channel": 0, "fragment": 0, "sender": life, "sequence": counter & 0xFFFF}
    body = {"header": plain | {"position": position} | header, "payload": content(Use.SIGNAL, life, counter)}
    return {"type": int(UpdateSection.SIGNAL), "body": body}


def update(row: int, seq: int, tick: int, *sections: Any, **header: int) -> bytes:
    """An UPDATE to the player of a row."""
    plain = {"kind": int(Kind.UPDATE), "shard": 0, "seq": seq & 0xFFFF, "session": row + 1, "ack": 0, "ack_bits": 0}
    plain |= {"ack_delay": 0, "flags": int(AckFlag.NOTHING_RECEIVED), "tick": tick}
    plain |= {"message_ack": 0, "message_bits": 0, "message_credit": 32}
    return codec.encode(Kind.UPDATE, header=plain | header, sections=list(sections))


def rows_of(datagrams: Sequence[bytes]) -> Any:
    """Datagrams as rows, (n, ROW_BYTES)."""
    rows = np.zeros((max(1, len(datagrams)), ROW_BYTES), np.uint8)
    for row, data in zip(rows, datagrams):
        row[: len(data)] = np.frombuffer(data, np.uint8)
    return rows


def deliver(crowd: Crowd, *datagrams: bytes, at: float = 0.0) -> None:
    """Let datagrams arrive at one moment."""
    begin = np.arange(len(datagrams)) * ROW_BYTES
    length = np.array([len(data) for data in datagrams], np.int64)
    crowd.receive(rows_of(datagrams).reshape(-1), begin, length, np.full(len(datagrams), at))
