"""The log as it comes down: ranges, order, fragments (SPEC 9).

Two positions. `cursor`: everything up to it has *arrived* (or is hidden from us); it is what we acknowledge. `done`:
everything up to it has been *handed over*. `done` may run ahead of `cursor`, for nothing waits for the fragments of
somebody's large message but the message itself: a range may be handed over once all up to its `after` has been. It
never stays behind.

Memory is bounded by the window of 256 indexes beyond the cursor, and by one unfinished message per sender.
"""

from protocol.constants import LOG_WINDOW, PART_MORE, EntryKind
from protocol.records import MAX_MESSAGE_FRAGMENTS, Entry, LogRange

MAX_ASIDE = MAX_MESSAGE_FRAGMENTS + LOG_WINDOW
"""Fragments put aside for one sender: its unfinished message, and the next ones within the window."""


class Inbox:
    """Turns ranges, in any order and any number of times, into entries in log order, each once."""

    def __init__(self, log_index: int) -> None:
        self.cursor = log_index
        """Everything up to this log index is complete."""
        self.done = log_index
        """Everything up to this log index has been handed over."""
        self.num_discarded = 0
        """Fragments and messages that no correct server sends and that were thrown away."""
        self._complete = 0  # bit j: index cursor + 1 + j is complete; bit 0 is never set
        self._entries: dict[int, Entry] = {}  # index -> entry, arrived and not handed over
        self._ranges: dict[int, int] = {}  # last -> least after, of ranges that end beyond `done`
        self._aside: dict[int, dict[int, Entry]] = {}  # sender -> index -> fragment
        self._aside_floor: dict[int, int] = {}  # sender -> fragments up to this index are of no use any more

    def log_bits(self) -> bytes:
        """Build the body of LOG_BITS: what is complete beyond the cursor, in whole words; b"" if nothing is."""
        num_words = -(-self._complete.bit_length() // 32)
        return self._complete.to_bytes(4 * num_words, "little")

    def take(self, part: LogRange) -> list[Entry]:
        """Take a range that arrived.

        Returns: the entries that are due now, in log order; a fragmented message is one entry with its whole payload
            and the index of its last fragment.
        """
        if part.first > self.cursor + 1 and part.last > self.cursor + LOG_WINDOW:
            return []  # SPEC 9: too far beyond the cursor to remember
        for entry in part.entries:
            self._store(entry)
        self._mark(part.first, part.last)
        if part.last > self.done:
            self._ranges[part.last] = min(part.after, self._ranges.get(part.last, part.after))
        return self._hand_over()

    def _store(self, entry: Entry) -> None:
        if entry.log_index <= self.cursor or self._complete >> (entry.log_index - self.cursor - 1) & 1:
            return  # it has arrived before
        if entry.part & PART_MORE:
            self._put_aside(entry)
        elif entry.log_index > self.done:
            self._entries[entry.log_index] = entry
        else:
            self.num_discarded += 1  # the server said that nothing here could hold up what has been handed over

    def _put_aside(self, entry: Entry) -> None:
        if entry.log_index <= self._aside_floor.get(entry.sender, 0):
            return  # of a message whose sender has left
        fragments = self._aside.setdefault(entry.sender, {})
        if len(fragments) >= MAX_ASIDE:
            self.num_discarded += 1
        else:
            fragments[entry.log_index] = entry

    def _mark(self, first: int, last: int) -> None:
        """Note first ... last as complete and move the cursor over what is complete without a hole."""
        if first > self.cursor + 1:
            self._complete |= ((1 << (last - first + 1)) - 1) << (first - self.cursor - 1)
        elif last > self.cursor:
            # No bits are made for a range that moves the cursor: it may be of any length.
            self._move_cursor(last - self.cursor)
            self._move_cursor((~self._complete & (self._complete + 1)).bit_length() - 1)  # over its lowest ones

    def _move_cursor(self, steps: int) -> None:
        self._complete >>= steps
        self.cursor += steps

    def _hand_over(self) -> list[Entry]:
        due: list[Entry] = []
        while True:
            fitting = [last for last, after in self._ranges.items() if after <= self.done]
            last = max([*fitting, self.cursor])  # all up to the cursor is complete, whatever `after` says
            if last <= self.done or not self._advance(last, due):
                break
        self._ranges = {last: after for last, after in self._ranges.items() if last > self.done}
        return due

    def _advance(self, last: int, due: list[Entry]) -> bool:
        """Hand over all that arrived up to `last`; False if a message waits for its fragments first."""
        for index in sorted(index for index in self._entries if index <= last):
            entry = self._entries[index]
            whole = self._whole(entry)
            if whole is None and index > self.cursor:
                self.done = index - 1
                return False
            del self._entries[index]
            self._deliver(entry, whole, due)
        self.done = last
        return True

    def _deliver(self, entry: Entry, whole: Entry | None, due: list[Entry]) -> None:
        if entry.part:
            self._forget_fragments(entry.sender, entry.log_index)
        if whole is None:
            self.num_discarded += 1  # all up to here has arrived, and its fragments were not in it
            return
        is_new_life = entry.kind == EntryKind.PLAYER_BACK and entry.payload[2:3] not in (b"", b"\0")
        if entry.kind == EntryKind.PLAYER_LEFT or is_new_life:
            self._forget_fragments(int.from_bytes(entry.payload[:2], "little"), entry.log_index)
        due.append(whole)

    def _whole(self, entry: Entry) -> Entry | None:
        """Put the fragments before a last one in front of it; None while some are missing."""
        num_before = entry.part
        if not num_before:
            return entry
        fragments = self._aside.get(entry.sender, {})
        if len(fragments) < num_before:
            return None
        payloads = {
            part.part & ~PART_MORE: part.payload for part in fragments.values() if part.log_index < entry.log_index
        }
        if any(number not in payloads for number in range(num_before)):
            return None
        payload = b"".join(payloads[number] for number in range(num_before)) + entry.payload
        return entry._replace(payload=payload)

    def _forget_fragments(self, sender: int, index: int) -> None:
        """Throw away a sender's fragments up to `index`, also those that may still arrive."""
        self._aside_floor[sender] = index
        kept = {at: part for at, part in self._aside.pop(sender, {}).items() if at > index}
        if kept:
            self._aside[sender] = kept
