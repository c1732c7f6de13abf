"""The relay's own secret: 32 random bytes that outlive a restart, in a file that only its user may read."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from relay.server import SECRET_BYTES


def default_secret_path(environ: Mapping[str, str]) -> Path:
    """Tell where the secret lies if nothing else was said: where systemd's StateDirectory= points, or in the home."""
    state_directory = environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(state_directory) / "secret" if state_directory else Path("~/.local/state/tickrelay/secret").expanduser()


def load_secret(path: Path) -> tuple[bytes, str | None]:
    """Read the secret, or make one and keep it.

    Returns: The secret, and a warning if it could not be kept: then it is a random one that dies with the process.
    """
    try:
        return _read_or_create(path), None
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return os.urandom(SECRET_BYTES), (
            f"cannot keep the secret in {path}: {reason}; after a restart clients will notice by timeout only"
        )


def _read_or_create(path: Path) -> bytes:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        # O_EXCL: a file that is there is never overwritten, and two relays started together agree on one of the two.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(os.urandom(SECRET_BYTES))
    secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"it has {len(secret)} bytes instead of {SECRET_BYTES}")
    return secret
