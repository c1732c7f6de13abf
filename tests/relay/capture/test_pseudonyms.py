"""Stand-ins: stable, of the same width, and without anything of what they stand for."""

from random import Random

import numpy as np
import pytest

from relay.capture.pseudonyms import SESSION_SLOTS, Pseudonyms
from relay.sessions import ROW_BITS

KEY = bytes(range(32))


def test_the_same_value_has_the_same_pseudonym_of_the_same_width() -> None:
    one, again = Pseudonyms(KEY), Pseudonyms(KEY)
    for length in (1, 7, 8, 16, 20, 32, 255):
        value = Random(length).randbytes(length)
        assert one.of("cookie", value) == one.of("cookie", value) == again.of("cookie", value) != value
        assert len(one.of("cookie", value)) == length
    assert one.of("cookie", b"") == b""


def test_another_key_or_field_gives_another() -> None:
    value = bytes(16)
    made = {Pseudonyms(key).of(name, value) for key in (KEY, bytes(32)) for name in ("secret", "proof", "reset_token")}
    assert len(made) == 6


def test_sessions_in_a_batch_have_the_pseudonyms_of_single_ones() -> None:
    rng = Random(3)
    ids = [rng.getrandbits(64) for _ in range(300)] + [0, 1, 2**64 - 1, SESSION_SLOTS]
    ids += [ids[0] + SESSION_SLOTS & 2**64 - 1, *ids[:5]]  # of one slot, and twice in a batch
    for order in range(3):
        rng.shuffle(ids)
        names = Pseudonyms(KEY)
        for _ in range(2):  # the second time from the table
            made = names.of_sessions(np.array(ids, np.uint64)).tolist()
            alone = [int.from_bytes(names.of("session", session.to_bytes(8, "little")), "little") for session in ids]
            assert made == alone, order


def test_a_sessions_row_does_not_show_in_its_pseudonym() -> None:
    """The low bits of a session are its row: if they stayed, 44 bits would be left to guess, and a row to aim at."""
    ids = np.array([(7 << 40) + row for row in range(2_000)], np.uint64)
    made = Pseudonyms(KEY).of_sessions(ids)
    rows = made & np.uint64((1 << ROW_BITS) - 1)
    assert len(np.unique(made)) == 2_000
    assert np.count_nonzero(rows == np.arange(2_000, dtype=np.uint64)) < 5
    assert abs(np.corrcoef(rows.astype(float), np.arange(2_000))[0, 1]) < 0.1


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="permitted: 32"):
        Pseudonyms(bytes(length))
