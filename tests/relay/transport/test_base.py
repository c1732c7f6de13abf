"""What both transports share: staging, handing over, and bounded passes."""

import asyncio
import socket

import pytest

from relay.batch import Batch, Outgoing
from relay.transport import base
from relay.transport.base import MAX_PASSES, Transport
from tests.relay.transport.doubles import RecordingReceiver, run_on, until

ROWS = 4
ADDRESS = bytes(28)


class EndlessTransport(Transport):
    """A socket that always holds `waiting` more datagrams."""

    name = "endless"

    def __init__(self, receiver: RecordingReceiver, waiting: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            super().__init__(sock, receiver, ROWS)
        self.waiting = waiting
        self.waits = 0

    def send(self, outgoing: Outgoing) -> None:
        self._stage()
        if self._batch.count:
            self._plan_drain()

    def _stage(self) -> None:
        while self.waiting and self._batch.count < self._batch.capacity:
            self._batch.append(b"x", ADDRESS)
            self.waiting -= 1
            self._fill += 1

    def _wait(self) -> None:
        self.waits += 1

    async def wait_closed(self) -> None:
        pass


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "BATCH_ROWS", ROWS)


def test_what_does_not_fit_one_batch_is_handed_over_in_several() -> None:
    async def main() -> None:
        receiver = RecordingReceiver()
        transport = EndlessTransport(receiver, ROWS * 2 + 1)
        transport.drain()
        assert [len(rows) for rows in receiver.batches] == [ROWS, ROWS, 1]
        assert transport.waits == 1

    run_on("asyncio", main)


def test_a_flood_does_not_keep_the_loop_in_one_drain() -> None:
    async def main() -> None:
        receiver = RecordingReceiver()
        transport = EndlessTransport(receiver, ROWS * (MAX_PASSES + 2))
        transport.drain()
        assert len(receiver.batches) == MAX_PASSES

    run_on("asyncio", main)


def test_nothing_received_hands_nothing_over() -> None:
    async def main() -> None:
        receiver = RecordingReceiver()
        EndlessTransport(receiver, 0).drain()
        assert receiver.batches == []

    run_on("asyncio", main)


def test_what_a_send_stages_is_handed_over_only_later() -> None:
    class Sending(RecordingReceiver):
        def batch_received(self, batch: Batch, now: float) -> None:
            count = batch.count
            super().batch_received(batch, now)
            if len(self.batches) == 1:
                transport.waiting = 2
                transport.send(None)  # type: ignore[arg-type]
            # The batch in hand must not change under the engine.
            assert batch.count == count
            assert len(self.batches[-1]) == count

    async def main() -> None:
        nonlocal transport
        transport = EndlessTransport(receiver, 1)
        transport.drain()
        assert [len(rows) for rows in receiver.batches] == [1]
        await until(lambda: len(receiver.batches) == 2)
        assert len(receiver.batches[1]) == 2

    receiver = Sending()
    transport: EndlessTransport
    run_on("asyncio", main)


def test_a_closed_transport_hands_over_nothing() -> None:
    async def main() -> None:
        receiver = RecordingReceiver()
        transport = EndlessTransport(receiver, 3)
        transport._plan_drain()
        transport.close()
        transport.drain()
        await asyncio.sleep(0.01)
        assert receiver.batches == []

    run_on("asyncio", main)


def test_a_drain_is_left_to_a_beat_that_is_due() -> None:
    async def main() -> None:
        receiver = RecordingReceiver()
        transport = EndlessTransport(receiver, 3)
        receiver.next_beat = transport._clock()
        transport._plan_drain()
        await asyncio.sleep(0.01)
        assert receiver.batches == []
        transport.drain()
        assert len(receiver.batches) == 1

    run_on("asyncio", main)


def test_a_drain_before_the_beat_gets_a_timer() -> None:
    async def main() -> None:
        receiver = RecordingReceiver()
        transport = EndlessTransport(receiver, 3)
        transport._moderation.on_drained(transport._clock(), 1)
        receiver.next_beat = transport._clock() + 60.0
        transport._plan_drain()
        transport._plan_drain()
        await asyncio.sleep(0)
        assert receiver.batches == []
        await until(lambda: len(receiver.batches) == 1)

    run_on("asyncio", main)
