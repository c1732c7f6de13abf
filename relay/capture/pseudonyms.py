"""Stable stand-ins for secrets: the same value always has the same pseudonym, and nobody can go back from it.

A pseudonym is a keyed hash under a key that the process makes at its start and never writes down, so neither a value
nor what is known of it (a session id's low bits are a table row) can be found by trying. Sessions come by the thousand
per tick and are remembered in a table.
"""

import hashlib

import numpy as np
import numpy.typing as npt

KEY_BYTES = 32
SESSION_SLOTS = 1 << 17
"""Remembered sessions, by the low bits of their id, which are a row: more rows than a relay may have (100,000)."""
_SLOT_MASK = np.uint64(SESSION_SLOTS - 1)


class Pseudonyms:
    """The stand-ins of one process."""

    def __init__(self, key: bytes) -> None:
        """Take the key. Raises: ValueError if it is not 32 bytes."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"key has {len(key)} bytes; permitted: {KEY_BYTES}")
        self._key = key
        self.session = ~np.arange(SESSION_SLOTS, dtype=np.uint64)  # no id that belongs into its slot
        """Remembered sessions, by slot."""
        self.stand_in = np.zeros(SESSION_SLOTS, np.uint64)
        """Their pseudonyms."""

    def of(self, name: str, value: bytes) -> bytes:
        """Return the pseudonym of a field's value: as many bytes, another for each name of a field."""
        return hashlib.shake_256(self._key + name.encode() + b"\0" + value).digest(len(value))

    def of_sessions(self, ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Return the pseudonyms of session ids, (n,): what `of("session", ...)` gives for their eight bytes."""
        slot = ids.view(np.int64) & (SESSION_SLOTS - 1)
        found = self.stand_in[slot]
        is_missing = self.session[slot] != ids
        if is_missing.any():
            # once per session, and for ids that nobody was given: a flood of those costs a hash each
            missing, which = np.unique(ids[is_missing], return_inverse=True)
            made = np.array([self._of_session(session) for session in missing.tolist()], np.uint64)
            found[is_missing] = made[which]
            new = (missing & _SLOT_MASK).astype(np.int64)
            self.session[new], self.stand_in[new] = missing, made
        return found

    def _of_session(self, session: int) -> int:
        return int.from_bytes(self.of("session", session.to_bytes(8, "little")), "little")
