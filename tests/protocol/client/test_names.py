"""Names: what SPEC 2 permits; the limits themselves are in test_request.py."""

from protocol.client.names import fits_utf8, is_code, is_name


def test_a_code_has_letters_digits_and_dashes() -> None:
    assert is_code("A-9") and not is_code("") and not is_code("a") and not is_code("A" * 17)


def test_a_name_has_no_control_characters() -> None:
    assert is_name("Änn") and not is_name("") and not is_name("a\tb") and not is_name("x" * 33)


def test_what_has_no_utf8_does_not_fit() -> None:
    assert fits_utf8("ä", 2) and not fits_utf8("ä", 1) and not fits_utf8("\ud800", 9)
