"""Reading made captures in a test, without files."""

from collections.abc import Sequence

from tests.tools.dump.made import Packet, ipv4
from tools.dump.captures import Frame
from tools.dump.filters import Keep
from tools.dump.links import RAW_IP
from tools.dump.packets import PacketReader
from tools.dump.pipeline import Pipeline, View
from tools.dump.recognise import Recogniser
from tools.dump.sessions import Batch, Seen, Sessions


class Collector:
    """A view that keeps everything."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.seen: list[Seen] = []

    def take(self, batch: Batch, kept: Sequence[bool] | None) -> None:
        """Keep those that the filter lets pass."""
        self.batches.append(batch)
        self.seen += [one for i, one in enumerate(batch.seen) if kept is None or kept[i]]

    def finish(self) -> None:
        """Nothing."""


def run_views(
    packets: Sequence[Packet], *views: View, batch: int = 50, snap_bytes: int = 65_535, keep: Keep | None = None
) -> Pipeline:
    """Run packets through a pipeline, `batch` at a time; the capture kept `snap_bytes` of each IP packet."""
    reader = PacketReader()
    pipeline = Pipeline(Recogniser(), Sessions(), views)
    pipeline.keep = keep
    for begin in range(0, len(packets), batch):
        frames = [Frame(packet.time_s, RAW_IP, ipv4(packet)[:snap_bytes]) for packet in packets[begin : begin + batch]]
        pipeline.take([datagram for frame in frames if (datagram := reader.read(frame)) is not None])
    return pipeline


def see(packets: Sequence[Packet], batch: int = 50, snap_bytes: int = 65_535) -> list[Seen]:
    """Read packets. Returns: what is known of each that is ours."""
    collector = Collector()
    run_views(packets, collector, batch=batch, snap_bytes=snap_bytes)
    return collector.seen
