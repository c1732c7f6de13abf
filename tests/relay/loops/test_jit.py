"""Where compiled code is kept, and that nothing is compiled while the relay serves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

from relay.loops import jit
from tests.relay.loops.twins import Twins

ROOT = Path(__file__).resolve().parents[3]

# --- the folder


def test_code_is_kept_in_the_cache_of_the_service(tmp_path: Path) -> None:
    folder = jit.choose_folder({"CACHE_DIRECTORY": str(tmp_path / "service")}, tmp_path / "home")
    assert folder.parent == tmp_path / "service"
    assert folder.is_dir()


def test_code_is_kept_in_the_cache_of_the_user(tmp_path: Path) -> None:
    assert jit.choose_folder({}, tmp_path / "home").parent == tmp_path / "home" / ".cache" / "tickrelay"
    xdg = {"XDG_CACHE_HOME": str(tmp_path / "xdg")}
    assert jit.choose_folder(xdg, tmp_path / "home").parent == tmp_path / "xdg" / "tickrelay"
    assert not (tmp_path / "home" / ".cache" / "other").exists()


def test_the_folder_is_named_by_version_and_is_the_same_again(tmp_path: Path) -> None:
    first, second = (jit.choose_folder({"CACHE_DIRECTORY": str(tmp_path)}, tmp_path) for _ in range(2))
    assert first == second
    assert len(first.name) == 16


def test_a_folder_that_cannot_be_made_is_replaced_by_a_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    one, other = (jit.choose_folder({"CACHE_DIRECTORY": str(tmp_path / "file")}, tmp_path) for _ in range(2))
    assert one != other
    for folder in (one, other):
        assert os.access(folder, os.W_OK)
        assert tmp_path not in folder.parents
        folder.rmdir()


def test_a_folder_that_is_not_writable_is_replaced_by_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    folder = jit.choose_folder({"CACHE_DIRECTORY": str(tmp_path)}, tmp_path)
    assert tmp_path not in folder.parents
    folder.rmdir()


def test_it_is_noted_that_all_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "FOLDER", tmp_path)
    assert not jit.is_complete()
    jit.mark_complete()
    jit.mark_complete()
    assert jit.is_complete()


def test_the_folder_in_use_is_that_of_numba() -> None:
    import numba

    assert str(jit.FOLDER) == numba.config.CACHE_DIR  # type: ignore[attr-defined]


def test_a_user_without_a_home_gets_a_folder_too(tmp_path: Path) -> None:
    folder = jit.choose_folder({}, None)
    assert os.access(folder, os.W_OK)
    folder.rmdir()
    assert jit.choose_folder({"CACHE_DIRECTORY": str(tmp_path)}, None).parent == tmp_path


def test_code_in_a_folder_of_somebody_else_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1, raising=False)
    folder = jit.choose_folder({"CACHE_DIRECTORY": str(tmp_path)}, None)
    assert tmp_path not in folder.parents
    folder.rmdir()


def test_code_of_old_versions_is_removed_but_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, name in enumerate(["new", "old", "older"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "complete").touch()
        os.utime(tmp_path / name / "complete", (1000 - age, 1000 - age))
    (tmp_path / "being compiled").mkdir()
    monkeypatch.setattr(jit, "FOLDER", tmp_path / "this")
    jit.FOLDER.mkdir()
    jit.mark_complete()
    assert {path.name for path in tmp_path.iterdir()} == {"this", "new", "being compiled"}


def test_half_a_file_is_thrown_away_and_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "FOLDER", tmp_path / "this")
    jit.FOLDER.mkdir()
    (jit.FOLDER / "half").touch()

    def build() -> str:
        if (jit.FOLDER / "half").exists():
            raise EOFError
        return "built"

    assert jit.with_whole_cache(build) == "built"


def test_what_fails_twice_is_told() -> None:
    def build() -> None:
        raise OSError("disk full")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(jit.shutil, "rmtree", lambda *args, **named: None)
        jit.with_whole_cache(build)


# --- one signature

SIGNATURES = """
from random import Random
from relay.batch import Batch
from relay.loops import delivery, intake, messages, packing, pages, sending, signals
from tests.fuzz.arena import Arena
from tests.relay.loops.mixed import play
from tests.relay.loops.twins import Twins, twin_bench
from tests.sim.habits import Habits
from tests.sim.world import DEFAULT_CONFIG, World

entry_points = (
    intake.take_in, sending.find_overdue, sending.plan, pages.due_pages, packing.build,
    delivery.gather, signals.accept, messages.accept,
)
built = Twins()
first = [len(entry.signatures) for entry in entry_points]
assert first == [1] * len(entry_points), first
for seed in range(2):
    bench = twin_bench(datagrams_per_s=60, bytes_per_s=30_000, tick_rate=(30, 128)[seed], client_bytes_per_s=50_000)
    play(bench, seed, 60)
    bench.keep(bench.engine.shutdown(bench.now))
bench = twin_bench(max_rooms=500)
clients = []
for number in range(40):
    shape = {"max_players": 4, "entities_per_player": 1 + number % 9, "max_state_bytes": 1 + number * 6}
    clients += [bench.join(code=f"R{number}", **shape) for _ in range(4)]
    bench.receive(*[client.data(client.state(b"x"), client.signal(b"s")) for client in clients[-9:]])
    bench.flush()
    bench.tick()
    bench.receive(*[client.listen() for client in clients])
bench.wait(1.5)
for capacity in (1, 2, 256, 1024):
    batch = Batch(capacity)
    bench.engine.receive(batch, bench.now)
    batch.append(*clients[0].data())
    bench.engine.receive(batch, bench.now)
arena = Arena(1)
arena.desk.engine = Twins(arena.desk.config).loops
for _ in range(40):
    arena.step(10)
world = World("signatures", engine=Twins(DEFAULT_CONFIG))
world.join_all()
world.autopilot = Habits()
world.run(2.0)
print([len(entry.signatures) for entry in entry_points])
"""


def test_nothing_is_compiled_in_a_long_mixed_run() -> None:
    """Another type of an argument, even another layout of an array, would be compiled for: 13 s without a tick."""
    done = run_python(SIGNATURES)
    assert done.stdout.strip() == str([1] * 8), done.stdout + done.stderr


def test_a_second_process_loads_what_the_first_compiled() -> None:
    """Otherwise every start would take some 20 s."""
    Twins()
    script = "import tests.relay.loops.twins as t; from relay.loops import jit, packing\n" + (
        "t.Twins(); print(jit.is_complete(), sum(packing.build.stats.cache_misses.values()))"
    )
    done = run_python(script)
    assert done.stdout.split() == ["True", "0"], done.stdout + done.stderr


def run_python(script: str) -> "subprocess.CompletedProcess[str]":
    """Run a script in a process of its own, whose loops no other test has called."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
