"""ResumeToken and the nonce of an attempt."""

import pytest

from protocol.client.resume import ResumeToken, resume_nonce

TOKEN = ResumeToken(0x0102030405060708, b"s" * 16, "ROOM-1")


def test_a_token_survives_a_file() -> None:
    assert ResumeToken.from_bytes(TOKEN.to_bytes()) == TOKEN
    assert TOKEN.to_bytes().hex() == b"TKRT".hex() + "01" + "0807060504030201" + "73" * 16 + b"ROOM-1".hex() + "00" * 10


def test_garbage_is_no_token() -> None:
    good = TOKEN.to_bytes()
    for data in (b"", good[:-1], good + b"x", b"x" + good[1:], bytes(45)):
        with pytest.raises(ValueError, match="no resume token"):
            ResumeToken.from_bytes(data)
    with pytest.raises(ValueError, match="version of the resume token is 2; permitted: 1"):
        ResumeToken.from_bytes(good[:4] + b"\x02" + good[5:])
    with pytest.raises(ValueError, match="code is"):
        ResumeToken.from_bytes(good[:-16] + b"\xff" * 16)


def test_a_token_that_cannot_be_is_refused() -> None:
    for session in (-1, 1 << 64):
        with pytest.raises(ValueError, match="session is"):
            ResumeToken(session, b"s" * 16, "ROOM-1")
    with pytest.raises(ValueError, match="secret has 15 bytes; permitted: 16"):
        ResumeToken(1, b"s" * 15, "ROOM-1")
    with pytest.raises(ValueError, match="code is 'room'"):
        ResumeToken(1, b"s" * 16, "room")


def test_the_secret_does_not_stand_in_the_text_of_a_token() -> None:
    assert "ssss" not in repr(TOKEN)


def test_nonces_differ_by_secret_and_count() -> None:
    nonces = {resume_nonce(secret, count) for secret in (b"s" * 16, b"t" * 16) for count in range(1, 4)}
    assert len(nonces) == 6
    assert all(0 <= nonce < 1 << 64 for nonce in nonces)
