"""Coming back to a room (SPEC 4): what a process must keep for it, and the nonce of an attempt."""

import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from typing import Self

from protocol.client.names import is_code
from protocol.constants import CODE_BYTES, NONCE_BYTES, SECRET_BYTES

TOKEN_MAGIC = b"TKRT"
TOKEN_VERSION = 1
_LAYOUT = struct.Struct(f"<4sBQ{SECRET_BYTES}s{CODE_BYTES}s")
"""Magic 4, version 1, session 8, secret 16, code 16: 45 bytes."""


@dataclass(frozen=True, slots=True)
class ResumeToken:
    """What brings a player back to its place, also from a process started anew. Who has it can take the place."""

    session: int
    """Number of the session, 64 bits."""
    secret: bytes = field(repr=False)
    """The session's secret, 16 bytes."""
    code: str
    """The room's code."""

    def __post_init__(self) -> None:
        """Check every field. Raises: ValueError."""
        if not 0 <= self.session < 1 << 64:
            raise ValueError(f"session is {self.session}; permitted: 0 to 2**64 - 1")
        if len(self.secret) != SECRET_BYTES:
            raise ValueError(f"secret has {len(self.secret)} bytes; permitted: {SECRET_BYTES}")
        if not is_code(self.code):
            raise ValueError(f"code is {self.code!r}; permitted: 1 to 16 of A-Z 0-9 -")

    def to_bytes(self) -> bytes:
        """Encode it for a file: 45 bytes, to be kept as carefully as a password."""
        return _LAYOUT.pack(TOKEN_MAGIC, TOKEN_VERSION, self.session, self.secret, self.code.encode())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode what `to_bytes` made. Raises: ValueError for anything else."""
        if len(data) != _LAYOUT.size or not data.startswith(TOKEN_MAGIC):
            raise ValueError(f"these {len(data)} bytes are no resume token")
        _, version, session, secret, code = _LAYOUT.unpack(data)
        if version != TOKEN_VERSION:
            raise ValueError(f"version of the resume token is {version}; permitted: {TOKEN_VERSION}")
        return cls(session, secret, code.rstrip(b"\0").decode("latin-1"))


def resume_nonce(secret: bytes, count: int) -> int:
    """Make the nonce of a session's attempt number `count` to come back: nobody without the secret can guess it."""
    message = b"resume nonce" + count.to_bytes(4, "little")
    return int.from_bytes(hmac.digest(secret, message, hashlib.sha256)[:NONCE_BYTES], "little")
