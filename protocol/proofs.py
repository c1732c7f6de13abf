"""Keyed hashes that both ends compute, and the shard of a room code (SPEC 4 and 6).

HMAC-SHA256 everywhere, for it is what Godot's `Crypto.hmac_digest` offers. No random bytes are made here.
"""

import hashlib
import hmac

from protocol.constants import PROOF_BYTES


def shard_of(code: bytes) -> int:
    """Return the shard byte of a room code (without its padding): h = h * 31 + byte, low 8 bits."""
    shard = 0
    for byte in code:
        shard = (shard * 31 + byte) & 0xFF
    return shard


def room_key(password: str) -> bytes:
    """Turn a password into the 32-byte key that a room's creator sends. b"" for no password.

    The key crosses the wire once, in the creator's JOIN; the password never does.
    """
    if not password:
        return b""
    return hmac.digest(b"tickrelay room key", password.encode(), hashlib.sha256)


def join_proof(key: bytes, cookie: bytes, nonce: int) -> bytes:
    """Prove knowledge of a room's key to the server that issued `cookie`. 16 bytes, useless with another cookie."""
    message = b"join" + cookie + nonce.to_bytes(8, "little")
    return hmac.digest(key, message, hashlib.sha256)[:PROOF_BYTES]


def resume_proof(secret: bytes, cookie: bytes, nonce: int, session: int) -> bytes:
    """Prove possession of a session's secret to the server that issued `cookie`. 16 bytes."""
    message = b"resume" + cookie + nonce.to_bytes(8, "little") + session.to_bytes(8, "little")
    return hmac.digest(secret, message, hashlib.sha256)[:PROOF_BYTES]


def path_proof(secret: bytes, challenge: int, session: int) -> bytes:
    """Prove possession of a session's secret for one path challenge. 16 bytes."""
    message = b"path" + challenge.to_bytes(8, "little") + session.to_bytes(8, "little")
    return hmac.digest(secret, message, hashlib.sha256)[:PROOF_BYTES]
