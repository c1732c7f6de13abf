"""The log as it comes down to a crowd: in numpy while nothing is missing, else by the client's own `Inbox`.

Nearly every range that arrives begins at the cursor or before it: then its entries are due at once. A player who gets a
range beyond a hole goes into the care of an `Inbox` of `protocol.client`, and leaves it when nothing is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from protocol.client.inbox import Inbox
from protocol.constants import MAX_PLAYER_KIND, EntryKind
from protocol.records import Entry, LogRange
from relay.columns import Bools, Bytes, Ints, expand, rank_in_run, windows
from tools.load import claims
from tools.load.claims import Use
from tools.load.people import UNKNOWN, People
from tools.load.reading import Entries

FIRST_SERVER_KIND = MAX_PLAYER_KIND + 1
"""Entries from this kind on are the server's."""


@dataclass
class Heard:
    """Entries that were handed over. Axis: n, of one receiver in log order."""

    row: Ints
    """Receiver, (n,)."""
    index: Ints
    sender: Ints
    """Player id, or NO_PLAYER."""
    kind: Ints
    life: Ints
    """Who it claims to be from; UNKNOWN if it is not long enough."""
    counter: Ints
    proven: Bools
    """It is a game's message, and its bytes are what that life wrote at that counter."""
    repeated: int
    """Entries that had arrived before."""
    payloads: dict[int, bytes]
    """Payloads of the entries that the server wrote, by position in the columns."""


class Log:
    """Cursors of all players, and what waits beyond them."""

    def __init__(self, people: People, message_bytes: int) -> None:
        self._people = people
        self._message_bytes = message_bytes
        self._inboxes: dict[int, Inbox] = {}

    def cursors(self, rows: Ints) -> Ints:
        """Return what each acknowledges, (n,)."""
        return self._people.cursor[rows]

    def done(self, rows: Ints) -> Ints:
        """Return up to where each has been handed everything, (n,)."""
        done = self._people.cursor[rows]
        if self._inboxes:
            for i, row in enumerate(rows.tolist()):
                if row in self._inboxes:
                    done[i] = self._inboxes[row].done
        return done

    def bits_of(self, rows: Ints) -> Iterator[tuple[int, bytes]]:
        """Yield (position in `rows`, body of LOG_BITS) of those who have something beyond their cursor."""
        if self._inboxes:
            for i, row in enumerate(rows.tolist()):
                inbox = self._inboxes.get(row)
                if inbox is not None and (bits := inbox.log_bits()):
                    yield i, bits

    def forget(self, row: int) -> None:
        """A life has ended."""
        self._inboxes.pop(row, None)

    def take(self, source: Bytes, row: Ints, ranges: Entries) -> Heard:
        """Take the ranges of datagrams of different players, several of one datagram in their order.

        Args:
            row: Receiver of each range, (n,), equal ones side by side.
        """
        heard: list[tuple[Ints, Ints]] = []  # entry, receiver
        slow: list[tuple[int, Entry]] = []
        repeated = 0
        rank = rank_in_run(row)
        entry_of, counts = _entries_of_ranges(ranges)
        for k in range(int(rank.max(initial=-1)) + 1):
            some = np.flatnonzero(rank == k)
            cursor = self._people.cursor[row[some]]
            aside = ranges.first[some] > cursor + 1
            if self._inboxes:
                aside |= np.isin(row[some], np.fromiter(self._inboxes, np.int64))
            for i in some[aside].tolist():
                slow += self._take_slowly(int(row[i]), _range_of(source, ranges, i, entry_of[i], counts[i]))
            some, cursor = some[~aside], cursor[~aside]
            which, j = expand(counts[some])
            entry = entry_of[some][which] + j
            new = ranges.index[entry] > cursor[which]
            repeated += int(np.count_nonzero(~new))
            heard.append((entry[new], row[some][which][new]))
            self._people.cursor[row[some]] = np.maximum(cursor, ranges.last[some])
        return self._collect(source, ranges, heard, slow, repeated)

    def _take_slowly(self, row: int, part: LogRange) -> list[tuple[int, Entry]]:
        inbox = self._inboxes.get(row)
        if inbox is None:
            inbox = self._inboxes[row] = Inbox(int(self._people.cursor[row]))
        due = inbox.take(part)
        self._people.cursor[row] = inbox.cursor
        if inbox.done == inbox.cursor and not inbox.log_bits():
            del self._inboxes[row]
        return [(row, entry) for entry in due]

    def _collect(
        self,
        source: Bytes,
        ranges: Entries,
        fast: list[tuple[Ints, Ints]],
        slow: list[tuple[int, Entry]],
        repeated: int,
    ) -> Heard:
        nothing = np.zeros(0, np.int64)
        entry = np.concatenate([nothing, *(pair[0] for pair in fast)])
        receiver = np.concatenate([nothing, *(pair[1] for pair in fast)])
        is_message = (ranges.kind == EntryKind.MESSAGE) & (ranges.channel == 0) & (ranges.part == 0)
        life, counter, proven = self._read_claims(source, ranges.at[entry], ranges.length[entry], is_message[entry])
        late = [self._read_slow(one) for _, one in slow]
        columns = (
            (receiver, [row for row, _ in slow]),
            (ranges.index[entry], [one.log_index for _, one in slow]),
            (ranges.sender[entry], [one.sender for _, one in slow]),
            (ranges.kind[entry], [one.kind for _, one in slow]),
            (life, [claim[0] for claim in late]),
            (counter, [claim[1] for claim in late]),
        )
        whole = [np.concatenate([column, np.array(more, np.int64)]) for column, more in columns]
        proven = np.concatenate([proven, np.array([claim[2] for claim in late], np.bool_)])
        order = np.lexsort((whole[1], whole[0])) if slow else np.arange(len(receiver))
        row, index, sender, kind, life, counter = (column[order] for column in whole)
        proven = proven[order]
        payloads = {}
        for i in np.flatnonzero(kind >= FIRST_SERVER_KIND).tolist():
            place = int(order[i])
            if place < len(entry):
                at = ranges.at[entry[place]]
                payloads[i] = source[at : at + ranges.length[entry[place]]].tobytes()
            else:
                payloads[i] = slow[place - len(entry)][1].payload
        return Heard(row, index, sender, kind, life, counter, proven, repeated, payloads)

    def _read_claims(self, source: Bytes, at: Ints, length: Ints, is_message: Bools) -> tuple[Ints, Ints, Bools]:
        return read_claims(Use.MESSAGE, source, at, length, self._message_bytes, is_message)

    def _read_slow(self, entry: Entry) -> tuple[int, int, bool]:
        payload = np.frombuffer(entry.payload, np.uint8)
        size = np.array([len(payload)])
        is_message = np.array([entry[1:2] + entry[3:5] == (EntryKind.MESSAGE, 0, 0)])
        life, counter, proven = self._read_claims(payload, size * 0, size, is_message)
        return int(life[0]), int(counter[0]), bool(proven[0])


def read_claims(
    use: Use, source: Bytes, at: Ints, length: Ints, expected_bytes: int, kept: Bools
) -> tuple[Ints, Ints, Bools]:
    """Read the claims of payloads, (n,); one of another length than expected, or not `kept`, is not proven."""
    life, counter = np.full(len(at), UNKNOWN), np.zeros(len(at), np.int64)
    proven = np.zeros(len(at), np.bool_)
    some = np.flatnonzero((length == expected_bytes) & kept)
    if len(some):
        payload = windows(source, f"V{expected_bytes}")[at[some]]
        rows = payload.view(np.uint8).reshape(-1, expected_bytes)
        life[some], counter[some], proven[some] = claims.read(use, rows)
    return life, counter, proven


def _entries_of_ranges(ranges: Entries) -> tuple[Ints, Ints]:
    """Return the first entry of each range, (n,), and how many it has, (n,)."""
    counts = np.bincount(ranges.entry_range, minlength=len(ranges.first))
    return np.cumsum(counts) - counts, counts


def _range_of(source: Bytes, ranges: Entries, i: int, first_entry: int, count: int) -> LogRange:
    """Build the plain form of a range for an `Inbox`."""
    entries = [
        Entry(
            int(ranges.index[e]),
            int(ranges.kind[e]),
            int(ranges.sender[e]),
            int(ranges.channel[e]),
            int(ranges.part[e]),
            source[ranges.at[e] : ranges.at[e] + ranges.length[e]].tobytes(),
        )
        for e in range(first_entry, first_entry + count)
    ]
    return LogRange(int(ranges.first[i]), int(ranges.last[i]), int(ranges.after[i]), entries)
