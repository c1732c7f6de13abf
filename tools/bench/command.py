"""`tickrelay bench`: what the relay costs, beside the cheapest relay that this machine could run."""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from relay.config import RelayConfig
from tools.bench import stages
from tools.bench.machine import (
    Cores,
    available_cores,
    choose_cores,
    describe_machine,
    kept_awake,
    thread_siblings,
)
from tools.bench.results import (
    Measured,
    Row,
    SavedRun,
    build_rows,
    changes,
    load_saved,
    measure_rounds,
    rows_json,
    save,
)
from tools.bench.rows import DURATION_S, Spec, default_specs, full_specs, idle_specs, planned_total_s
from tools.bench.run import Measure, Runner
from tools.bench.table import markdown, table_text
from tools.cli import EXIT_FAILED, EXIT_INTERRUPTED, OneLineParser, UsageError

MAX_ROUNDS = 100
MAX_DURATION_S = 600.0
SETTLE_S = 0.5
"""The spinners get this long to start."""
GIT_TIMEOUT_S = 10.0
MIN_WIDTH = 150
"""A table in a narrower terminal is folded by it, which is better than figures cut off."""


def main(argv: Sequence[str], environ: Mapping[str, str], measure: Measure | None = None) -> int:
    """Run the subcommand. Returns: the exit code.

    Args:
        measure: Measures one row; None starts relays and loads.
    """
    options = build_parser().parse_args(argv)
    before = _read_before(options)
    cores = choose_cores(available_cores(), thread_siblings)
    with kept_awake(cores) as awake:
        time.sleep(SETTLE_S if measure is None else 0.0)
        for note in (*(f"{name}: {text}" for name, text in describe_machine().items()), cores.note, awake):
            _tell(note)
        if options.stages:
            return _show_stages(cores, options)
        measured = _measure(options, cores, environ, measure)
    rows = build_rows(measured)
    return _show(rows, options, before) or _code_of(measured, rows, options.rounds)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser."""
    parser = OneLineParser(
        prog="tickrelay bench",
        description="Measure what the relay costs here: CPU per player and tick, delivery, delay, bytes and memory; "
        "beside the floor, the cheapest relay in C that sends the same datagrams. At most 4 minutes without options.",
        epilog="What the rows mean and what keeps them honest: tools/bench/README.md.",
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--full", action="store_true", help="all shapes: more players, room sizes, messages, joins, idle")
    what.add_argument("--idle", action="store_true", help="1,000 idle players, and a relay without any")
    what.add_argument("--stages", action="store_true", help="what each stage inside the engine costs")
    parser.add_argument("--rounds", metavar="N", help="measure all rows this many times (default: 1)")
    parser.add_argument(
        "--duration", metavar="SECONDS", help=f"measured time of each row (default: {DURATION_S:.0f}; less is a trial)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, all else on stderr")
    parser.add_argument("--markdown", action="store_true", help="the table as Markdown")
    parser.add_argument("--save", metavar="FILE", help="keep this run, to compare another with it")
    parser.add_argument("--compare", metavar="FILE", help="show the change since a run that was kept")
    return parser


def _read_before(options: argparse.Namespace) -> SavedRun | None:
    """Check the options, and read the run to compare with: before anything is measured, not minutes later.

    Raises: UsageError.
    """
    options.rounds = int(_number("rounds", options.rounds or "1", 1, MAX_ROUNDS, whole=True))
    options.duration = _number("duration", options.duration or str(DURATION_S), 1, MAX_DURATION_S)
    if options.stages and (options.save or options.compare or options.rounds > 1):
        raise UsageError("--stages goes with --json only: it perturbs what it measures, so its figures are not kept")
    if options.save and not Path(options.save).absolute().parent.is_dir():
        raise UsageError(f"cannot write {options.save}: there is no such folder")
    if not options.compare:
        return None
    try:
        return load_saved(Path(options.compare))
    except OSError as error:
        raise UsageError(f"cannot read {options.compare}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{options.compare} {error}") from None


def _number(name: str, text: str, low: float, high: float, whole: bool = False) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high or (whole and value != int(value)):
        raise UsageError(f"{name} is {text}; permitted: {low} to {high:.0f}")
    return value


def _measure(
    options: argparse.Namespace, cores: Cores, environ: Mapping[str, str], measure: Measure | None
) -> Measured:
    """Measure all rows that can be measured here."""
    specs = full_specs() if options.full else idle_specs() if options.idle else default_specs()
    specs = [replace(spec, duration_s=options.duration) for spec in specs]
    if options.duration < DURATION_S:
        _tell(f"a trial: figures count over {DURATION_S:.0f} s or more")
    with tempfile.TemporaryDirectory(prefix="tickrelay-bench-") as folder:
        if measure is None:
            runner = Runner(cores, Path(folder), environ)
            specs, measure = _possible(specs, runner), runner.measure
        _tell(f"{len(specs)} rows, {options.rounds} rounds, about {planned_total_s(specs, options.rounds):.0f} s")
        return measure_rounds(specs, options.rounds, measure, _tell)


def _possible(specs: Sequence[Spec], runner: Runner) -> list[Spec]:
    """Leave out rows that cannot be measured here, and say so once per kind."""
    reasons = {name: runner.why_not(name) for name in dict.fromkeys(spec.name for spec in specs)}
    for name, reason in reasons.items():
        if reason:
            _tell(f"without rows of {name}: {reason}")
    return [spec for spec in specs if not reasons[spec.name]]


def _show(rows: Sequence[Row], options: argparse.Namespace, before: SavedRun | None) -> int:
    """Print and keep the run. Returns: the exit code; 0 whatever the rows say."""
    machine = describe_machine()
    width = max(MIN_WIDTH, shutil.get_terminal_size((MIN_WIDTH, 50)).columns)
    changed = changes(rows, before.rows) if before else None
    print(table_text(rows, changed, width), file=sys.stderr if options.json or options.markdown else sys.stdout)
    if before:
        _tell(f"change: CPU now against {before.commit}, in rows that prove something in both")
        if before.machine != machine:
            _tell("that run was measured on another machine or with other versions: the change is not the code's alone")
    if any(row.spread_of == "thirds" for row in rows):
        _tell("* of one round: the spread of the thirds of its measured time; --rounds 3 for that of whole runs")
    for row in rows:
        for text in (*row.failures, *row.bottlenecks):
            _tell(f"{row.name}, {row.players} players{', ' * bool(row.shape)}{row.shape}: {text}")
    if options.json:
        print(rows_json(rows))
    if options.markdown:
        print(markdown(rows))
    if options.save:
        try:
            save(Path(options.save), rows, current_commit(), machine)
        except OSError as error:
            _tell(f"cannot write {options.save}: {error.strerror}")
            return EXIT_FAILED
    return 0


def _code_of(measured: Measured, rows: Sequence[Row], rounds: int) -> int:
    """Return the exit code of a run: whether all of it was measured, and nothing was found wrong."""
    if any(len(by_round) < rounds for by_round in measured.values()):
        return EXIT_INTERRUPTED
    # what a saturated row lost says nothing about the relay
    has_failed = any(row.failures and not row.saturated for row in rows)
    return EXIT_FAILED if has_failed or any(None in by_round for by_round in measured.values()) else 0


def _show_stages(cores: Cores, options: argparse.Namespace) -> int:
    """Measure and print the stages. Returns: the exit code."""
    if why := stages.why_not():
        _tell(f"cannot measure the stages: {why}")
        return EXIT_FAILED
    if cores.relay is not None:
        os.sched_setaffinity(0, {cores.relay})
    found = {
        kind: {players: stages.measure_stages(players, kind, _tell) for players in stages.PLAYERS}
        for kind in stages.kinds_of_stages()
    }
    if options.json:
        print(json.dumps({"stages": found}))
    else:
        print("\n\n".join(stages.stages_text(kind, figures) for kind, figures in found.items()))
        print("The stopwatch is in it: see tools/bench/stages.py.")
    return 0


def current_commit() -> str:
    """Name the code that runs: its commit, with + if it was changed since; the release where there is no checkout."""
    folder = Path(__file__).resolve().parent
    try:
        commands = (["git", "rev-parse", "--short=12", "HEAD"], ["git", "status", "--porcelain", "-uno"])
        head, changed = (
            subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True
            ).stdout.strip()
            for command in commands
        )
        return head + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return f"release {RelayConfig().release}"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
