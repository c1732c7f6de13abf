"""Record types made from the schemas: schema, numpy and struct read the same bytes."""

from typing import Any

import numpy as np
import pytest
from construct import Bytes, GreedyBytes, Int8ul, Int16ub, Int16ul, Struct, this
from hypothesis import given
from hypothesis import strategies as st

from protocol import dtypes, schemas
from protocol.constants import MAX_BODY_BYTES, MAX_PAGES, MAX_STATE_BYTES
from protocol.dtypes import Record, TailedRecord, dtype_of, fields_of, num_pages, page_ids

RECORDS = sorted(name for name, value in vars(dtypes).items() if isinstance(value, Record))
TAILED = sorted(name for name, value in vars(dtypes).items() if isinstance(value, TailedRecord))
HOT = [name for name in RECORDS if hasattr(dtypes, f"{name}_DTYPE")]


def values_of(schema: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Random values for every field of a fixed schema."""
    return st.fixed_dictionaries(
        {
            name: st.binary(min_size=size, max_size=size) if fmt == "s" else st.integers(0, 256**size - 1)
            for name, fmt, size in fields_of(schema)
        }
    )


def plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, np.void | bytes) else int(value)


@pytest.mark.parametrize("name", RECORDS)
@given(data=st.data())
def test_schema_and_struct_agree_on_random_values(name: str, data: st.DataObject) -> None:
    schema, record = getattr(schemas, name), getattr(dtypes, name)
    value = data.draw(values_of(schema))
    wire = schema.build(value)
    assert record.encode(**value) == wire
    assert record.encode(*(value[field] for field, _, _ in fields_of(schema))) == wire
    assert record.decode(b"\xff" + wire + b"\xff", 1)._asdict() == value
    assert record.size == len(wire) == schema.sizeof()


@pytest.mark.parametrize("name", TAILED)
@given(data=st.data(), tail=st.binary(max_size=255))
def test_what_ends_with_a_tail_is_written_as_its_schema_does(name: str, data: st.DataObject, tail: bytes) -> None:
    schema = getattr(schemas, name)
    *fixed, last = schema.subcons
    value = data.draw(values_of(Struct(*fixed))) | ({last.name: tail} if last.name else {})
    in_order = [value[field.name] for field in schema.subcons if field.name]
    assert getattr(dtypes, name).encode(*in_order) == schema.build(value)


def test_a_tail_of_another_shape_is_not_accepted() -> None:
    with pytest.raises(TypeError, match="permitted: Terminated, TEXT, GreedyBytes"):
        TailedRecord("Other", Struct("count" / Int8ul, "rest" / Bytes(this.count)))


@pytest.mark.parametrize("name", HOT)
@given(data=st.data())
def test_schema_and_numpy_agree_on_random_batches(name: str, data: st.DataObject) -> None:
    schema, dtype = getattr(schemas, name), getattr(dtypes, f"{name}_DTYPE")
    values = data.draw(st.lists(values_of(schema), max_size=4))
    rows = np.frombuffer(b"".join(schema.build(value) for value in values), dtype=dtype)
    assert [{field: plain(row[field]) for field in dtype.names} for row in rows] == values
    assert dtype.itemsize == schema.sizeof()


def test_every_header_of_a_batch_has_a_record_type() -> None:
    assert {name for name in RECORDS if name.endswith("HEADER")} == set(HOT)
    assert len(HOT) == 11


def test_numpy_fields_are_packed_and_little_endian() -> None:
    dtype = dtype_of(Struct("a" / Int8ul, "b" / Int16ul, "c" / Bytes(3)))
    assert dtype.itemsize == 6
    assert np.frombuffer(b"\x01\x02\x00abc", dtype)[0]["b"] == 2
    assert [field[0].str for field in dtype.fields.values()] == ["|u1", "<u2", "|V3"]


@pytest.mark.parametrize(
    "schema",
    [
        Struct("big_endian" / Int16ub),
        Struct("n" / Int8ul, "variable" / Bytes(this.n)),
        Struct("endless" / GreedyBytes),
    ],
)
def test_a_field_without_fixed_size_or_order_is_refused(schema: Any) -> None:
    with pytest.raises(TypeError, match="is not a fixed-size little-endian field"):
        fields_of(schema)


def test_a_field_without_a_name_is_refused() -> None:
    with pytest.raises(TypeError):
        fields_of(Struct(GreedyBytes))


def test_the_space_of_a_page_is_the_sum_that_its_doc_states() -> None:
    assert dtypes.PAGE_SPACE_BYTES == MAX_BODY_BYTES - 32 - 3 - 13 == 1112


@pytest.mark.parametrize(("max_state_bytes", "ids"), [(1, 123), (8, 69), (24, 34), (32, 27), (48, 19), (255, 4)])
def test_ids_of_a_page(max_state_bytes: int, ids: int) -> None:
    assert page_ids(max_state_bytes) == ids == 1112 // (max_state_bytes + 8)


@given(st.integers(1, 512), st.integers(1, 256), st.integers(1, MAX_STATE_BYTES))
def test_pages_cover_every_id_with_none_to_spare(slots: int, entities: int, max_state_bytes: int) -> None:
    pages, ids = num_pages(slots, entities, max_state_bytes), page_ids(max_state_bytes)
    assert (pages - 1) * ids < slots * entities <= pages * ids


def test_the_largest_rooms_have_more_pages_than_are_permitted() -> None:
    assert num_pages(16, 256, 255) == MAX_PAGES
    assert num_pages(4097, 1, 255) == MAX_PAGES + 1
    assert num_pages(512, 128, 255) > MAX_PAGES
