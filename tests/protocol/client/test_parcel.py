"""Parcel: a DATA never grows beyond 1,160 bytes or 24 sections."""

from protocol.client.parcel import Parcel, fragment_bytes
from protocol.constants import MAX_FRAGMENT_BYTES, DataSection
from protocol.dtypes import MESSAGE_HEADER, SIGNAL_UP_HEADER


def test_a_parcel_takes_what_fits_to_the_byte() -> None:
    parcel = Parcel()
    assert parcel.fits(1131) and not parcel.fits(1132)
    parcel.add(DataSection.MESSAGE, bytes(1131))
    assert parcel.room == 0 and not parcel.fits(0)
    assert len(parcel.body()) == 1134


def test_a_parcel_takes_twenty_four_sections() -> None:
    parcel = Parcel()
    for _ in range(24):
        assert parcel.fits(1)
        parcel.add(DataSection.SIGNAL, b"x")
    assert not parcel.fits(1)


def test_log_bits_alone_are_no_reason_to_send() -> None:
    parcel = Parcel()
    parcel.add(DataSection.LOG_BITS, bytes(4))
    assert parcel.is_empty
    parcel.add(DataSection.SIGNAL, b"x")
    assert not parcel.is_empty


def test_a_fragment_fits_beside_the_largest_log_bits_however_many_players_are_listed() -> None:
    for header in (MESSAGE_HEADER.size, SIGNAL_UP_HEADER.size):
        for num_targets in (0, 1, 31, 32, 255):
            parcel = Parcel()
            parcel.add(DataSection.LOG_BITS, bytes(32))
            assert parcel.fits(header + 2 * num_targets + fragment_bytes(header, num_targets))
    assert fragment_bytes(MESSAGE_HEADER.size, 0) == MAX_FRAGMENT_BYTES
    assert fragment_bytes(MESSAGE_HEADER.size, 255) == 1160 - 26 - 35 - 3 - 8 - 510
