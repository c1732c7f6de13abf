"""Which stages an engine gets, and that the relay needs no numba for any but the compiled ones."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

import relay.stages
from relay.config import RelayConfig
from relay.engine import Engine
from relay.stages import ColumnStages, must_compile, select_stages
from relay.world import World, build_world
from tests.relay.bench import SECRET, Bench, section

ROOT = Path(__file__).resolve().parents[2]
HAS_NUMBA = importlib.util.find_spec("numba") is not None
WITHOUT_NUMBA = "import sys\nsys.modules['numba'] = None\n"


def run_python(script: str) -> str:
    """Run a script in a process of its own. Returns: what it printed."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- selection


@pytest.mark.parametrize("name", ["", "fast", "Columns", "numba"])
def test_an_unknown_name_is_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(ValueError, match="permitted: auto, compiled, columns") as caught:
        select_stages(name)
    assert repr(name) in str(caught.value)


def new_world() -> World:
    return build_world(RelayConfig(), Random(1))


def test_columns_are_had_everywhere_and_are_what_an_engine_has_if_nothing_is_said() -> None:
    assert select_stages("columns") is ColumnStages
    assert not must_compile("columns")
    bench = Bench()
    assert bench.engine.stages_name == "columns"
    assert isinstance(bench.engine._stages, ColumnStages)


@pytest.mark.skipif(not HAS_NUMBA, reason="needs numba")
@pytest.mark.parametrize("name", ["auto", "compiled"])
def test_compiled_stages_are_built_where_numba_is(name: str) -> None:
    world = new_world()
    assert select_stages(name)(world).name == "compiled"
    assert world.events == []
    assert not must_compile(name)


def test_without_numba_auto_means_columns_and_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay.stages, "find_spec", lambda name: None)
    world = new_world()
    assert select_stages("auto")(world).name == "columns"
    assert world.events == []  # as it was installed
    assert not must_compile("auto")
    with pytest.raises(ValueError, match=r"needs numba: pip install 'tickrelay\[fast\]'; or use auto"):
        select_stages("compiled")(world)


@pytest.mark.skipif(not HAS_NUMBA, reason="needs numba")
def test_where_nothing_may_be_compiled_auto_means_columns_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay.stages, "may_execute", lambda: False)
    world = new_world()
    assert select_stages("auto")(world).name == "columns"
    assert "may not make memory executable" in world.events[0].text
    with pytest.raises(ValueError, match="may not make memory executable"):
        select_stages("compiled")(world)


@pytest.mark.skipif(not HAS_NUMBA, reason="needs numba")
def test_whatever_goes_wrong_while_compiling_auto_serves_with_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    from relay.loops.stages import LoopStages

    def fail(self: object) -> None:
        raise EOFError("half a file")

    monkeypatch.setattr("relay.loops.jit.with_whole_cache", lambda build: build())
    monkeypatch.setattr(LoopStages, "_compile", fail)
    bench = Bench()
    engine = Engine(RelayConfig(), SECRET, Random(1), select_stages("auto"))
    assert engine.stages_name == "columns"
    assert "half a file" in engine.events[0].text
    bench.engine = engine
    a, b = bench.join_all(2)
    bench.receive(a.data(a.signal(b"heard")))
    bench.tick()
    b.hear()
    assert b.signals == [b"heard"]


# --- no numba unless it is asked for


@pytest.mark.parametrize(
    "module", ["relay.server", "relay.engine", "relay.stages", "relay.client", "tools.serve", "tools.cli"]
)
def test_importing_the_relay_does_not_import_numba(module: str) -> None:
    script = (
        f"import sys, {module}; print([name for name in sys.modules if name.split('.')[0] in ('numba', 'llvmlite')])"
    )
    assert run_python(script) == "[]"


def test_only_the_loops_name_numba_at_import() -> None:
    importing = [
        path.relative_to(ROOT).as_posix()
        for package in ("protocol", "relay", "tools")
        for path in sorted((ROOT / package).rglob("*.py"))
        if any(line.split()[:2] in (["import", "numba"], ["from", "numba"], ["from", "numba.experimental"])
               for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    ]  # fmt: skip
    assert all(path.startswith("relay/loops/") for path in importing), importing


def test_where_numba_cannot_be_imported_columns_serve() -> None:
    """An installation of numba that is there but broken, say: whoever asks for columns is not told of it."""
    script = WITHOUT_NUMBA + (
        "import relay.server, relay.stages, tools.serve\n"
        "from tests.relay.bench import Bench\n"
        "bench = Bench()\n"
        "a, b = bench.join_all(2)\n"
        "bench.receive(a.data(a.state(b'x'), a.message(b'm'), a.signal(b's')))\n"
        "bench.tick()\n"
        "b.hear()\n"
        "print(b.table, b.messages, b.signals, relay.stages.select_stages('columns').__name__)\n"
    )
    assert run_python(script) == "{0: b'x'} [(0, b'm')] [b's'] ColumnStages"


def test_where_numba_cannot_be_imported_auto_means_columns() -> None:
    script = WITHOUT_NUMBA + (
        "import random, relay.config, relay.stages, relay.world\n"
        "world = relay.world.build_world(relay.config.RelayConfig(), random.Random(1))\n"
        "print(relay.stages.select_stages('auto')(world).name)\n"
        "try:\n"
        "    relay.stages.select_stages('compiled')(world)\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    name, error = run_python(script).splitlines()
    assert name == "columns"
    assert "needs numba: pip install 'tickrelay[fast]'" in error


def test_where_numba_is_not_installed_auto_means_columns() -> None:
    """As on a machine without it: nothing finds it."""
    script = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('numba', 'llvmlite'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, package=None: None if name == 'numba' else real(name, package)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "import relay.server, relay.stages, tools.serve, tools.cli\n"
        "server = relay.server.RelayServer(relay.server.RelayConfig(), secret=bytes(32), stages='auto')\n"
        "print(server.engine.stages_name)\n"
    )
    assert run_python(script) == "columns"


# --- what columns do, in short; the parts have tests of their own


def test_a_plan_tells_what_may_and_what_must_be_sent() -> None:
    bench = Bench()
    a, b = bench.join_all(2)
    bench.receive(a.data(section(200, b"")))
    stages = bench.engine._stages
    assert not len(stages.plan(bench.now, at_tick=False).bare)
    bench.now += 0.051
    plan = stages.plan(bench.now, at_tick=False)
    assert plan.bare.tolist() == [a.row]
    assert (plan.allowed[[a.row, b.row]] > 1).all()


def test_those_who_are_silent_or_too_slow_are_overdue() -> None:
    bench = Bench(timeout_s=2.0)
    a, b = bench.join_all(2)
    bench.now += 2.5
    bench.receive(b.data())
    overdue = bench.engine._stages.find_overdue(bench.now)
    assert (overdue.silent.tolist(), overdue.too_slow.tolist()) == ([a.row], [])
    bench.engine.world.sessions.table.log_marked_at[b.row] = bench.now - 10.1
    assert bench.engine._stages.find_overdue(bench.now).too_slow.tolist() == [b.row]
