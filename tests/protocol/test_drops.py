"""Every reason to drop something is part of the SPEC, and in its order."""

import re
from pathlib import Path

import protocol
from protocol.drops import DropReason

CHECKS = (Path(protocol.__file__).parent / "SPEC.md").read_text(encoding="utf-8").split("## 11 ")[1].split("## 12 ")[0]


def test_every_reason_stands_in_the_receive_checks_of_the_spec() -> None:
    missing = [reason.name for reason in DropReason if f"`{reason.name}`" not in CHECKS]
    assert not missing


def test_every_reason_of_the_spec_has_a_counter() -> None:
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+|DUPLICATE|MALFORMED)`", CHECKS))
    assert named - {"LOG_BITS"} <= {reason.name for reason in DropReason}


def test_reasons_have_numbers_that_index_an_array_of_counters() -> None:
    assert sorted(reason.value for reason in DropReason) == list(range(1, len(DropReason) + 1))
