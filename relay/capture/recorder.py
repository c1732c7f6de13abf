"""What the server calls: a tap with files behind it.

What is taken in waits at most a quarter of a second, then it is the system's: a kill loses that much.
"""

from relay.batch import Batch, Outgoing
from relay.capture.blocks import Framer, Stage, Staging
from relay.capture.choice import Choice
from relay.capture.files import CaptureFiles
from relay.capture.pseudonyms import Pseudonyms
from relay.capture.tap import Tap
from relay.world import World

WRITE_EVERY_S = 0.25
"""Longest time from a datagram to its file. The promise is a second (chosen)."""


class Recorder:
    """Writes the relay's traffic into files, from `begin` to `close`. A file error is raised: then it is over."""

    def __init__(
        self, files: CaptureFiles, key: bytes, *, room: bytes = b"", seat: int = 0, redact_text: bool = False
    ) -> None:
        """Take open files.

        Args:
            key: 32 random bytes for the pseudonyms; written nowhere.
            room: Code of the only room to capture, or b"".
            seat: The only seat to capture, counted from 1 in the order of joining, or 0. One that became free is
                given out again.
            redact_text: Blank messages, signals and names.
        """
        self._files = files
        self._pseudonyms = Pseudonyms(key)
        self._room, self._seat = room, seat
        self._redact_text = redact_text
        self._tap: Tap | None = None
        self._write_at = 0.0

    def begin(self, world: World, address: tuple[str, int], epoch_s: float, is_compiled: bool = False) -> None:
        """Capture from now on.

        Args:
            address: Host and port that the relay is bound to.
            epoch_s: Seconds since 1970 at which the relay's monotonic clock was 0.
            is_compiled: Whether the engine's stages are; then numba is there and works.
        """
        framer = Framer(*address)
        choice = Choice(world, self._room, self._seat) if self._room or self._seat else None
        self._tap = Tap(
            framer,
            self._pseudonyms,
            self._files.write,
            epoch_s=epoch_s,
            choice=choice,
            redact_text=self._redact_text,
            stage=self._build_stage(framer, is_compiled),
        )

    def _build_stage(self, framer: Framer, is_compiled: bool) -> Staging:
        if not is_compiled:
            return Stage()
        from relay.loops import framing, jit

        return jit.with_whole_cache(lambda: framing.LoopStage(framer, self._pseudonyms, self._redact_text))

    def on_received(self, batch: Batch, now: float) -> None:
        """Capture what arrived. Raises: OSError if the disk is full or gone."""
        if self._tap is not None:
            self._tap.on_received(batch, now)

    def on_sent(self, outgoing: Outgoing, now: float) -> None:
        """Capture what was sent. Call before the engine's next call. Raises: OSError if the disk is full or gone."""
        if self._tap is not None:
            self._tap.on_sent(outgoing, now)

    def on_beat(self, now: float) -> None:
        """Write what has waited long enough. Call at every tick. Raises: OSError if the disk is full or gone."""
        if self._tap is not None and now >= self._write_at:
            self._write_at = now + WRITE_EVERY_S
            self._tap.complete()

    def close(self) -> None:
        """Write what waits and end the capture. May be called twice. Raises: OSError if the disk is full or gone."""
        tap, self._tap = self._tap, None
        try:
            if tap is not None:
                tap.complete()
        finally:
            self._files.close()
