"""Running a load from the command line: the loop around a `Run`, its screen, Ctrl-C, and what is written in the end."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TextIO

from tools.cli import EXIT_FAILED, UsageError
from tools.load.capacity import Limits, Search
from tools.load.options import build_parser, check_limits, find_address, plan_of
from tools.load.plan import Plan
from tools.load.relay_process import RelayProcess, find_relay
from tools.load.report import check_report, write_report
from tools.load.run import Phase, Run
from tools.load.screen import LiveScreen, PlainScreen, open_screen, print_result
from tools.load.summary import figures_of, series_item
from tools.load.wire import TooFewFiles, Wire

SERIES_S = 1.0
"""Time between two entries of the series."""
SETTLING_GUESS_S = 2.0
"""What settling usually takes, for the progress bar."""


def run_command(argv: Sequence[str]) -> int:
    """Do what the options ask for. Returns: the exit code."""
    options = build_parser().parse_args(argv)
    plan = plan_of(options)
    check_limits(options)
    family, address = find_address(plan.host, plan.port, options.yes_i_own_this_host)
    if options.report:
        check_report(options.report)
    stream = sys.stderr if options.json else sys.stdout
    loader = Loader(family, address, options.relay_pid, stream)
    if options.find_capacity:
        return _search(loader, plan, options, stream)
    figures, series = loader.load(plan)
    _write(figures, series, options, stream)
    return 0 if figures["passed"] else EXIT_FAILED


def _write(figures: dict[str, Any], series: list[dict[str, Any]], options: argparse.Namespace, stream: TextIO) -> None:
    print_result(figures, stream)
    if options.report:
        write_report(options.report, figures, series, date=f"{datetime.now():%Y-%m-%d %H:%M}")
        print(f"report: {options.report}", file=stream)
    if options.json:
        print(json.dumps(figures, indent=2))


def _search(loader: "Loader", plan: Plan, options: argparse.Namespace, stream: TextIO) -> int:
    limits = Limits(options.min_delivered, options.max_age_ms, options.max_latency_ms, options.max_relay_cpu)
    search = Search(plan, limits, options.max_rooms)
    while (trial := search.next_plan()) is not None:
        print(f"trying {trial.num_players} players in {trial.rooms} rooms", file=stream, flush=True)
        figures, _ = loader.load(trial)
        search.note(figures)
        print(f"  {search.last_words}", file=stream, flush=True)
        if loader.was_stopped:
            break
    print(search.conclusion(), file=stream)
    if options.json:
        print(json.dumps(search.as_json(), indent=2))
    return 0 if search.best is not None else EXIT_FAILED


class Loader:
    """Runs one load after another. Ctrl-C ends the load, a second one the settling too; its figures count."""

    def __init__(self, family: int, address: tuple[Any, ...], relay_pid: int | None, stream: TextIO) -> None:
        """Prepare. Raises: UsageError if there is no process of that number."""
        self._family, self._address = family, address
        self._relay: RelayProcess | None = find_relay(relay_pid, int(address[1])) if _is_local(address) else None
        if relay_pid is not None and self._relay is None:
            raise UsageError(f"relay-pid is {relay_pid}; there is no such process to be seen here")
        self._stream = stream
        self._num_interrupts = 0

    @property
    def was_stopped(self) -> bool:
        """Whether somebody pressed Ctrl-C."""
        return self._num_interrupts > 0

    def load(self, plan: Plan) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Run one load. Returns: its figures, and its series, one entry a second. Raises: UsageError."""
        num_sockets = -(-plan.num_players // plan.per_socket)
        try:
            wire = Wire(self._address, self._family, num_sockets)
        except TooFewFiles as error:
            raise UsageError(str(error)) from None
        except OSError as error:
            raise UsageError(f"cannot open {num_sockets} sockets: {error.strerror}") from None
        before = signal.signal(signal.SIGINT, self._on_interrupt)
        try:
            run = Run(plan, wire, self._relay)
            series: list[dict[str, Any]] = []
            with open_screen(self._stream.isatty(), self._stream) as screen:
                self._play(run, screen, series)
            return figures_of(run, is_over=True), series
        finally:
            signal.signal(signal.SIGINT, before)
            wire.close()

    def _on_interrupt(self, *_: object) -> None:
        self._num_interrupts += 1

    def _play(self, run: Run, screen: PlainScreen | LiveScreen, series: list[dict[str, Any]]) -> None:
        shown_at, noted_at, noted = 0.0, run.began, None
        num_stops = self._num_interrupts
        while run.phase is not Phase.OVER:
            began = time.monotonic()
            run.step()
            if self._num_interrupts > num_stops:
                num_stops = self._num_interrupts
                run.stop()  # the second time it does not wait for quiet
            if run.crowd is not None and began - noted_at >= SERIES_S:
                now = run.moment(began)
                if noted is not None:
                    series.append(series_item(run, noted, now, began - run.began))
                noted_at, noted = began, now
            if began - shown_at >= screen.interval_s:
                shown_at = began
                progress, left_s = progress_of(run, began)
                figures = figures_of(run, is_over=False)
                screen.show(figures, series[-1] if series else None, progress, run.phase.value, left_s)
            time.sleep(run.rest_s(began))


def progress_of(run: Run, now: float) -> tuple[float, float]:
    """Estimate how far a run is, 0 ... 1, and the seconds that are left."""
    plan = run.plan
    spans = {
        Phase.RAMP_UP: plan.num_players / plan.join_rate,
        Phase.WARM_UP: plan.warm_up_s,
        Phase.LOAD: plan.duration_s,
        Phase.SETTLING: SETTLING_GUESS_S,
    }
    total = sum(spans.values())
    done = 0.0
    for phase, span in spans.items():
        if phase is run.phase:
            done += min(span, now - run.phase_began)
            break
        done += span
    return done / total, total - done


def _is_local(address: tuple[Any, ...]) -> bool:
    return str(address[0]).startswith("127.") or address[0] == "::1"
