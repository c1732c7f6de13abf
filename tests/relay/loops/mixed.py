"""A short game at a bench with a little of everything in it, for tests that ask whether anything differs."""

from random import Random

from protocol.constants import NO_PLAYER, DataSection, Kind, RequestKind, Target
from relay.addresses import pack_address
from tests.relay.bench import Bench, Client, Datagram, section, states_section

SHAPE = {"max_players": 8, "entities_per_player": 20, "max_state_bytes": 100}
"""160 ids of 10 a page."""


def play(bench: Bench, seed: int, ticks: int = 40) -> list[Client]:
    """Let four players in one room do a little of everything, right and wrong."""
    rng = Random(f"mixed {seed}")
    clients = [bench.join(**SHAPE) for _ in range(3)]
    stranger = pack_address("192.0.2.1", 9)
    for number in range(ticks):
        if number == ticks // 2:
            clients.append(bench.join(**SHAPE))
        datagrams: list[Datagram] = []
        for client in clients:
            if rng.random() < 0.8:
                client.hear()
            for _ in range(rng.choice((0, 1, 1, 1, 2, 5))):
                datagrams += act(client, rng)
        if rng.random() < 0.2:
            datagrams.append((bytes([rng.choice((Kind.PING, Kind.BYE, Kind.UPDATE, 77))]) + bytes(130), stranger))
        if rng.random() < 0.3:
            rng.shuffle(datagrams)
        bench.receive(*datagrams)
        bench.now += rng.choice((0.0, 0.003, 0.06))
        bench.flush()
        bench.tick()
    bench.wait(0.3)
    return clients


def play_lasting(bench: Bench, seed: int, ticks: int = 200) -> list[Client]:
    """Let players ask for things, keep messages, fall silent and come back, by themselves or as another process."""
    rng = Random(f"lasting {seed}")
    clients = [bench.join(**SHAPE) for _ in range(4)]
    for _ in range(ticks):
        speaking = [client for client in clients if rng.random() < 0.9 and client.welcome is not None]
        for client in speaking:
            client.hear()
        bench.receive(*[client.data(*client.log_bits(), *words(client, rng)) for client in speaking])
        bench.flush()
        bench.tick(rng.choice((1, 1, 1, 30)))
        if rng.random() < 0.1:
            number = rng.randrange(len(clients))
            back = clients[number].come_back(rng.choice((0, clients[number].cursor)))
            if back.welcome is not None:
                back.message_id = back.welcome.message_id
                clients[number] = back
    return clients


def words(client: Client, rng: Random) -> list[bytes]:
    """Build sections: a state, messages that are kept or not, requests that may be right or wrong."""
    player_id = rng.randrange(5)
    text = b"%d" % rng.randrange(100)
    parts = [
        client.state(rng.randbytes(8), rng.randrange(3)),
        states_section([(rng.randrange(40), rng.randbytes(8))]),
        client.message(text, flags=rng.choice((0, 0, 1, 2, 3, 7))),
        client.request(
            RequestKind.SET_PROPERTY,
            owner=rng.choice((NO_PLAYER, player_id)),
            is_conditional=rng.randrange(2),
            version=rng.choice((0, client.cursor)),
            key=text[:1],
            type=rng.choice((0, 4)),
            value=b"",
        ),
        client.request(RequestKind.GIVE_ENTITY, entity_id=rng.randrange(40), owner=rng.choice((NO_PLAYER, player_id))),
        client.request(RequestKind.HAND_OVER_HOST, player_id=player_id),
        client.request(RequestKind.CLEAR_KEPT, log_index=0),
        client.request(RequestKind.KICK, player_id=player_id, text=b"") if rng.random() < 0.05 else b"",
    ]
    return parts[: rng.randrange(len(parts) + 1)]


def act(client: Client, rng: Random) -> list[Datagram]:
    """Build one datagram of a player, perhaps wrong, perhaps twice."""
    parts = [part(client, rng) for _ in range(rng.choice((0, 1, 2, 4)))]
    header = {}
    if rng.random() < 0.1:
        client.seq += rng.choice((1, 3, 63, 64, 65))
    if rng.random() < 0.1:
        header = {"ack": rng.choice((0, 1, 5, 200)), "ack_bits": rng.getrandbits(32), "ack_delay": rng.choice((0, 255))}
    if rng.random() < 0.05:
        header = {"log_cursor": rng.choice((0, 1, 1000))}
    payload, address = client.data(*parts, **header)
    if rng.random() < 0.05:
        payload = payload[: rng.randrange(len(payload) + 1)]
    if rng.random() < 0.03:
        address = client.address = pack_address(f"10.9.{rng.randrange(200)}.1", 40_000)
    return [(payload, address)] * rng.choice((1, 1, 1, 1, 2))


def part(client: Client, rng: Random) -> bytes:
    """Build one section, perhaps a wrong one."""
    kind = rng.randrange(12)
    if kind < 4:
        size = rng.choice((0, 1, 7, 50, 100, 101 if rng.random() < 0.2 else 100))
        owned = [client.entity(index) for index in rng.sample(range(SHAPE["entities_per_player"]), rng.randint(1, 4))]
        owned += [rng.choice((owned[0], 0, 1, 400))] if rng.random() < 0.2 else []
        return states_section([(entity_id, rng.randbytes(size)) for entity_id in owned], rng.getrandbits(16))
    if kind < 6:
        target = rng.choice(((Target.ALL, ()), (Target.ONE, (1,)), (Target.ALL_BUT, (0,)), (Target.LIST, (0, 2))))
        return client.message(rng.randbytes(rng.choice((0, 5, 900))), *target, more=int(rng.random() < 0.1))[: 1 << 16]
    if kind < 8:
        return client.signal(rng.randbytes(rng.choice((0, 5, 300))), flags=rng.choice((0, 0, 2)))
    if kind == 8:
        return section(rng.choice((0, 5, 200)), rng.randbytes(rng.choice((0, 3))))
    if kind == 9:
        return section(DataSection.LOG_BITS, rng.randbytes(rng.choice((3, 4, 8, 32, 36))))
    return b""
