"""A relay that runs for long uses no more memory than one that runs for a while, whoever comes and goes."""

import gc
import os
import tracemalloc
from random import Random
from statistics import median

from tests.relay.bench import Bench, Client

TICKS = 10_000 if os.environ.get("TICKRELAY_FULL") == "1" else 1_000
TICK_RATE = 20
WARM_UP_TICKS = 450
"""22 s: longer than the 20 s for which join attempts are remembered, so that map is as full as it will be. And as
long as everything takes to happen at least once in either room, so every table has the size that it needs."""
CHANGE_TICKS = 10
SAMPLE_EVERY = 50
TOLERANCE_BYTES = 24 * 1024
"""Between samples the number of remembered attempts, of unread entries and the sizes of dicts go up and down by a few
kB. A leak of 24 bytes a tick, the smallest thing Python can keep, makes 36 kB between the medians of 2,000 ticks."""
ROOMS = ("ONE", "TWO")
PLAYERS = 3


def forget(client: Client) -> None:
    """Let a client of the test keep nothing of what it was sent: only the relay's memory is measured."""
    client.updates.clear()
    client.others.clear()
    client.entries.clear()
    client.ahead = {index for index in client.ahead if index > client.cursor}


class Traffic:
    """Players who publish, talk, lose datagrams, leave with and without a word, and join again."""

    def __init__(self) -> None:
        self.rng = Random(5)
        self.bench = Bench(tick_rate=TICK_RATE, timeout_s=2.0, keepalive_s=0.5)
        self.clients = [
            self.bench.join(code=code, max_players=4, entities_per_player=4) for code in ROOMS for _ in range(PLAYERS)
        ]

    def tick(self, number: int) -> None:
        """Play one tick."""
        rng, bench = self.rng, self.bench
        datagrams = []
        for client in self.clients:
            client.hear()
            forget(client)
            sections = [client.state(rng.randbytes(rng.choice((0, 8, 24))), rng.randrange(4))]
            if client.message_id < accepted(client) + 8:
                sections.append(client.message(rng.randbytes(rng.choice((4, 300)))))
            if rng.random() < 0.5:
                flags = rng.choice((0, 2))
                sections.append(client.signal(b"signal", flags=flags, after_message=client.message_id & 0xFFFF))
            if rng.random() < 0.95:
                datagrams.append(client.data(*client.log_bits(), *sections))
            else:  # lost: it will be said again
                client.message_id = accepted(client)
        bench.receive(*datagrams)
        if number % 4 == 0:
            bench.flush()
        bench.tick()
        if number % CHANGE_TICKS == 0:
            self.come_and_go(number // CHANGE_TICKS)
        bench.engine.events.clear()  # whoever runs an engine empties these
        live = {client.address for client in self.clients}
        for address in [address for address in bench.sent if address not in live]:
            del bench.sent[address]

    def come_and_go(self, number: int) -> None:
        """Replace a player of one room or the other, every third time without a BYE, and now and then a whole room."""
        num_leaving = PLAYERS if number % 13 == 0 else 1
        room = number % 2
        leaving = self.clients[room * PLAYERS :][:num_leaving]
        if number % 3:
            self.bench.receive(*[client.bye() for client in leaving])
        for client in leaving:
            where = self.clients.index(client)
            answer = Client(self.bench)
            answer.ask(code=ROOMS[room], max_players=4, entities_per_player=4)
            self.clients[where] = answer if answer.welcome is not None else client.bench.join(code=f"EXTRA{number}")


def accepted(client: Client) -> int:
    """Return the highest message id that the relay has of a client."""
    sessions = client.bench.engine.world.sessions
    row = sessions.find(client.welcome.session)
    return 0 if row is None else int(sessions.table.message_accepted[row])


def test_memory_stays_flat_under_load_with_players_coming_and_going() -> None:
    traffic = Traffic()
    tracemalloc.start()
    try:
        samples = []
        for number in range(1, WARM_UP_TICKS + TICKS + 1):
            traffic.tick(number)
            if number > WARM_UP_TICKS and number % SAMPLE_EVERY == 0:
                gc.collect()
                samples.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    counters = traffic.bench.engine.stats.counters
    assert counters["joins"] > TICKS // CHANGE_TICKS and counters["left_timeout"] > 5 < counters["left_left"]
    quarter = len(samples) // 4
    grown = median(samples[-quarter:]) - median(samples[:quarter])
    print(f"{median(samples) / 1024:.0f} kB, grown by {grown / 1024:.1f} kB in {TICKS} ticks")
    assert grown < TOLERANCE_BYTES
