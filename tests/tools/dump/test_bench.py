"""The measuring command, on a capture a tenth as large."""

import sys
from pathlib import Path

import pytest

from tests.tools.dump import bench
from tests.tools.dump.made import write_pcap

pytest.importorskip("scapy", reason="capture files are read by scapy")
NUM_DATAGRAMS = 100_000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_large_capture_is_within_the_limits(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "large.pcap", bench.many_rooms(NUM_DATAGRAMS))
    seconds, mib, shown = bench.measure(path, "--stats")
    total = int(shown.splitlines()[1].split()[0].replace(",", ""))
    assert total >= NUM_DATAGRAMS
    assert "BAD_SECTION" not in shown and "DUPLICATE" not in shown
    assert seconds < bench.MAX_SECONDS / 2 and mib < bench.MAX_MIB  # a loaded machine gets five times the share
