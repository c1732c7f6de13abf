"""The secret in its file."""

import os
import stat
from pathlib import Path

import pytest

from tools.serve_secret import default_secret_path, load_secret


def test_it_is_created_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "secret"
    secret, warning = load_secret(path)
    assert len(secret) == 32 and warning is None
    assert load_secret(path) == (secret, None)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_its_user_may_read_it(tmp_path: Path) -> None:
    load_secret(tmp_path / "state" / "secret")
    assert stat.S_IMODE((tmp_path / "state" / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_where_it_cannot_be_kept_there_is_a_random_one_and_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    first, warning = load_secret(tmp_path / "file" / "secret")
    second, _ = load_secret(tmp_path / "file" / "secret")
    assert len(first) == len(second) == 32 and first != second
    assert warning is not None and "cannot keep the secret" in warning


def test_a_file_that_is_no_secret_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"something else")
    secret, warning = load_secret(path)
    assert len(secret) == 32
    assert warning is not None and "14 bytes instead of 32" in warning
    assert path.read_bytes() == b"something else"


def test_it_lies_where_systemd_says_or_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_secret_path({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}) == Path("/var/lib/a/secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert default_secret_path({}) == tmp_path / ".local/state/tickrelay/secret"
