"""Values of properties and their typed bytes."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.constants import PropertyType
from protocol.properties import Value, decode_value, encode_value, is_control, is_key, is_utf8, is_value

VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=50)
    | st.binary(max_size=200)
)


@given(value=VALUES)
def test_a_value_survives_the_wire(value: Value) -> None:
    kind, data = encode_value(value)
    assert is_value(kind, data)
    decoded = decode_value(kind, data)
    assert decoded == value and type(decoded) is type(value)


@pytest.mark.parametrize(
    ("value", "kind", "data"),
    [
        (None, PropertyType.NONE, b""),
        (False, PropertyType.BOOL, b"\x00"),
        (True, PropertyType.BOOL, b"\x01"),
        (-2, PropertyType.INT, b"\xfe" + b"\xff" * 7),
        (1.0, PropertyType.FLOAT, b"\x00" * 6 + b"\xf0\x3f"),
        ("ä", PropertyType.TEXT, b"\xc3\xa4"),
        (b"\x00", PropertyType.BYTES, b"\x00"),
    ],
)
def test_each_type_has_its_bytes(value: Value, kind: PropertyType, data: bytes) -> None:
    assert encode_value(value) == (kind, data)


def test_a_nan_stays_one() -> None:
    decoded = decode_value(*encode_value(math.nan))
    assert isinstance(decoded, float) and math.isnan(decoded)


@pytest.mark.parametrize("value", [1 << 63, -(1 << 63) - 1, "ä" * 101, bytes(201), "\ud800"])
def test_a_value_that_does_not_fit_is_refused(value: Value) -> None:
    with pytest.raises(ValueError):
        encode_value(value)


@pytest.mark.parametrize("value", [[], {}, bytearray(b"x"), object()])
def test_a_value_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="permitted: None, bool, int, float, str, bytes"):
        encode_value(value)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (PropertyType.NONE, b"x"),
        (PropertyType.BOOL, b""),
        (PropertyType.BOOL, b"\x02"),
        (PropertyType.INT, bytes(7)),
        (PropertyType.FLOAT, bytes(9)),
        (PropertyType.TEXT, b"\xff"),
        (PropertyType.TEXT, bytes(201)),
        (PropertyType.BYTES, bytes(201)),
        (6, b""),
    ],
)
def test_what_is_no_value_on_the_wire(kind: int, data: bytes) -> None:
    assert not is_value(kind, data)


def test_a_key_is_short_printable_utf8() -> None:
    assert is_key(b"a") and is_key("ä".encode() * 16)
    for key in (b"", b"x" * 33, b"\xff", b"a\nb", "a\x9fb".encode()):
        assert not is_key(key)


def test_control_characters_and_utf8_are_told() -> None:
    assert [is_control(letter) for letter in "\x00\x1f\x7f\x9f"] == [True] * 4
    assert [is_control(letter) for letter in " ~\xa0"] == [False] * 3
    assert is_utf8(b"") and not is_utf8(b"\x80")
