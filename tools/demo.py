"""`tickrelay demo`: a relay and a few rooms of bots in this process, connected over UDP, and a table of how they do."""

import argparse
import asyncio
import contextlib
import logging
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence

from protocol.constants import MAX_PLAYERS_PER_ROOM
from relay.client import ConnectTimeout, JoinRefused
from relay.config import RelayConfig
from relay.server import SECRET_BYTES, RelayServer, on_stop_signals
from tools.cli import EXIT_FAILED, OneLineParser, UsageError
from tools.demo_bots import Bot
from tools.demo_view import LiveScreen, PlainScreen, RoomView, View, open_screen
from tools.serve import choose_loop

CODES = ("LOBBY", "FOREST", "HARBOR", "TOWER", "MEADOW", "CAVERN", "BRIDGE", "DESERT")
SECONDS_WITHOUT_TERMINAL = 10.0
"""Nobody is there to press Ctrl-C, so it ends by itself."""
SHORTEST_WAIT_S = 0.05
"""A rest of time below this is not worth another line; timers of uvloop end up to 1 ms early."""
RATE_OVER_S = 1.0
"""Datagrams/s are counted over this time."""


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the subcommand. Returns: the exit code."""
    options = build_parser().parse_args(argv)
    _check(options)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    is_terminal = sys.stdout.isatty()
    seconds = options.seconds
    if seconds is None and not is_terminal:
        seconds = SECONDS_WITHOUT_TERMINAL
    with asyncio.Runner(loop_factory=choose_loop(no_uvloop=False)) as runner:
        return runner.run(Demo(options.rooms, options.players, options.port).run(seconds, open_screen(is_terminal)))


def build_parser() -> argparse.ArgumentParser:
    """Build the parser."""
    parser = OneLineParser(prog="tickrelay demo", description="Watch a relay with a few rooms of bots. Ctrl-C ends it.")
    parser.add_argument("--rooms", type=int, default=4, metavar="N", help=f"rooms, 1 to {len(CODES)} (default: 4)")
    parser.add_argument(
        "--players",
        type=int,
        default=6,
        metavar="N",
        help=f"bots in each room, 1 to {MAX_PLAYERS_PER_ROOM} (default: 6)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="SECONDS",
        help=f"end after this time (default: at Ctrl-C; without a terminal after {SECONDS_WITHOUT_TERMINAL:.0f})",
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="UDP port of the relay (default: any free one)"
    )
    return parser


def _check(options: argparse.Namespace) -> None:
    for name, low, high in (("rooms", 1, len(CODES)), ("players", 1, MAX_PLAYERS_PER_ROOM), ("port", 0, 65_535)):
        value = getattr(options, name)
        if not low <= value <= high:
            raise UsageError(f"{name} is {value}; permitted: {low} to {high}")
    if options.seconds is not None and not options.seconds > 0:
        raise UsageError(f"seconds is {options.seconds}; permitted: above 0")


class Demo:
    """One run: the relay, its bots, and what is shown of them."""

    def __init__(self, num_rooms: int, num_players: int, port: int) -> None:
        """Prepare; nothing is bound yet."""
        config = RelayConfig(
            max_players=num_rooms * num_players,
            max_room_players=MAX_PLAYERS_PER_ROOM,
            default_room_players=num_players,
        )
        self._server = RelayServer(config, secret=os.urandom(SECRET_BYTES), host="127.0.0.1", port=port)
        self._codes = CODES[:num_rooms]
        self._num_players = num_players
        self._bots: dict[str, list[Bot]] = {}
        self._counted = [(0.0, 0, 0)]

    async def run(self, seconds: float | None, screen: PlainScreen | LiveScreen) -> int:
        """Run for that many seconds, or until asked to stop. Returns: the exit code."""
        stop = asyncio.Event()
        undo = on_stop_signals(stop.set)
        try:
            await self._server.start()
            return await self._run_bots(seconds, screen, stop)
        except OSError as error:
            print(f"tickrelay demo: cannot run a relay on this machine: {error}", file=sys.stderr)
            return EXIT_FAILED
        finally:
            await self._server.stop()
            undo()

    async def _run_bots(self, seconds: float | None, screen: PlainScreen | LiveScreen, stop: asyncio.Event) -> int:
        port = self._server.address[1]
        for room, code in enumerate(self._codes):
            self._bots[code] = [Bot(port, code, n, seed=room * 1000 + n) for n in range(self._num_players)]
        exit_code = 0
        try:
            async with asyncio.TaskGroup() as group:
                for bot in (bot for bots in self._bots.values() for bot in bots):
                    group.create_task(bot.run(stop))
                await self._show(seconds, screen, stop)
        except* (JoinRefused, ConnectTimeout) as problems:
            print(f"tickrelay demo: a bot could not join: {problems.exceptions[0]}", file=sys.stderr)
            exit_code = EXIT_FAILED
        return exit_code

    async def _show(self, seconds: float | None, screen: PlainScreen | LiveScreen, stop: asyncio.Event) -> None:
        began = time.monotonic()
        with screen:
            while not stop.is_set():
                left = float("inf") if seconds is None else began + seconds - time.monotonic()
                if left < SHORTEST_WAIT_S:
                    stop.set()
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), min(screen.interval_s, left))
                    break  # the bots are leaving; the last picture shows them all
                screen.show(self._view(time.monotonic() - began))

    def _view(self, elapsed_s: float) -> View:
        server = self._server
        in_per_s, out_per_s = self._rates(elapsed_s)
        rooms = [self._room_view(code, bots) for code, bots in self._bots.items()]
        return View(
            elapsed_s=elapsed_s,
            rooms=rooms,
            players=server.engine.num_sessions,
            in_per_s=in_per_s,
            out_per_s=out_per_s,
            round_trip_ms=_median([room.round_trip_ms for room in rooms]),
            tick_ms=server.tick_s * 1000,
            load_percent=server.engine.load_percent,
            tick_rate=server.config.tick_rate,
        )

    def _rates(self, elapsed_s: float) -> tuple[float, float]:
        """Count datagrams (in, out) per second since RATE_OVER_S ago."""
        counted = self._counted
        server = self._server
        datagrams_out = server.transport.counters["datagrams_sent"]
        counted.append((elapsed_s, server.engine.stats.counters["datagrams_in"], datagrams_out))
        while len(counted) > 2 and counted[1][0] <= elapsed_s - RATE_OVER_S:
            counted.pop(0)
        (start_s, start_in, start_out), (end_s, end_in, end_out) = counted[0], counted[-1]
        span_s = end_s - start_s
        return ((end_in - start_in) / span_s, (end_out - start_out) / span_s) if span_s > 0 else (0.0, 0.0)

    def _room_view(self, code: str, bots: list[Bot]) -> RoomView:
        joined = [bot for bot in bots if bot.client.is_joined]
        round_trips = [bot.client.connection.rtt_s for bot in joined]
        return RoomView(
            code=code,
            players=len(joined),
            round_trip_ms=_median([rtt_s * 1000 for rtt_s in round_trips if rtt_s is not None]),
            messages=bots[0].num_heard,
            last_words=bots[0].last_words,
            positions=bots[0].positions(),
        )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
