"""The load generator: what `tickrelay load` does and shows."""
