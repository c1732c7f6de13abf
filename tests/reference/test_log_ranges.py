"""The engine's view of what each receiver of a log lacks, and the ranges it sends, against the reference."""

import numpy as np
import pytest

from protocol import codec, dtypes
from protocol.constants import PART_MORE
from protocol.drops import DropReason
from relay import delivery, egress
from relay.audience import WORDS
from relay.rooms import RoomOptions
from tests.reference.log_ranges import Lacking, LogEntry, Receiver, build_ranges, find_lacking
from tests.reference.rig import Rig

OPTIONS = RoomOptions(max_players=8, entities_per_player=1, max_state_bytes=8)
PLAYERS = 6


def append_randomly(rig: Rig, count: int) -> dict[int, LogEntry]:
    """Write random entries into the engine's log, one by one, and keep them plainly."""
    rng, log, room = rig.rng, {}, rig.room_list[0]
    first = 0
    for _ in range(count):
        more = rng.random() < 0.3
        everybody = rng.random() < 0.5
        audience = set(range(16)) if everybody else {p for p in range(16) if rng.random() < 0.4}
        words = np.zeros((1, WORDS), np.uint64)
        words[0, 0] = sum(1 << player_id for player_id in audience)
        header = np.zeros(1, dtypes.ENTRY_HEADER_DTYPE)
        header["kind"], header["sender"], header["channel"] = (
            1 + rng.randrange(127),
            rng.randrange(8),
            rng.getrandbits(8),
        )
        header["part"] = PART_MORE if more else 0
        payload = rng.randbytes(rng.randint(0, 12))
        one = np.zeros(1, np.int64)
        index = int(
            rig.log.append(
                rig.rooms,
                np.array([room.row]),
                header,
                one - 1,
                one + first,
                words,
                np.frombuffer(payload, np.uint8),
                one,
                one + len(payload),
            )[0]
        )
        fields = {name: int(header[name][0]) for name in ("kind", "flags", "sender", "channel", "part")}
        wire = dtypes.ENTRY_HEADER.encode(index=index & 0xFFFF, length=len(payload), **fields) + payload
        log[index] = LogEntry(index, audience, first or index, more, wire)
        first = 0 if not more else first or index
    return log


def lacks(entry: LogEntry, player_id: int, start: int, complete: set[int]) -> bool:
    return player_id in entry.audience and entry.message_first > start and entry.index not in complete


def place_randomly(rig: Rig, log: dict[int, LogEntry]) -> dict[int, Receiver]:
    """Put every session somewhere in the log. Returns: session row -> receiver."""
    head = len(log)
    rng, table, receivers = rig.rng, rig.sessions.table, {}
    for player_id, row in enumerate(rig.rows[0]):
        in_a_message = [entry.index for entry in log.values() if entry.is_fragment]
        start = rng.choice((0, rng.randint(0, head), rng.choice(in_a_message or [0])))
        cursor = rng.choice((start, head, rng.randint(start, head)))
        complete = {cursor + 1 + j for j in range(1, 200) if rng.random() < 0.4 and cursor + 1 + j <= head}
        complete = rng.choice((set(), complete))
        table.log_start[row] = start
        effective = cursor
        further = rng.choice((0.0, 0.9))
        while effective < head and rng.random() < further and not lacks(log[effective + 1], player_id, start, complete):
            effective += 1
        table.log_cursor[row], table.log_effective[row] = cursor, effective
        bits = sum(1 << index - cursor - 1 for index in complete)
        table.log_bits[row] = [bits >> 64 * word & (1 << 64) - 1 for word in range(4)]
        receivers[row] = Receiver(player_id, start, cursor, effective, complete)
    return receivers


@pytest.mark.parametrize("seed", range(20))
def test_what_receivers_lack_is_what_the_reference_says_they_lack(seed: int) -> None:
    rig = Rig(seed, [OPTIONS], players=PLAYERS)
    log = append_randomly(rig, rig.rng.choice((0, 1, 30, 250, 700)))
    head = len(log)
    receivers = place_randomly(rig, log)
    found, _ = delivery.find_open(rig.log, rig.sessions, rig.rooms, 600, 1.0)
    columns = zip(found.session, found.index, found.first, found.last, found.after, found.fragment, strict=True)
    expected = []
    for row, receiver in receivers.items():
        if receiver.cursor == head:
            continue
        lacking, effective = find_lacking(log, head, receiver)
        expected += [(row, x.entry.index, x.first, x.last, x.after, x.entry.is_fragment) for x in lacking]
        assert rig.sessions.table.log_effective[row] == effective
    assert [tuple(int(value) for value in values) for values in columns] == expected


@pytest.mark.parametrize("seed", range(20))
def test_the_ranges_of_a_first_send_are_the_bytes_of_the_reference(seed: int) -> None:
    """A log so short that all which one receiver lacks fits one datagram."""
    rig = Rig(seed, [OPTIONS], players=PLAYERS)
    log = append_randomly(rig, 20)
    receivers = place_randomly(rig, log)
    table = rig.sessions.table
    found, _ = delivery.find_open(rig.log, rig.sessions, rig.rooms, 600, 1.0)
    items = delivery.due_entries(found, rig.log, table, 5, 1 / 30, resend=False)
    allowed = np.ones(table.rows, np.int64)
    chosen = egress.cut(items, np.zeros(0, np.int64), allowed)
    outgoing = egress.build_datagrams(chosen, rig.sessions, rig.rooms, 5, 1.0, [rig.log.arena.bytes])
    sent = {int(session): payload for session, (_, payload) in zip(chosen.session, outgoing.datagrams(), strict=True)}
    for row, receiver in receivers.items():
        lacking, _ = find_lacking(log, 20, receiver)
        now = [x for x in lacking if not x.entry.is_fragment]  # fragments wait for the tick
        assert sent.get(row, b"")[dtypes.UPDATE_HEADER.size :] == b"".join(build_ranges(now))
        if row in sent:
            assert not isinstance(codec.decode(sent[row]), DropReason)


def test_the_reference_joins_neighbours_and_no_others() -> None:
    entries = [LogEntry(index, {0}, index, False, b"") for index in (3, 5, 9)]
    lacking = [Lacking(entries[0], 1, 4, 0), Lacking(entries[1], 4, 8, 3), Lacking(entries[2], 6, 9, 5)]
    assert len(build_ranges(lacking)) == 1
    assert len(build_ranges([lacking[0], lacking[2]])) == 2
