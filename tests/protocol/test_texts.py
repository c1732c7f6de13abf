"""What players read: complete, short, and clear about which side to update."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.constants import MAX_TEXT_BYTES, ByeReason, Refusal, RequestRefusal
from protocol.texts import BYE_TEXTS, REFUSAL_TEXTS, REQUEST_TEXTS, version_text

ALL_TEXTS = [*REFUSAL_TEXTS.values(), *BYE_TEXTS.values(), *REQUEST_TEXTS.values()]
u16 = st.integers(0, 65_535)


def test_every_reason_has_a_text() -> None:
    assert set(REFUSAL_TEXTS) == set(Refusal)
    assert set(BYE_TEXTS) == set(ByeReason)
    assert set(REQUEST_TEXTS) == set(RequestRefusal)


def test_no_two_reasons_have_the_same_text() -> None:
    assert len(set(ALL_TEXTS)) == len(ALL_TEXTS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (REFUSAL_TEXTS[Refusal.CANNOT_RESUME], "Join again"),
        (REFUSAL_TEXTS[Refusal.BANNED], "banned"),
        (REFUSAL_TEXTS[Refusal.ROOM_LOCKED], "host opens it"),
        (BYE_TEXTS[ByeReason.BANNED], "banned"),
        (REQUEST_TEXTS[RequestRefusal.NOT_HOST], "Only the host"),
        (REQUEST_TEXTS[RequestRefusal.CHANGED], "first"),
    ],
)
def test_what_rooms_that_last_refuse_says_why_and_what_to_do(text: str, words: str) -> None:
    assert words in text


@pytest.mark.parametrize("text", ALL_TEXTS)
def test_a_text_is_a_short_sentence(text: str) -> None:
    assert text.isascii() and text.isprintable()
    assert text.endswith(".") and text[0].isupper()
    assert len(text) <= 100 < MAX_TEXT_BYTES


def test_an_old_game_is_told_to_update_the_game() -> None:
    assert version_text(1, 2, 3, 4) == "The game speaks protocol 1 to 2, the server 3 to 4. Update the game."


def test_an_old_server_is_told_of() -> None:
    assert version_text(5, 5, 3, 4) == (
        "The game speaks protocol 5, the server 3 to 4. Ask for an update of the server."
    )


def test_a_range_upside_down_is_the_games_mistake() -> None:
    assert "Update the game" in version_text(9, 2, 3, 4)


def test_ranges_that_overlap_are_no_reason_to_refuse() -> None:
    with pytest.raises(ValueError, match="overlap"):
        version_text(1, 3, 3, 9)


@given(u16, u16, u16, u16)
def test_whatever_a_greeting_says_the_text_fits(client_min: int, client_max: int, a: int, b: int) -> None:
    server_min, server_max = min(a, b), max(a, b)
    if client_min <= client_max and max(client_min, server_min) <= min(client_max, server_max):
        return
    assert len(version_text(client_min, client_max, server_min, server_max).encode()) <= MAX_TEXT_BYTES
