"""The relay: rooms, sessions, snapshots and the log behind one engine, and the transports that feed it."""
