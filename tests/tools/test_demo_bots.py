"""The demo's players."""

import asyncio

import pytest

from tests.loopback.relays import run, running_relay, until
from tools import demo_bots
from tools.demo_bots import STATE, Bot


def test_bots_walk_in_circles_inside_the_room() -> None:
    bot = Bot(1, "LOBBY", 3, seed=7)
    positions = [STATE.unpack(bot._state(second / 10)) for second in range(1000)]
    radii = {round((x * x + y * y) ** 0.5, 3) for x, y in positions}
    assert len(radii) == 1 and 0.3 < radii.pop() < 1.0
    assert len(set(positions)) > 500


def test_bots_see_and_hear_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        stop = asyncio.Event()
        async with running_relay() as server, asyncio.TaskGroup() as group:
            bots = [Bot(server.address[1], "LOBBY", number, seed=number) for number in range(3)]
            assert bots[0].positions() == []
            for bot in bots:
                group.create_task(bot.run(stop))
            await until(lambda: len(bots[0].positions()) == 3)
            await until(lambda: bots[0].num_heard > 0)
            assert {name for name, _, _ in bots[0].positions()} == {"Ada", "Bo", "Cleo"}
            name, _, words = bots[0].last_words.partition(": ")
            assert name in ("Ada", "Bo", "Cleo") and words in demo_bots.PHRASES
            stop.set()

    monkeypatch.setattr(demo_bots, "CHAT_EVERY_S", 0.6)
    run(main)
