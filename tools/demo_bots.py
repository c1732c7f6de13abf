"""The demo's players: they connect over UDP like any game, walk in circles, and chat now and then."""

import asyncio
import math
import random
import struct
import time

from protocol.client import Message, PlayerJoined
from relay.client import RelayClient

NAMES = (
    "Ada",
    "Bo",
    "Cleo",
    "Dara",
    "Emil",
    "Fay",
    "Gus",
    "Hana",
    "Ivo",
    "Jun",
    "Kaya",
    "Leo",
    "Mia",
    "Noor",
    "Otto",
    "Pia",
)
PHRASES = (
    "hello!",
    "anybody seen the key?",
    "over here",
    "nice move",
    "wait for me",
    "ready when you are",
    "left, then left again",
    "good game",
)
STATE = struct.Struct("<ff")
"""What a bot publishes: x and y, each -1 ... 1."""
CHAT_EVERY_S = 12.0
"""Mean time between a bot's messages."""
STATES_PER_S = 30


class Bot:
    """One player, from joining to leaving."""

    def __init__(self, port: int, code: str, number: int, seed: int) -> None:
        """Prepare bot `number` of the room `code` on the relay at this machine's `port`."""
        self.name = NAMES[number % len(NAMES)]
        self.client = RelayClient("127.0.0.1", port, code=code, name=self.name)
        self.last_words = ""
        """The newest message that this bot has heard, with who said it."""
        self.num_heard = 0
        self._rng = random.Random(seed)
        self._radius = self._rng.uniform(0.35, 0.95)
        self._turns_per_s = self._rng.choice((-1, 1)) * self._rng.uniform(0.05, 0.15)
        self._phase = self._rng.uniform(0.0, math.tau)
        self._names: dict[int, str] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Play until `stop` is set or the session ends. Raises: what `RelayClient.connect` raises."""
        async with self.client:
            hearing = asyncio.create_task(self._hear())
            try:
                await self._play(stop, hearing)
            finally:
                hearing.cancel()

    async def _play(self, stop: asyncio.Event, hearing: "asyncio.Task[None]") -> None:
        """Play until told to stop, or until there is nothing more to hear. A lost connection comes back by itself."""
        next_chat = time.monotonic() + self._rng.uniform(0.5, CHAT_EVERY_S)
        while not hearing.done() and not stop.is_set():
            now = time.monotonic()
            self.client.publish(0, self._state(now))
            if now >= next_chat:
                self.client.send_message(self._rng.choice(PHRASES).encode())
                next_chat = now + self._rng.expovariate(1.0 / CHAT_EVERY_S)
            await asyncio.sleep(1.0 / STATES_PER_S)

    def _state(self, now: float) -> bytes:
        angle = self._phase + math.tau * self._turns_per_s * now
        return STATE.pack(self._radius * math.cos(angle), self._radius * math.sin(angle))

    async def _hear(self) -> None:
        async for event in self.client:
            match event:
                case PlayerJoined(player_id, name):
                    self._names[player_id] = name
                case Message(sender=sender, payload=payload):
                    self.num_heard += 1
                    self.last_words = f"{self._names.get(sender, '?')}: {payload.decode(errors='replace')}"

    def positions(self) -> list[tuple[str, float, float]]:
        """List (name, x, y) of everybody in the room, as the relay has brought it to this bot."""
        if not self.client.is_joined:
            return []
        connection = self.client.connection
        slots = connection.player_slots
        return [
            (connection.members.get(entity_id % slots, "?"), *STATE.unpack(state))
            for entity_id, state in connection.table.items()
            if len(state) == STATE.size
        ]
