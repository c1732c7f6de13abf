extends RefCounted
## Properties of the room and of its players, as the log tells them (SPEC 9).
##
## A property's version is the index of the entry that set it last: who changes one on condition
## names the version that it saw.

const RelayEvents := preload("relay_events.gd")
const RelayRecords := preload("relay_records.gd")
const RelayValues := preload("relay_values.gd")
const RelayWire := preload("generated_wire.gd")

## Owner of the room's own properties, on the wire and here.
const ROOM := RelayWire.NO_PLAYER
## A version that no property has: a condition that fails in any case.
const NEVER := 0xFFFFFFFF

## version u32, owner u16, length of the key u8.
const _FIXED_BYTES := 7
const _CHANGED_FIXED_BYTES := 5

var _values := {}  # owner -> Dictionary of key -> value
var _versions := {}  # owner -> Dictionary of key -> log index


## Key -> value of one owner's properties, a copy.
func all_of(owner: int) -> Dictionary:
	return _values.get(owner, {}).duplicate(true)


## Owners that have properties.
func owners() -> Array:
	return _values.keys()


## A property's value; [param default] if there is none.
func value(owner: int, key: String, default: Variant) -> Variant:
	return _values.get(owner, {}).get(key, default)


## Index of the entry that set a property last, 0 while there is none.
func version(owner: int, key: String) -> int:
	return _versions.get(owner, {}).get(key, 0)


## Forgets the properties of a player who left.
func forget(owner: int) -> void:
	_values.erase(owner)
	_versions.erase(owner)


## Takes PROPERTY_CHANGED or PROPERTIES, and appends what the game must hear. Returns false if it is
## malformed; then nothing of it is taken.
func apply(entry: RelayRecords.RelayEntry, player_slots: int, events: Array) -> bool:
	var told := []
	if entry.kind == RelayWire.EntryKind.PROPERTY_CHANGED:
		told = [_read_changed(entry)]
	else:
		told = _read_all(entry.payload)
	for event: RelayEvents.RelayPropertyChanged in told:
		if event == null:
			return false
		for player in [event.owner, event.by]:
			if player >= player_slots and player != ROOM:
				return false
	for event: RelayEvents.RelayPropertyChanged in told:
		if _put(event):
			events.append(event)
	return true


## Builds the payload of a request to set a property.
static func build_request(
	owner: int, key: String, value_wanted: Variant, if_version: int = -1
) -> PackedByteArray:
	var payload := PackedByteArray()
	payload.resize(7)
	payload.encode_u16(0, owner)
	payload.encode_u8(2, int(if_version >= 0))
	payload.encode_u32(3, maxi(if_version, 0))
	var key_bytes := key.to_utf8_buffer()
	payload.append(key_bytes.size())
	payload.append_array(key_bytes)
	payload.append_array(RelayValues.encode(value_wanted))
	return payload


## Sets or removes a property; false if its owner has too many, which no correct server permits.
func _put(event: RelayEvents.RelayPropertyChanged) -> bool:
	if not _values.has(event.owner):
		_values[event.owner] = {}
		_versions[event.owner] = {}
	var values: Dictionary = _values[event.owner]
	if event.value == null:
		values.erase(event.key)
		_versions[event.owner].erase(event.key)
		return true
	var is_rooms := event.owner == ROOM
	var limit := RelayWire.MAX_ROOM_PROPERTIES if is_rooms else RelayWire.MAX_PLAYER_PROPERTIES
	if not values.has(event.key) and values.size() >= limit:
		return false
	values[event.key] = event.value
	_versions[event.owner][event.key] = event.version
	return true


func _read_changed(entry: RelayRecords.RelayEntry) -> RelayEvents.RelayPropertyChanged:
	var payload := entry.payload
	if payload.size() < _CHANGED_FIXED_BYTES:
		return null
	var key_end := _CHANGED_FIXED_BYTES + payload[4]
	if payload.size() < key_end + 1:
		return null
	return _event(
		payload.decode_u16(2),
		payload.slice(_CHANGED_FIXED_BYTES, key_end),
		payload[key_end],
		payload.slice(key_end + 1),
		payload.decode_u16(0),
		entry.log_index
	)


## Reads PROPERTIES; [null] if it is malformed.
func _read_all(payload: PackedByteArray) -> Array:
	var told := []
	var at := 0
	while at < payload.size():
		if payload.size() < at + _FIXED_BYTES:
			return [null]
		var key_end := at + _FIXED_BYTES + payload[at + 6]
		if payload.size() < key_end + 2:
			return [null]
		var end := key_end + 2 + payload[key_end + 1]
		if payload.size() < end:
			return [null]
		told.append(
			_event(
				payload.decode_u16(at + 4),
				payload.slice(at + _FIXED_BYTES, key_end),
				payload[key_end],
				payload.slice(key_end + 2, end),
				RelayWire.NO_PLAYER,
				payload.decode_u32(at)
			)
		)
		at = end
	return told


## Null if key or value are none.
func _event(
	owner: int,
	key_bytes: PackedByteArray,
	type: int,
	value_bytes: PackedByteArray,
	by: int,
	of_version: int
) -> RelayEvents.RelayPropertyChanged:
	var event := RelayEvents.RelayPropertyChanged.new()
	event.owner = owner
	event.key = RelayValues.decode_key(key_bytes)
	event.value = RelayValues.decode(type, value_bytes)
	event.by = by
	event.version = of_version
	var is_bad: bool = event.value is StringName
	return null if event.key.is_empty() or is_bad else event
