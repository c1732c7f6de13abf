"""Real relays and clients on this machine, for tests."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from protocol.client import Event
from relay.client import RelayClient
from relay.config import RelayConfig
from relay.server import RelayServer
from relay.transport.libc import find_mmsg_calls

SECRET = bytes(range(32))
TRANSPORTS = ["asyncio", "batch"] if find_mmsg_calls() is not None else ["asyncio"]
LOOPS = ["stock", "uvloop"] if importlib.util.find_spec("uvloop") else ["stock"]
PATIENCE_S = 5.0
"""How long anything may take before a test fails: far longer than it ever takes."""

E = TypeVar("E")


@asynccontextmanager
async def running_relay(transport: str = "auto", host: str | None = None, **config: Any) -> AsyncIterator[RelayServer]:
    """Run a relay on a free port until the block ends."""
    server = RelayServer(RelayConfig(**config), secret=SECRET, host=host, port=0, transport=transport)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def player(server: RelayServer, name: str, host: str = "127.0.0.1", **options: Any) -> RelayClient:
    """Make a client of a relay, in the room LOBBY unless told otherwise."""
    return RelayClient(host, server.address[1], name=name, **({"code": "LOBBY"} | options))


async def hear(
    client: RelayClient, kind: type[E], where: Callable[[E], bool] = lambda event: True, seconds: float = PATIENCE_S
) -> E:
    """Read a client's events up to the first of a kind for which `where` holds."""
    async with asyncio.timeout(seconds):
        async for event in client:
            if isinstance(event, kind) and where(event):
                return event
    raise AssertionError(f"the session ended without {kind.__name__}")


async def hear_all(client: RelayClient) -> list[Event]:
    """Read a client's events to the end of its session."""
    async with asyncio.timeout(PATIENCE_S):
        return [event async for event in client]


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, or fail."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


def run(main: Callable[[], Coroutine[Any, Any, None]], loop_name: str = "stock") -> None:
    """Run a coroutine function on a fresh loop; what the loop reports as unhandled fails the test."""
    problems: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        await main()

    if loop_name == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    else:
        factory = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(watched())
    assert problems == []
