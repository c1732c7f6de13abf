"""What the server sees of a capture: written in time, whole at its end, and never in the way."""

import pytest

from protocol import codec
from protocol.constants import Kind
from relay.addresses import pack_address
from relay.capture.recorder import WRITE_EVERY_S, Recorder
from tests.relay.capture.captures import EPOCH_S, HEAD, KEY, RELAY, CapturedBench, Memory, play, read

STRANGER = pack_address("203.0.113.66", 6_666)


def test_what_is_taken_in_is_written_in_time_and_together() -> None:
    bench = CapturedBench()
    bench.recorder.on_beat(bench.now)
    begin = bench.now
    written_at = []
    bench.join()
    while bench.now < begin + 2.0:
        before = len(bench.memory.blocks)
        bench.tick()
        bench.receive((codec.encode(Kind.PING, shard=0, nonce=5), STRANGER))
        bench.recorder.on_beat(bench.now)
        if len(bench.memory.blocks) > before:
            written_at.append(bench.now)
            assert len(read(HEAD + bench.memory.blocks)) == len(bench.truth)
    gaps = [after - before for before, after in zip([begin, *written_at], written_at)]
    assert min(gaps) > 0.9 * WRITE_EVERY_S and max(gaps) < 0.5


def test_closing_writes_what_waits_and_ends_it() -> None:
    bench = CapturedBench()
    bench.join()
    num = len(bench.truth)
    assert len(bench.captured()) == num and bench.memory.is_closed
    bench.join()
    bench.recorder.on_beat(bench.now)
    bench.recorder.close()
    assert len(read(HEAD + bench.memory.blocks)) == num


def test_files_are_closed_though_the_disk_is_full() -> None:
    class Full(Memory):
        def write(self, blocks: memoryview) -> None:
            raise OSError(28, "No space left on device")

    bench = CapturedBench()
    full = Full()
    bench.recorder = Recorder(full, KEY)  # type: ignore[arg-type]
    bench.recorder.begin(bench.engine.world, RELAY, EPOCH_S)
    bench.join()
    with pytest.raises(OSError):
        bench.recorder.close()
    assert full.is_closed
    bench.recorder.close()


def test_before_it_begins_nothing_is_captured() -> None:
    memory = Memory()
    bench = CapturedBench()
    bench.recorder = Recorder(memory, KEY)  # type: ignore[arg-type]
    play(bench, rooms=1)
    bench.recorder.on_beat(bench.now)
    bench.recorder.close()
    assert memory.blocks == b"" and memory.is_closed
