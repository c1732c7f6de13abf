"""Whether memory may be made executable."""

import ctypes
import mmap

import pytest

from relay.loops import permission


@pytest.mark.skipif(not hasattr(mmap, "MAP_PRIVATE"), reason="not on Windows")
def test_who_may_not_make_memory_executable_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        @staticmethod
        def mprotect(*args: object) -> int:
            return -1

    monkeypatch.setattr(permission.sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda *args, **named: Refusing())
    assert not permission.may_execute()


@pytest.mark.skipif(permission.sys.platform != "linux", reason="asked on Linux only")
def test_this_process_may_and_its_memory_is_really_asked_for() -> None:
    assert permission.may_execute()


def test_a_system_without_the_calls_is_taken_to_forbid_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission.sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda *args, **named: object())
    assert not permission.may_execute()


def test_elsewhere_nobody_forbids_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission.sys, "platform", "darwin")
    assert permission.may_execute()
