extends RefCounted
## The sections of an UPDATE (SPEC 8 to 10): read in bulk, and checked as SPEC 11 (client, 4) says.
##
## Nothing here may log: what comes is hostile until checked, and an out-of-range decode is an
## engine error. So sizes are checked before anything is read.

const RelayWire := preload("generated_wire.gd")

const MAX_MESSAGE_FRAGMENTS := RelayWire.MAX_MESSAGE_BYTES / RelayWire.MAX_FRAGMENT_BYTES


## What a reader must know of a room to check a section.
class RelayRoomShape:
	extends RefCounted
	## Player ids are below this.
	var player_slots := 0
	## Entity ids are below this.
	var num_ids := 0
	## Consecutive entity ids of one page.
	var page_ids := 0
	var max_state_bytes := 0
	## First id of a page -> bytes of the ids that its last group had, and those ids: mostly the
	## next group has the same, and need not be read number by number.
	var known_bytes := {}
	var known_ids := {}


## States of one length within a page: columns, as they cross the wire.
class RelayGroup:
	extends RefCounted
	var ids: PackedInt32Array
	## How old each sample was at the tick, in steps of 2 ms; 255 = at least that.
	var ages: PackedByteArray
	## Bytes of each state.
	var stride := 0
	## All states, one after the other.
	var states: PackedByteArray


## What changed in one page of the table.
class RelayPage:
	extends RefCounted
	var page := 0
	## Tick after which everything of this page is here; 0 = the whole page.
	var since := 0
	## Entity ids removed since, whether or not they live again.
	var removed: PackedInt32Array
	## Of Group.
	var groups := []


## One log entry.
class RelayEntry:
	extends RefCounted
	## Whole, not only its low 16 bits.
	var log_index := 0
	var kind := 0
	## Player id, or NO_PLAYER for the server.
	var sender := 0
	var channel := 0
	## RelayWire.MessageFlag.
	var flags := 0
	## Low 15 bits: number of the fragment within its message; bit 15: more follow.
	var part := 0
	var payload := PackedByteArray()


## All that may be seen of the log from first to last.
class RelayLogRange:
	extends RefCounted
	var first := 0
	var last := 0
	## Last index before first that could hold this range up.
	var after := 0
	## Of Entry: ascending, each from first to last.
	var entries := []


## One signal, or a fragment of one.
class RelaySignalPart:
	extends RefCounted
	var kind := 0
	var flags := 0
	var channel := 0
	## This fragment, from 0.
	var number := 0
	## Number of the signal's last fragment, 0 ... 7.
	var last := 0
	var sender := 0
	## Low 16 bits.
	var sequence := 0
	## Log index, low 16 bits; only with AFTER_LOG.
	var position := 0
	var payload := PackedByteArray()


## The known sections of one UPDATE, in their order.
class RelaySections:
	extends RefCounted
	## Of Page. Untyped, like the others: a typed array costs as much as reading ten states.
	var pages := []
	## Of LogRange.
	var ranges := []
	## Of SignalPart.
	var signal_parts := []


## Reads and checks all sections of an UPDATE; null if any is bad, for then the whole datagram is.
static func read_sections(data: PackedByteArray, shape: RelayRoomShape) -> RelaySections:
	var sections := RelaySections.new()
	var at := RelayWire.RelayUpdateHeader.SIZE
	while at < data.size():
		if data.size() - at < RelayWire.RelaySectionHeader.SIZE:
			return null
		var type := data.decode_u8(at + RelayWire.RelaySectionHeader.AT_TYPE)
		var end := (
			at
			+ RelayWire.RelaySectionHeader.SIZE
			+ data.decode_u16(at + RelayWire.RelaySectionHeader.AT_LENGTH)
		)
		at += RelayWire.RelaySectionHeader.SIZE
		if end > data.size() or not _read_section(type, data.slice(at, end), shape, sections):
			return null
		at = end
	return sections


static func _read_section(
	type: int, body: PackedByteArray, shape: RelayRoomShape, sections: RelaySections
) -> bool:
	if type == RelayWire.UpdateSection.PAGE:
		var page := _read_page(body, shape)
		sections.pages.append(page)
		return page != null
	if type == RelayWire.UpdateSection.LOG_RANGE:
		var part := _read_range(body, shape)
		sections.ranges.append(part)
		return part != null
	if type == RelayWire.UpdateSection.SIGNAL:
		var part := _read_signal(body, shape)
		sections.signal_parts.append(part)
		return part != null
	return true  # of a later revision: skipped by its length


static func _read_page(body: PackedByteArray, shape: RelayRoomShape) -> RelayPage:
	if (
		body.size() < RelayWire.RelayPageHeader.SIZE
		or body.decode_u8(RelayWire.RelayPageHeader.AT_LAYER) != 0
	):
		return null
	var page := RelayPage.new()
	page.page = body.decode_u16(RelayWire.RelayPageHeader.AT_PAGE)
	page.since = body.decode_u32(RelayWire.RelayPageHeader.AT_SINCE)
	var num_removed := body.decode_u8(RelayWire.RelayPageHeader.AT_REMOVED_COUNT)
	var first_id := page.page * shape.page_ids
	var ids_end := mini(first_id + shape.page_ids, shape.num_ids)
	var at := RelayWire.RelayPageHeader.SIZE + 2 * num_removed
	if first_id >= ids_end or at > body.size():
		return null
	if num_removed > 0:
		page.removed = _read_ids(
			body, RelayWire.RelayPageHeader.SIZE, num_removed, first_id, ids_end
		)
		if page.removed.size() != num_removed:
			return null
	for _i in body.decode_u8(RelayWire.RelayPageHeader.AT_GROUP_COUNT):
		var group := _read_group(body, at, shape, first_id, ids_end)
		if group == null:
			return null
		page.groups.append(group)
		at += RelayWire.RelayGroupHeader.SIZE + group.ids.size() * (3 + group.stride)
	return page if at == body.size() else null


static func _read_group(
	body: PackedByteArray, at: int, shape: RelayRoomShape, first_id: int, ids_end: int
) -> RelayGroup:
	if body.size() - at < RelayWire.RelayGroupHeader.SIZE:
		return null
	var encoding := body.decode_u8(at + RelayWire.RelayGroupHeader.AT_ENCODING)
	var count := body.decode_u8(at + RelayWire.RelayGroupHeader.AT_COUNT)
	var stride := body.decode_u8(at + RelayWire.RelayGroupHeader.AT_STRIDE)
	var ids_at := at + RelayWire.RelayGroupHeader.SIZE
	var ages_at := ids_at + 2 * count
	var states_at := ages_at + count
	var end := states_at + count * stride
	var is_stride := stride >= 1 and stride <= shape.max_state_bytes
	if encoding != RelayWire.StateEncoding.WHOLE or not is_stride or end > body.size():
		return null
	var group := RelayGroup.new()
	var id_bytes := body.slice(ids_at, ages_at)
	if shape.known_bytes.get(first_id) == id_bytes:
		group.ids = shape.known_ids[first_id]
	else:
		group.ids = _read_ids(body, ids_at, count, first_id, ids_end)
		if group.ids.size() != count:
			return null
		shape.known_bytes[first_id] = id_bytes
		shape.known_ids[first_id] = group.ids
	group.ages = body.slice(ages_at, states_at)
	group.stride = stride
	group.states = body.slice(states_at, end)
	return group


## Reads u16 ids that must be first_id ... ids_end - 1; fewer than [param count] if one is not.
static func _read_ids(
	body: PackedByteArray, at: int, count: int, first_id: int, ids_end: int
) -> PackedInt32Array:
	var ids := PackedInt32Array()
	ids.resize(count)
	for i in count:
		var id := body.decode_u16(at)
		if id < first_id or id >= ids_end:
			ids.resize(i)
			return ids
		ids[i] = id
		at += 2
	return ids


static func _read_range(body: PackedByteArray, shape: RelayRoomShape) -> RelayLogRange:
	var header := RelayWire.RelayRangeHeader.decode(body)
	if header == null or not (header.after < header.first and header.first <= header.last):
		return null
	var part := RelayLogRange.new()
	part.first = header.first
	part.last = header.last
	part.after = header.after
	var at := RelayWire.RelayRangeHeader.SIZE
	var previous := header.first - 1
	while at < body.size():
		var entry := _read_entry(body, at, header.first, shape.player_slots)
		if entry == null or entry.log_index <= previous or entry.log_index > header.last:
			return null
		part.entries.append(entry)
		previous = entry.log_index
		at += RelayWire.RelayEntryHeader.SIZE + entry.payload.size()
	return part


static func _read_entry(
	body: PackedByteArray, at: int, first: int, player_slots: int
) -> RelayEntry:
	var header := RelayWire.RelayEntryHeader.decode(body, at)
	if header == null or body.size() - at - RelayWire.RelayEntryHeader.SIZE < header.length:
		return null
	var is_sender := header.sender < player_slots or header.sender == RelayWire.NO_PLAYER
	if not is_sender or header.part & ~RelayWire.PART_MORE >= MAX_MESSAGE_FRAGMENTS:
		return null
	var entry := RelayEntry.new()
	# The only index with these low bits from `first` on.
	entry.log_index = first + ((header.index - first) & 0xFFFF)
	entry.kind = header.kind
	entry.sender = header.sender
	entry.channel = header.channel
	entry.flags = header.flags
	entry.part = header.part
	at += RelayWire.RelayEntryHeader.SIZE
	entry.payload = body.slice(at, at + header.length)
	return entry


static func _read_signal(body: PackedByteArray, shape: RelayRoomShape) -> RelaySignalPart:
	var header := RelayWire.RelaySignalDownHeader.decode(body)
	if header == null:
		return null
	var number := header.fragment & 15
	var last := header.fragment >> 4
	var is_sender := header.sender < shape.player_slots or header.sender == RelayWire.NO_PLAYER
	if number > last or last >= RelayWire.MAX_SIGNAL_FRAGMENTS or not is_sender:
		return null
	var part := RelaySignalPart.new()
	part.kind = header.kind
	part.flags = header.flags
	part.channel = header.channel
	part.number = number
	part.last = last
	part.sender = header.sender
	part.sequence = header.sequence
	part.position = header.position
	part.payload = body.slice(RelayWire.RelaySignalDownHeader.SIZE)
	return part
