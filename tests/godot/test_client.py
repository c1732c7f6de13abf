"""RelayClient joins a real relay, and says in words why it cannot."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from protocol import codec
from protocol.client import ByeReason, Message, PlayerJoined, PlayerLeft
from protocol.constants import Kind, Refusal
from tests.godot.engine import Godot
from tests.loopback.relays import hear, player, run, running_relay
from tools.lag.conditions import Conditions
from tools.lag.conditions import Path as LagPath
from tools.lag.proxy import LagProxy

NO_ANSWER, NO_UDP, VERSION_PROBLEM = 256, 257, 258
"""RelayClient.Problem."""
SLACK_MS = 2_000
"""How much later than promised a signal may come on a busy machine, where a frame may take long."""


def only(told: list[dict[str, Any]], event: str) -> dict[str, Any]:
    (line,) = [line for line in told if line["event"] == event]
    return line


def waited_ms(told: list[dict[str, Any]], event: str) -> int:
    """Time from the call to the signal."""
    return int(only(told, event)["ms"] - only(told, "entering")["ms"])


async def finish(bot: Godot, seconds: float = 30.0) -> list[dict[str, Any]]:
    return await asyncio.to_thread(bot.finish, seconds)


def start(godot: str, project: Path, port: int, *arguments: str, script: str = "bot.gd") -> Godot:
    return Godot.start(godot, project, script, f"--port={port}", *arguments, seconds=30.0)


@pytest.mark.parametrize("thread", [(), ("--thread",)], ids=["frames", "thread"])
def test_it_creates_a_room_and_others_join_it(godot: str, project: Path, thread: tuple[str, ...]) -> None:
    async def main() -> None:
        async with running_relay() as server:
            arguments = ("--mode=create", "--name=Ada", "--max_players=5", "--entities=3", *thread)
            bot = start(godot, project, server.address[1], *arguments)
            while not bot.told("joined"):
                await asyncio.sleep(0.05)
            code = bot.told("joined")[0]["code"]
            async with player(server, "Bob", code=code) as bob:
                assert (bob.connection.max_players, bob.connection.entities_per_player) == (5, 3)
                await hear(bob, PlayerJoined, lambda event: event.name == "Ada")
                bob.send_message(b"", kind=4)
                bob.send_message(b"", kind=6)
                left = await hear(bob, PlayerLeft)
                assert left.reason is ByeReason.LEFT
            told = await finish(bot)
            assert only(told, "disconnected")["reason"] == ByeReason.LEFT
            assert [line["name"] for line in told if line["event"] == "player_joined"] == ["Ada", "Bob"]
            report = only(told, "report")
            assert report["limits"]["entities_per_player"] == 3
            assert report["players"] == {"0": "Ada", "1": "Bob"}
            assert report["host_id"] == 0
            assert 0 <= report["round_trip_s"] < 1
            assert abs(report["server_time"] - report["tick"] / report["tick_rate"]) < 1

    run(main)


@pytest.mark.parametrize(
    ("arguments", "reason", "words"),
    [
        (("--code=OPEN", "--mode=join", "--password=wrong"), Refusal.WRONG_PASSWORD, "password"),
        (("--code=FULL", "--mode=join"), Refusal.ROOM_FULL, "full"),
        (("--code=NONE", "--mode=join"), Refusal.NO_SUCH_ROOM, "no room with this code"),
        (("--code=FULL", "--mode=create"), Refusal.ROOM_EXISTS, "exists already"),
        (("--code=not+a+code",), Refusal.BAD_CODE, "not a room code"),
        (("--code=LOBBY", "--name="), Refusal.BAD_NAME, "name"),
        (("--code=LOBBY", "--max_players=300"), Refusal.BAD_OPTIONS, "settings"),
    ],
)
def test_a_refusal_is_a_signal_with_words(
    godot: str, project: Path, arguments: tuple[str, ...], reason: Refusal, words: str
) -> None:
    async def main() -> None:
        async with (
            running_relay() as server,
            player(server, "Eve", code="OPEN", password="right"),
            player(server, "Zoe", code="FULL", max_players=1),
        ):
            told = await finish(start(godot, project, server.address[1], *arguments))
            refused = only(told, "join_refused")
            assert (refused["reason"], words in refused["text"]) == (reason, True), refused
            assert refused["status"] == 0

    run(main)


@contextmanager
def fake_relay(answer: Callable[[bytes], bytes | None]) -> Iterator[int]:
    """Answer datagrams on a free port until the block ends. Yields: the port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(0.1)
    is_over = False

    def serve() -> None:
        while not is_over:
            try:
                data, address = sock.recvfrom(2048)
            except TimeoutError:
                continue
            reply = answer(data)
            if reply is not None:
                sock.sendto(reply, address)

    thread = Thread(target=serve)
    thread.start()
    try:
        yield sock.getsockname()[1]
    finally:
        is_over = True
        thread.join()
        sock.close()


@pytest.mark.parametrize(
    ("revisions", "text", "words"),
    [
        ((2, 3), "", "Update the game"),
        ((0, 0), "", "update of the server"),
        ((2, 3), "Please update your game to 4.0.", "Please update your game to 4.0."),
    ],
)
def test_a_version_mismatch_says_which_side_to_update(
    godot: str, project: Path, revisions: tuple[int, int], text: str, words: str
) -> None:
    def refuse(data: bytes) -> bytes:
        return codec.encode(
            Kind.REFUSE,
            shard=0,
            nonce=int.from_bytes(data[6:14], "little"),
            reason=Refusal.VERSION,
            revision_min=revisions[0],
            revision_max=revisions[1],
            text=text.encode(),
        )

    with fake_relay(refuse) as port:
        refused = only(start(godot, project, port, "--code=LOBBY").finish(), "join_refused")
    assert refused["reason"] == Refusal.VERSION
    assert words in refused["text"]


def test_a_port_where_nobody_listens_and_one_that_is_silent(godot: str, project: Path) -> None:
    with fake_relay(lambda data: None) as silent_port:
        silent = start(godot, project, silent_port, "--code=LOBBY")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            closed_port = free.getsockname()[1]
        closed = start(godot, project, closed_port, "--code=LOBBY", "--deadline=2")
        pinging = start(godot, project, silent_port, "--mode=ping", "--deadline=1")
        told_silent, told_closed = silent.finish(), closed.finish()
        in_silence, at_closed = only(told_silent, "join_refused"), only(told_closed, "join_refused")
        no_pong = only(pinging.finish(), "relay_unreachable")
    assert in_silence["reason"] == at_closed["reason"] == no_pong["reason"] == NO_ANSWER
    assert str(silent_port) in in_silence["text"] and "firewall" in in_silence["text"]
    assert "INTERNET permission" in in_silence["text"]
    assert "Nothing listens" in at_closed["text"] and str(closed_port) in at_closed["text"]
    assert 5_000 <= waited_ms(told_silent, "join_refused") < 5_000 + SLACK_MS
    assert 2_000 <= waited_ms(told_closed, "join_refused") < 2_000 + SLACK_MS


def test_a_name_that_nobody_has(godot: str, project: Path) -> None:
    bot = start(godot, project, 24545, "--address=no-such-host.invalid", "--code=LOBBY", "--deadline=3")
    assert "no-such-host.invalid" in only(bot.finish(), "join_refused")["text"]


def test_it_asks_whether_a_relay_is_there(godot: str, project: Path) -> None:
    async def main() -> None:
        async with running_relay(tick_rate=20) as server:
            bot = start(godot, project, server.address[1], "--mode=ping", "--address=localhost")
            while not bot.told("relay_answered"):
                await asyncio.sleep(0.05)
            bot.stop()
            (info,) = bot.told("relay_answered")
            assert (info["tick_rate"], info["players"]) == (20, 0)
            assert 0 <= info["round_trip_s"] < 1

    run(main)


def test_a_server_that_stops_says_so_and_one_that_vanishes_is_missed_within_five_seconds(
    godot: str, project: Path
) -> None:
    async def main() -> None:
        async with running_relay() as server:
            polite = start(godot, project, server.address[1], "--code=LOBBY", "--name=Ada")
            while not polite.told("joined"):
                await asyncio.sleep(0.05)
        gone = only(await finish(polite), "disconnected")
        assert (gone["reason"], gone["text"]) == (ByeReason.SHUTDOWN, "The server was shut down.")

        async with (
            # its own patience must not be what ends it, and nobody's place is kept
            running_relay(timeout_s=60.0, grace_s=0.0) as server,
            LagProxy(("127.0.0.1", server.address[1]), LagPath()) as proxy,
        ):
            bot = start(godot, project, proxy.address[1], "--code=LOBBY")
            while not bot.told("joined"):
                await asyncio.sleep(0.05)
            cut = Conditions(loss_percent=100.0)
            proxy.set_path(LagPath(cut, cut))
            cut_at = time.monotonic()
            missed = only(await finish(bot), "disconnected")
            assert time.monotonic() - cut_at < 5.0 + 5 * SLACK_MS / 1000
        assert (missed["reason"], missed["text"]) == (ByeReason.TIMEOUT, "The connection was lost.")

    run(main)


def test_it_leaves_and_comes_back_into_the_room(godot: str, project: Path) -> None:
    async def main() -> None:
        async with running_relay() as server, player(server, "Zoe") as zoe:
            bot = start(godot, project, server.address[1], "--code=LOBBY", "--name=Ada")
            first = await hear(zoe, PlayerJoined, lambda event: event.name == "Ada")
            zoe.send_message(b"", kind=5)
            await hear(zoe, PlayerLeft, lambda event: event.player_id == first.player_id)
            second = await hear(zoe, PlayerJoined, lambda event: event.name == "Ada")
            assert second.player_id != first.player_id
            back = await hear(zoe, Message, lambda event: event.payload == b"back")
            assert back.sender == second.player_id
            zoe.send_message(b"", kind=4)
            zoe.send_message(b"", kind=6)
            report = only(await finish(bot), "report")
            assert report["heard"] == [f"{second.player_id} 0 back"]

    run(main)


def test_a_browser_game_is_told_at_once(godot: str, project: Path) -> None:
    told = Godot.start(godot, project, "web.gd", seconds=20).finish()
    assert [(line["event"], line["reason"], line["text"]) for line in told] == [
        (event, NO_UDP, "Browser games cannot send UDP; not supported yet")
        for event in ("join_refused", "relay_unreachable")
    ]


def test_a_game_may_load_scenes_ask_other_relays_change_rooms_and_give_up(godot: str, project: Path) -> None:
    slow = Conditions(latency_ms=300)

    async def main() -> None:
        async with (
            running_relay(keepalive_s=0.3) as server,
            LagProxy(("127.0.0.1", server.address[1]), LagPath(slow, slow)) as proxy,
        ):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
                free.bind(("127.0.0.1", 0))
                closed_port = free.getsockname()[1]
            ports = (f"--slow_port={proxy.address[1]}", f"--closed_port={closed_port}")
            bot = start(godot, project, server.address[1], *ports, script="lives.gd")
            told = await finish(bot)
            assert only(told, "addresses")["values"] == [
                ["relay.example.org", 24545],
                ["relay.example.org", 7000],
                ["::1", 24545],
                ["::1", 24545],
                ["::1", 7000],
                ["10.0.0.1", 0],
                ["host", 0],
            ]
            heard = {line["event"]: (line["values"], line["signals"]) for line in told}
            assert heard["loaded"] == (True, ["joined"])
            assert heard["asked"] == ([True, True], ["relay_unreachable"])
            assert heard["changed"] == ("REFUGE", ["disconnected", "joined"])
            assert heard["given_up"] == (0, [])
            # Of three joins the last was of one who had given up: the relay does not wait for its timeout.
            assert server.engine.stats.counters["joins"] == 3
            assert server.engine.num_sessions == 0

    run(main)


GIVING_UP = [
    ("node_leaves",),
    ("node_is_freed",),
    ("node_quits",),
    ("peer_closes",),
    ("peer_closes", "--thread"),
    ("peer_is_dropped",),
    ("peer_quits",),
    ("peer_closes_and_quits", "--thread"),
]
"""A function of `scripts/give_up.gd`, and options."""


@pytest.mark.parametrize(("how", "options"), [(how, options) for how, *options in GIVING_UP])
def test_who_gives_up_while_joining_leaves_nobody_in_the_room(
    godot: str, project: Path, how: str, options: list[str]
) -> None:
    """A RelayMultiplayerPeer, and a RelayClient that was freed, stood there until the relay missed them."""
    slow = Conditions(latency_ms=150)

    async def main() -> None:
        async with (
            running_relay() as server,
            LagProxy(("127.0.0.1", server.address[1]), LagPath(slow, slow)) as proxy,
        ):
            bot = start(godot, project, proxy.address[1], f"--how={how}", *options, script="give_up.gd")
            await finish(bot)
            # Sockets and threads end with the game, too.
            assert "leaked" not in bot.log and "Thread" not in bot.log, bot.log
            await asyncio.sleep(0.5)  # the JOIN of who has quit is still under way
            assert server.engine.stats.counters["joins"] == 1
            if not how.endswith("quits"):  # else nobody is there to hear WELCOME
                assert server.engine.num_sessions == 0

    run(main)
