"""The relay: rooms, sessions, snapshots and the log behind one engine, and the transports that feed it.

    edges      server, client, client_lists (asyncio), transport/ (sockets), beats, quietlog, eventqueue
    engine     engine: receive, flush, tick, and their stages in order; world: all state in one object
    in         batch, ingress (checks), budgets, acks, entities (states), messages, signals, audience
    out        delivery (log), snapshots (pages), items, pacing, egress (datagrams)
    state      columns (tables of numpy columns), sessions, rooms, entities, log
    cold       lobby, handshake, membership, roomoptions, directory, guesses, addresses
    besides    config, stats, caps

Everything but the edges is sans-IO: it takes `now` and returns datagrams.
"""
