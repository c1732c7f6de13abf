"""`tickrelay dump`: see every packet between players and a relay.

files, live, proxy ─▶ packets ─▶ recognise ─▶ sessions ─▶ filters ─▶ views, stats, follow, plot
"""

import argparse
import asyncio
import gc
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from itertools import islice
from typing import TextIO

from relay.server import on_stop_signals
from tools.cli import EXIT_FAILED, UsageError
from tools.dump.captures import Frame, in_time_order
from tools.dump.datagrams import Datagram
from tools.dump.filters import build_filter
from tools.dump.follow import FollowView
from tools.dump.live import LiveCapture, NoPrivilege, stop_signals
from tools.dump.options import check_writable, parse_options
from tools.dump.packet_views import JsonView, LineView
from tools.dump.packets import PacketReader
from tools.dump.pipeline import Pipeline, View
from tools.dump.plot import PlotView
from tools.dump.progress import Progress
from tools.dump.proxy import WatchingProxy
from tools.dump.recognise import Recogniser
from tools.dump.replay import run_replay
from tools.dump.sessions import Sessions
from tools.dump.stats import StatsView
from tools.dump.views import Printer
from tools.lag import address_text, parse_listen
from tools.ping import parse_address
from tools.serve import choose_loop

GC_THRESHOLD = 50_000
"""Objects made between looks for garbage, instead of 700 (chosen: several batches)."""
BATCH_FRAMES = 8192
"""Packets that are read at once: numpy's calls cost little per datagram then, and lines still come at once."""


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the subcommand. Returns: the exit code."""
    options = parse_options(argv)
    if sys.stdout is None:
        print("tickrelay dump: standard output is closed", file=sys.stderr)
        return EXIT_FAILED
    try:
        return _run(options)
    except BrokenPipeError:
        # Whoever read the lines has enough of them, as `| head` has.
        _divert(sys.stdout, sys.stderr)
        return 0
    except OSError as error:  # of the output: each source tells its own troubles
        _divert(sys.stdout)
        what = options.plot or "the output"
        print(f"tickrelay dump: cannot write {what}: {error.strerror or error}", file=sys.stderr)
        return EXIT_FAILED


def _run(options: argparse.Namespace) -> int:
    """Read the source that was chosen. Returns: the exit code. Raises: UsageError; OSError if the output fails."""
    if options.replay:
        return run_replay(options)
    dump = _Dump(options)
    if options.proxy:
        with asyncio.Runner(loop_factory=choose_loop(no_uvloop=False)) as runner:
            return runner.run(dump.run_proxy())
    return dump.run_live() if options.live else dump.run_files()


def _divert(*streams: TextIO) -> None:
    """Send to nowhere what is left in the buffers: Python would try it again at its end, and complain."""
    for stream in streams:
        with suppress(OSError, ValueError):  # one that is no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Dump:
    """One run with all that belongs to it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._packets = PacketReader()
        self._printer = Printer(sys.stdout)
        self._pipeline = Pipeline(Recogniser(options.port), Sessions(), [self._build_view()])
        self._pipeline.keep = build_filter(options, self._begin_s)

    def _begin_s(self) -> float:
        return self._pipeline.begin_s

    def _build_view(self) -> View:
        options = self._options
        if options.stats:
            return StatsView(sys.stdout, as_json=options.json, skipped=self._all_skipped)
        if options.follow:
            return FollowView(options.follow, self._printer, self._begin_s)
        if options.plot:
            view = PlotView(options.plot)
            check_writable("plot", options.plot)
            return view
        if options.json:
            return JsonView(self._printer)
        return LineView(self._printer, self._begin_s, with_structure=options.verbose, with_hex=options.hex)

    def _all_skipped(self) -> Counter[str]:
        foreign = Counter({"foreign UDP datagrams": self._pipeline.recogniser.num_foreign})
        return self._packets.skipped + foreign

    def run_files(self) -> int:
        """Read captures in the order of their times, as if they were one. Returns: the exit code."""
        options = self._options
        is_alone = bool(options.stats or options.plot) or not sys.stdout.isatty()
        for capture in in_time_order(options.files):
            progress = Progress(sys.stderr, capture.name, is_wanted=is_alone)
            with capture, progress, _few_collections():
                for frames in _in_batches(iter(capture)):
                    self._take(frames)
                    progress.show(capture.share_read)
            for notice in capture.notices:
                print(f"tickrelay dump: {notice}", file=sys.stderr)
        self._finish()
        return 0

    def run_live(self) -> int:
        """Capture until Ctrl-C, SIGTERM or for the seconds that were asked for. Returns: the exit code."""
        try:
            capture = LiveCapture(self._options.live)
        except NoPrivilege as error:
            print(f"tickrelay dump: {error}", file=sys.stderr)
            return EXIT_FAILED
        seconds = self._options.seconds
        until_s = None if seconds is None else time.time() + seconds
        with stop_signals() as is_asked_to_stop, closing(capture):
            for frames in capture.frames(until_s):
                self._take(frames)
                if is_asked_to_stop():
                    break
        if capture.num_lost:
            print(f"tickrelay dump: {capture.num_lost:,} packets came too fast and were not seen", file=sys.stderr)
        self._finish()
        if capture.trouble:
            print(f"tickrelay dump: {capture.trouble}", file=sys.stderr)
            return EXIT_FAILED
        return 0

    async def run_proxy(self) -> int:
        """Pass on and show until Ctrl-C, SIGTERM or for the seconds that were asked for. Returns: the exit code."""
        options = self._options
        watching = WatchingProxy(parse_address(options.to), parse_listen(options.proxy))
        stop = asyncio.Event()
        undo = on_stop_signals(stop.set)
        try:
            async with AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(watching)
                except ValueError:
                    raise UsageError(
                        f"to is {options.to!r}, which is this proxy itself; permitted: the relay's"
                    ) from None
                except OSError as error:
                    return _explain(error, options)
                here, relay = address_text(*watching.proxy.address), address_text(*watching.proxy.upstream)
                print(f"Point the game at {here} instead of {relay}. Ctrl-C ends it.", file=sys.stderr, flush=True)
                await watching.watch(self._pipeline.take, stop, options.seconds)
        finally:
            undo()
        self._packets.num_packets = watching.num_datagrams
        if watching.num_unseen:
            print(f"tickrelay dump: {watching.num_unseen:,} datagrams came too fast to be shown", file=sys.stderr)
        self._finish()
        return 0

    def _take(self, frames: Sequence[Frame]) -> None:
        read = self._packets.read
        datagrams: list[Datagram] = [datagram for frame in frames if (datagram := read(frame)) is not None]
        self._pipeline.take(datagrams)

    def _finish(self) -> None:
        self._packets.finish()
        self._pipeline.finish()
        sys.stdout.flush()
        summary = self._pipeline.summary(self._packets.num_packets, self._packets.skipped)
        print(f"tickrelay dump: {summary}", file=sys.stderr)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Look for cycles of garbage seldom, for there are none: 1,011,153 datagrams took 9.9 s of CPU, not 10.9."""
    before = gc.get_threshold()
    gc.set_threshold(GC_THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _in_batches(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    while batch := list(islice(frames, BATCH_FRAMES)):
        yield batch


def _explain(error: OSError, options: argparse.Namespace) -> int:
    """Say in one line what kept the proxy from starting. Returns: the exit code."""
    if isinstance(error, socket.gaierror):
        text = f"{options.to} or {options.proxy} has no address: {error.strerror}; is the name right?"
    else:
        text = f"cannot listen on {options.proxy}: {error.strerror}; --proxy takes another"
    print(f"tickrelay dump: {text}", file=sys.stderr)
    return EXIT_FAILED
