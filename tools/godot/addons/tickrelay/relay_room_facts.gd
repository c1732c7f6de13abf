extends RefCounted
## What the log says of a room beside messages: who is in it, properties, owners, the lock (SPEC 9).

const RelayEvents := preload("relay_events.gd")
const RelayOwners := preload("relay_owners.gd")
const RelayProperties := preload("relay_properties.gd")
const RelayRecords := preload("relay_records.gd")
const RelayRoster := preload("relay_roster.gd")
const RelaySequence := preload("relay_sequence.gd")
const RelayWire := preload("generated_wire.gd")

const _U16 := 2
const _U32 := 4

var roster: RelayRoster
var properties := RelayProperties.new()
var owners: RelayOwners
## Whether nobody can join.
var is_locked := false
## Whether all find it who play its game.
var is_listed := false
## Whether ROOM_READY came, in this session or an earlier one: we know all owners.
var is_told := false
## Pages of the table that hold something, as ROOM_READY of this session listed them; null before it
## came.
var listed_pages: Variant = null
## We came back, and may not have read yet that what we publish is another's now.
var is_behind := false
var _player_slots: int
var _num_ids: int
var _page_ids: int


func _init(shape: RelayRecords.RelayRoomShape) -> void:
	_player_slots = shape.player_slots
	_num_ids = shape.num_ids
	_page_ids = shape.page_ids
	roster = RelayRoster.new(shape.player_slots)
	owners = RelayOwners.new(shape.player_slots, shape.num_ids)


## Takes a server's entry, in log order, and appends what the game must hear. Returns false if the
## payload is malformed, or names what the room cannot have. [param newest_message]: whole id of
## the last message that we queued.
func apply(entry: RelayRecords.RelayEntry, newest_message: int, events: Array) -> bool:
	match entry.kind:
		RelayWire.EntryKind.PROPERTY_CHANGED, RelayWire.EntryKind.PROPERTIES:
			return properties.apply(entry, _player_slots, events)
		RelayWire.EntryKind.ENTITY_OWNER, RelayWire.EntryKind.OWNERS:
			return owners.apply(entry, events)
		RelayWire.EntryKind.REQUEST_REFUSED:
			var value := RelayWire.RelayRequestRefusedPayload.decode(entry.payload)
			return value != null and _tell_refused(value, newest_message, events)
		RelayWire.EntryKind.KEPT_CLEARED:
			return _tell_cleared(entry.payload, events)
		RelayWire.EntryKind.ROOM_LOCKED, RelayWire.EntryKind.ROOM_SHOWN, RelayWire.EntryKind.ROOM_READY:
			return _apply_state(entry, events)
	return roster.apply(entry, events)


## Whether we publish an entity: it is ours, or the host's and we are host.
func owns(player_id: int, entity_id: int) -> bool:
	var owner := owners.owner_of(entity_id)
	return owner == player_id or (owner == RelayOwners.HOST and roster.host == player_id)


## Whether we have been told of the owner of an entity.
func is_owner_known(entity_id: int) -> bool:
	var owner := owners.owner_of(entity_id)
	return owner == RelayOwners.HOST or roster.members.has(owner)


## Takes what tells whether the room is locked, or listed.
func _apply_state(entry: RelayRecords.RelayEntry, events: Array) -> bool:
	if entry.kind == RelayWire.EntryKind.ROOM_READY:
		return _apply_ready(RelayWire.RelayRoomReadyPayload.decode(entry.payload), events)
	if entry.kind == RelayWire.EntryKind.ROOM_SHOWN:
		return _set_listed(RelayWire.RelayRoomShownPayload.decode(entry.payload), events)
	var value := RelayWire.RelayRoomLockedPayload.decode(entry.payload)
	return value != null and _set_locked(value.is_locked, events)


func _set_locked(locked: int, events: Array) -> bool:
	if is_locked != (locked != 0):
		is_locked = locked != 0
		var event := RelayEvents.RelayRoomLocked.new()
		event.is_locked = is_locked
		events.append(event)
	return true


func _set_listed(value: RelayWire.RelayRoomShownPayload, events: Array) -> bool:
	if value != null and is_listed != (value.is_listed != 0):
		is_listed = value.is_listed != 0
		var event := RelayEvents.RelayRoomShown.new()
		event.is_listed = is_listed
		events.append(event)
	return value != null


func _tell_refused(
	value: RelayWire.RelayRequestRefusedPayload, newest_message: int, events: Array
) -> bool:
	var event := RelayEvents.RelayRequestRefused.new()
	event.message_id = RelaySequence.extend(value.message_id, newest_message)
	event.request = value.request
	event.reason = value.reason
	events.append(event)
	return true


func _tell_cleared(payload: PackedByteArray, events: Array) -> bool:
	if payload.size() < _U16 or (payload.size() - _U16) % _U32 != 0:
		return false
	var event := RelayEvents.RelayKeptCleared.new()
	event.by = payload.decode_u16(0)
	if event.by >= _player_slots and event.by != RelayWire.NO_PLAYER:
		return false
	for at in range(_U16, payload.size(), _U32):
		event.indexes.append(payload.decode_u32(at))
	events.append(event)
	return true


func _apply_ready(value: RelayWire.RelayRoomReadyPayload, events: Array) -> bool:
	if value == null:
		return false
	var pages := PackedInt32Array()
	for page in value.pages.size() * 8:
		if value.pages[page / 8] >> page % 8 & 1:
			pages.append(page)
	if not pages.is_empty() and pages[-1] * _page_ids >= _num_ids:
		return false
	listed_pages = pages
	is_told = true
	is_behind = false
	return _set_locked(value.is_locked, events)
