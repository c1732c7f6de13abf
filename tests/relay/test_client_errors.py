"""What the errors of the Python client say."""

import pytest

from protocol.constants import Refusal
from relay import client, client_errors
from relay.client_errors import JoinRefused


@pytest.mark.parametrize(
    ("reason", "text", "said"),
    [
        (Refusal.ROOM_FULL, "This room is full.", "room full: This room is full."),
        (Refusal.BANNED, "", "banned"),
        (200, "Another word.", "reason 200: Another word."),
    ],
)
def test_a_refusal_says_its_reason_and_the_relays_words(reason: Refusal | int, text: str, said: str) -> None:
    error = JoinRefused(reason, text)
    assert str(error) == said and (error.reason, error.text) == (reason, text)


def test_the_client_has_them_by_the_same_names() -> None:
    assert client.JoinRefused is client_errors.JoinRefused and client.ConnectTimeout is client_errors.ConnectTimeout
