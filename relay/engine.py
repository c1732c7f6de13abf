"""CONTRACT (being written): Engine's public face, which transports, server, simulator and tests rely on.

    Engine(config: RelayConfig, secret: bytes (32), rng: random.Random-like with getrandbits)
    engine.receive(batch: Batch, now: float) -> None     never raises on wire input
    engine.flush(now: float) -> Outgoing                 right after receive: cold answers, due acks, new log entries, signals
    engine.tick(now: float) -> Outgoing                  once per 1/tick_rate: everything flush does, and snapshots, timeouts, upkeep
    engine.shutdown(now: float) -> Outgoing              BYE(SHUTDOWN) to every session; call three times, 20 ms apart
    engine.stats: Stats                                  .dropped: Counter[DropReason]; .counters (datagrams_in, ...)
    engine.events: list[Event]                           room opened/closed, for the log; the caller empties it
    engine.tick_number: int; engine.num_sessions: int; engine.num_rooms: int
    engine.load_percent: int                             set by the server, shown in PONG
"""
