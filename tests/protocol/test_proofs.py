"""Keyed hashes and shards, against known values and against their definitions."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.constants import COOKIE_BYTES, PROOF_BYTES, ROOM_KEY_BYTES, SECRET_BYTES
from protocol.proofs import join_proof, path_proof, resume_proof, room_key, shard_of


def test_the_shard_of_a_short_code_can_be_done_by_hand() -> None:
    assert shard_of(b"") == 0
    assert shard_of(b"A") == 65
    assert shard_of(b"AB") == (65 * 31 + 66) % 256 == 33


@given(st.binary(max_size=16))
def test_the_shard_is_a_polynomial_of_the_code(code: bytes) -> None:
    assert shard_of(code) == sum(byte * 31**power for power, byte in enumerate(reversed(code))) % 256


def test_no_password_makes_no_key() -> None:
    assert room_key("") == b""


def test_the_key_of_a_password_has_32_bytes_and_is_pinned() -> None:
    key = room_key("open sesame")
    assert len(key) == ROOM_KEY_BYTES
    assert key.hex() == "43124c9956ccb4648d38fee8715129a956d019e194aa291633c651c762e8b8eb"


@pytest.mark.parametrize("change", ["key", "cookie", "nonce"])
def test_a_join_proof_is_useless_elsewhere(change: str) -> None:
    given_values = {"key": bytes(32), "cookie": bytes(COOKIE_BYTES), "nonce": 5}
    other = {"key": bytes(31) + b"\x01", "cookie": bytes(19) + b"\x01", "nonce": 6}
    proof = join_proof(**given_values)  # type: ignore[arg-type]
    assert len(proof) == PROOF_BYTES
    assert proof != join_proof(**(given_values | {change: other[change]}))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", ["secret", "challenge", "session"])
def test_a_path_proof_is_useless_elsewhere(change: str) -> None:
    given_values = {"secret": bytes(SECRET_BYTES), "challenge": 5, "session": 2**64 - 1}
    other = {"secret": bytes(15) + b"\x01", "challenge": 6, "session": 2**64 - 2}
    proof = path_proof(**given_values)  # type: ignore[arg-type]
    assert len(proof) == PROOF_BYTES
    assert proof != path_proof(**(given_values | {change: other[change]}))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", ["secret", "cookie", "nonce", "session"])
def test_a_resume_proof_is_useless_elsewhere(change: str) -> None:
    given_values = {"secret": bytes(SECRET_BYTES), "cookie": bytes(COOKIE_BYTES), "nonce": 5, "session": 2**64 - 1}
    other = {"secret": bytes(15) + b"\x01", "cookie": bytes(19) + b"\x01", "nonce": 6, "session": 2**64 - 2}
    proof = resume_proof(**given_values)  # type: ignore[arg-type]
    assert len(proof) == PROOF_BYTES
    assert proof != resume_proof(**(given_values | {change: other[change]}))  # type: ignore[arg-type]


def test_a_resume_proof_is_the_hash_that_the_spec_states() -> None:
    secret, cookie = bytes(range(16)), bytes(range(20))
    message = b"resume" + cookie + bytes.fromhex("0500000000000000") + bytes.fromhex("0700000000000000")
    assert resume_proof(secret, cookie, 5, 7) == hmac.new(secret, message, hashlib.sha256).digest()[:16]


def test_no_two_proofs_agree_for_one_key() -> None:
    """Each begins its message with a word of its own, so one cannot be replayed as the other."""
    key, cookie = bytes(16), bytes(COOKIE_BYTES)
    proofs = [
        join_proof(key, cookie, 5),
        resume_proof(key, cookie, 5, 0),
        path_proof(key, 0, 5),
        join_proof(key, bytes(8), 5),
        resume_proof(key, b"", 0, 5),
    ]
    assert len(set(proofs)) == len(proofs)
