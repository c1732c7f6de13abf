"""What `tickrelay serve --capture` writes: the relay's own traffic as a capture file that gives no session away.

    batches ─▶ tap: stage (payloads, in blocks) ─▶ scrub ─▶ redact ─▶ headers ─▶ files
               at once                             a few times a second

With numba `relay/loops/framing.py` completes the common datagrams as it stages them; what it leaves goes the same way.
All but `files` is sans-IO: columns in, bytes out. The server calls a `Recorder` with whole batches, and only if it has
one.
"""
