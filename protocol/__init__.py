"""The tickrelay wire: bytes to values and back, and a client's side of a connection.

Nothing here knows a socket, a clock or a random source. `SPEC.md` in this folder is the normative text.
"""
