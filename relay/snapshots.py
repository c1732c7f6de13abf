"""Snapshots: which pages each session lacks, and one body for all who lack the same (SPEC 8).

Encode once per baseline, not once per player: of a page, everybody who acknowledged the same tick needs the same bytes.
What changed since tick 90 contains what changed since 95, so the number of rows changed since is an even better key:
two baselines with no change between them share a body, which states the older of the two.
"""

from dataclasses import dataclass

import numpy as np

from protocol import dtypes
from protocol.constants import AGE_MAX, AGE_STEP_MS, StateEncoding, UpdateSection
from relay.columns import Bytes, Ints, expand, grouped, places, rank_in_run, run_ends, run_starts, windows
from relay.entities import Entities, distinct
from relay.items import PAGE_BLOCK, Items, Order
from relay.rooms import Rooms, RoomTable
from relay.sessions import Sessions, SessionTable

RTT_UNKNOWN_S = 0.2
"""Round trip assumed before one was measured."""
_SECTION = dtypes.SECTION_HEADER.size
_HEAD = _SECTION + dtypes.PAGE_HEADER.size
_GROUP = dtypes.GROUP_HEADER.size
_PER_ID = 3
"""Bytes of an entity in a group beside its state: id 2, age 1."""


@dataclass
class Due:
    """Pages to send. Axis: n (session, page) pairs, by session in the order in which its pages go out."""

    session: Ints
    room: Ints
    page: Ints
    since: Ints
    """The tick of that page that the session has acknowledged."""


@dataclass
class Bodies:
    """PAGE sections. Axis: g bodies."""

    data: Bytes
    at: Ints
    length: Ints


def whose_turn(table: SessionTable, rows: Ints, tick: int, tick_before: int) -> Ints:
    """Select the sessions that get a snapshot at this tick: all but those slowed down (see `pacing`).

    Not `tick % interval`: the tick that is a multiple may have been left out.

    Args:
        tick_before: The tick before it, lower than tick - 1 if ticks were left out.
    """
    interval = table.tick_interval[rows]
    return rows[tick // interval > tick_before // interval]


def find_due(table: SessionTable, rows: Ints, rooms: Rooms, entities: Entities, tick: int, period_s: float) -> Due:
    """Find every page that changed since its session acknowledged it, and is not on its way already.

    Args:
        rows: Sessions that get a snapshot at this tick, (s,), ascending.
    """
    room_table = rooms.table
    room = table.room[rows]
    which, k = expand(room_table.num_pages[room])
    page = (table.page_next[rows][which] + k) % np.maximum(room_table.num_pages[room], 1)[which]
    seat = table.pages_first[rows][which] + page
    changed = entities.pages.changed_tick[room_table.pages_first[room][which] + page]
    lacking = changed > entities.seats.acked_tick[seat]
    rtt_s = np.where(table.rtt_s[rows] > 0, table.rtt_s[rows] + 2 * table.rtt_var_s[rows], RTT_UNKNOWN_S)
    patience = np.ceil(rtt_s / period_s).astype(np.int64)[which]
    sent = entities.seats.sent_tick[seat]
    due = lacking & ((changed > sent) | (tick - sent > patience))
    picked = places(due)
    which, page = which[picked], page[picked]
    return Due(rows[which], room[which], page, entities.seats.acked_tick[seat[picked]])


def build_items(due: Due, rooms: Rooms, entities: Entities, tick: int, period_s: float) -> tuple[Items, Bytes]:
    """Encode the bodies that due pages need and build their items. Returns the items and the bodies' bytes."""
    nothing = np.zeros(0, np.uint8)
    if not len(due.session):
        return Items.empty(), nothing
    body_of, room, page, since = share_bodies(due, rooms, entities)
    bodies = encode_pages(rooms, entities, room, page, since, tick, period_s)
    pointer = np.uint64(bodies.data.ctypes.data) + bodies.at[body_of].astype(np.uint64)
    block = due.page // PAGE_BLOCK
    apart = np.zeros(len(block), np.bool_)
    apart[1:] = (due.session[1:] == due.session[:-1]) & (block[1:] != block[:-1])
    return Items.build(
        due.session, Order.PAGE, pointer, bodies.length[body_of], apart=apart, last=due.page
    ), bodies.data


def share_bodies(due: Due, rooms: Rooms, entities: Entities) -> tuple[Ints, Ints, Ints, Ints]:
    """Group due pages by what they need.

    Returns: for each due page the number of its body (n,); for each body its room, page and oldest since-tick (g,).
    """
    page_row = rooms.table.pages_first[due.room] + due.page
    which, example = grouped(page_row << 32 | due.since)
    room, page, since = due.room[example], due.page[example], due.since[example]
    if not (page_row[example][1:] == page_row[example][:-1]).any():  # everybody in step: one baseline a page
        return which, room, page, since
    count = _changes_since(rooms, entities, room, page, since)
    shared, first = grouped((page_row[example] << 16 | count) << 1 | (since > 0))
    # baselines are ascending by page and tick, so the first of a key has its oldest tick
    return shared[which], room[first], page[first], since[first]


def _page_rows(table: RoomTable, room: Ints, page: Ints) -> tuple[Ints, Ints]:
    """Expand pages to their entities: (which page, entity row)."""
    first_id = page * table.page_ids[room]
    count = np.minimum(table.page_ids[room], table.num_entities[room] - first_id)
    which, k = expand(count)
    return which, (table.entities_first[room] + first_id)[which] + k


def _changes_since(rooms: Rooms, entities: Entities, room: Ints, page: Ints, since: Ints) -> Ints:
    """Count the states and removals of each page stamped after its since-tick."""
    which, row = _page_rows(rooms.table, room, page)
    alive = entities.table.length[row] > 0
    changed = alive & (entities.table.changed_tick[row] > since[which])
    removed = entities.table.removed_tick[row] > since[which]
    return np.bincount(which, weights=changed.astype(np.int64) + removed, minlength=len(room)).astype(np.int64)


def encode_pages(
    rooms: Rooms, entities: Entities, room: Ints, page: Ints, since: Ints, tick: int, period_s: float
) -> Bodies:
    """Encode PAGE sections: room, page and since are (g,)."""
    table = entities.table
    which, row = _page_rows(rooms.table, room, page)
    entity_id = row - rooms.table.entities_first[room][which]
    gone = places((table.removed_tick[row] > since[which]) & (since[which] > 0))
    held = places((table.length[row] > 0) & (table.changed_tick[row] > since[which]))
    stride = table.length[row[held]].astype(np.int64)
    order = _by_page_and_stride(which[held], stride)
    held, stride = held[order], stride[order]
    layout = _lay_out(len(room), which[gone], which[held], stride)
    data = np.zeros(int(layout.length.sum()), np.uint8)
    _write_heads(data, layout, rooms, room, page, since)
    windows(data, "<u2")[layout.gone_at] = entity_id[gone].astype("<u2")
    windows(data, "<u2")[layout.id_at] = entity_id[held].astype("<u2")
    age = tick * period_s * 1000 - table.sample_ms[row[held]]
    data[layout.age_at] = np.minimum(np.maximum(age // AGE_STEP_MS, 0), AGE_MAX).astype(np.uint8)
    state_at = rooms.table.states_first[room][which[held]]
    state_at += entity_id[held] * rooms.table.max_state_bytes[room][which[held]]
    for width in distinct(stride):
        same = stride == width
        windows(data, f"V{width}")[layout.state_at[same]] = windows(entities.states.byte, f"V{width}")[state_at[same]]
    return Bodies(data, layout.at, layout.length)


def _by_page_and_stride(which: Ints, stride: Ints) -> Ints:
    """Order entities by page, within it by stride, within it by id. They come ordered by page and id."""
    return np.argsort(which << 8 | stride, kind="stable")


@dataclass
class Layout:
    """Where everything of the bodies goes. Axes: g bodies, r groups, h states, m removals."""

    at: Ints
    """First byte of each body, (g,)."""
    length: Ints
    removed_count: Ints
    group_count: Ints
    group_at: Ints
    """First byte of each group, (r,)."""
    group_size: Ints
    group_stride: Ints
    gone_at: Ints
    """Where each removed id goes, (m,)."""
    id_at: Ints
    """Where each state's id, age and bytes go, (h,)."""
    age_at: Ints
    state_at: Ints


def _lay_out(num_bodies: int, gone_body: Ints, held_body: Ints, stride: Ints) -> Layout:
    """Compute all positions: head, removed ids, then per group head, ids, ages, states."""
    key = held_body << 8 | stride
    starts = places(run_starts(key))
    group_body, group_stride = held_body[starts], stride[starts]
    size = np.concatenate([starts[1:], [len(key)]]) - starts
    group_length = _GROUP + size * (_PER_ID + group_stride)
    removed_count = np.bincount(gone_body, minlength=num_bodies)
    groups_length = np.bincount(group_body, weights=group_length, minlength=num_bodies).astype(np.int64)
    length = _HEAD + 2 * removed_count + groups_length
    at = np.cumsum(length) - length
    group_start = np.cumsum(group_length) - group_length
    before_body = np.cumsum(groups_length) - groups_length
    group_at = (at + _HEAD + 2 * removed_count - before_body)[group_body] + group_start
    group_of = np.repeat(np.arange(len(starts)), size)
    k = np.arange(len(key)) - starts[group_of]
    ids = group_at[group_of] + _GROUP
    count = size[group_of]
    return Layout(
        at,
        length,
        removed_count,
        np.bincount(group_body, minlength=num_bodies),
        group_at,
        size,
        group_stride,
        at[gone_body] + _HEAD + 2 * rank_in_run(gone_body),
        ids + 2 * k,
        ids + 2 * count + k,
        ids + 3 * count + k * stride,
    )


def _write_heads(data: Bytes, layout: Layout, rooms: Rooms, room: Ints, page: Ints, since: Ints) -> None:
    """Write section, page and group headers."""
    section = np.zeros(len(page), dtypes.SECTION_HEADER_DTYPE)
    section["type"], section["length"] = UpdateSection.PAGE, layout.length - _SECTION
    head = np.zeros(len(page), dtypes.PAGE_HEADER_DTYPE)
    head["page"], head["since"] = page, since
    head["log_index"] = rooms.table.log_head[room]
    head["removed_count"], head["group_count"] = layout.removed_count, layout.group_count
    group = np.zeros(len(layout.group_at), dtypes.GROUP_HEADER_DTYPE)
    group["encoding"] = StateEncoding.WHOLE
    group["count"], group["stride"] = layout.group_size, layout.group_stride
    windows(data, section.dtype)[layout.at] = section
    windows(data, head.dtype)[layout.at + _SECTION] = head
    windows(data, group.dtype)[layout.group_at] = group


def note_sent(sessions: Sessions, rooms: Rooms, entities: Entities, session: Ints, page: Ints, tick: int) -> None:
    """Record which pages went out, and where each session's next round begins: behind the last that was sent."""
    table = sessions.table
    entities.seats.sent_tick[table.pages_first[session] + page] = tick
    ends = run_ends(session)
    rows = session[ends]
    table.page_next[rows] = (page[ends] + 1) % rooms.table.num_pages[table.room[rows]]
