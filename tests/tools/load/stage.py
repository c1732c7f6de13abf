"""A real relay behind a real proxy, on a loop in a thread, and loads that play before it in the main thread."""

import asyncio
import io
import socket
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

import pytest

from relay.config import RelayConfig
from relay.server import RelayServer
from tests.loopback.relays import SECRET
from tools.lag.conditions import Path
from tools.lag.proxy import LagProxy, Tamper
from tools.load import plan as plan_module
from tools.load import run as run_module
from tools.load.command import Loader
from tools.load.plan import Plan

PATIENCE_S = 10.0


class Stage:
    """Use it with `with`."""

    def __init__(
        self, path: Path | None = None, tamper: Tamper | None = None, seed: int = 1, tick_rate: int = 60, **config: Any
    ) -> None:
        self.config = RelayConfig(tick_rate=tick_rate, datagrams_per_s=1000, **config)
        self.path, self.tamper, self.seed = path or Path(), tamper, seed
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        """Start both."""
        self.thread.start()
        self.wait_for(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop both."""
        self.wait_for(self.proxy.close())
        self.stop_relay()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE_S)
        self.loop.close()

    async def _open(self) -> None:
        self.server = RelayServer(self.config, secret=SECRET, host="127.0.0.1", port=0, transport="asyncio")
        await self.server.start()
        self.proxy = LagProxy(
            ("127.0.0.1", self.server.address[1]), self.path, seed=self.seed, tamper=self.tamper, max_clients=256
        )
        await self.proxy.start()

    def wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def stop_relay(self) -> None:
        """Stop the relay, once."""
        if self.server is not None:
            self.wait_for(self.server.stop())
            self.server = None  # type: ignore[assignment]

    def loader(self) -> Loader:
        """Build a loader whose players go through the proxy."""
        return Loader(socket.AF_INET, self.proxy.address, None, io.StringIO())

    def play(self, **plan: Any) -> dict[str, Any]:
        """Run a load through the proxy. Returns: its figures."""
        return self.loader().load(small_plan(**plan))[0]


def small_plan(**changes: Any) -> Plan:
    """A load of a second: two rooms of four, a socket each, who say much."""
    defaults: dict[str, Any] = {
        "port": 1,
        "rooms": 2,
        "players": 4,
        "rate": 30.0,
        "messages": 8.0,
        "signals": 8.0,
        "warm_up_s": 0.1,
        "duration_s": 0.8,
        "settle_s": 2.0,
        "per_socket": 1,
    }
    return Plan(**(defaults | changes))


def be_impatient(patch: pytest.MonkeyPatch) -> None:
    """Settle in a third of the usual time: here nothing is far away."""
    patch.setattr(plan_module, "LONGEST_DELAY_S", 0.3)
    patch.setattr(run_module, "QUIET_S", 0.3)


def during_load(patch: pytest.MonkeyPatch, after_s: float, action: Callable[[], object]) -> None:
    """Do something once, in the main thread, so long after the load began."""
    step = run_module.Run.step
    done: list[bool] = []

    def stepped(run: run_module.Run) -> None:
        step(run)
        is_time = run.phase is run_module.Phase.LOAD and run.clock() - run.phase_began >= after_s
        if is_time and not done:
            done.append(True)
            action()

    patch.setattr(run_module.Run, "step", stepped)


def end_load_when(patch: pytest.MonkeyPatch, is_enough: Callable[[], bool], after_s: float = 0.0) -> None:
    """End the load so long after something has come true: so a slow machine does as much as a fast one."""
    step = run_module.Run.step
    since: list[float] = []

    def stepped(run: run_module.Run) -> None:
        step(run)
        if not since and is_enough():
            since.append(run.clock())
        if since and run.phase is run_module.Phase.LOAD and run.clock() - since[0] >= after_s:
            run.stop()

    patch.setattr(run_module.Run, "step", stepped)
