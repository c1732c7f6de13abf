extends RefCounted
## Who is in the room: what the server's own log entries say (SPEC 9).

const RelayEvents := preload("relay_events.gd")
const RelayRecords := preload("relay_records.gd")
const RelayText := preload("relay_text.gd")
const RelayWire := preload("generated_wire.gd")

## Player id of nobody.
const NOBODY := -1

## Player id -> name of everybody in the room, us included once the log says so.
var members := {}
## Player id of the host, NOBODY if there is none.
var host := NOBODY
var _player_slots: int


func _init(player_slots: int) -> void:
	_player_slots = player_slots


## Takes a server's entry, in log order, and appends what the game must hear. Returns false if the
## payload is malformed or names a player whom the room cannot have.
func apply(entry: RelayRecords.RelayEntry, events: Array) -> bool:
	match entry.kind:
		RelayWire.EntryKind.PLAYER_JOINED:
			var value := RelayWire.RelayPlayerJoinedPayload.decode(entry.payload)
			return value != null and _add(value.player_id, value.name, events)
		RelayWire.EntryKind.PLAYER_LEFT:
			return _apply_left(RelayWire.RelayPlayerLeftPayload.decode(entry.payload), events)
		RelayWire.EntryKind.HOST_CHANGED:
			var value := RelayWire.RelayHostChangedPayload.decode(entry.payload)
			return value != null and _set_host(value.player_id, events)
		RelayWire.EntryKind.ROSTER:
			return _apply_roster(entry.payload, events)
	return true  # of a kind that we do not know: passed over


func _apply_left(value: RelayWire.RelayPlayerLeftPayload, events: Array) -> bool:
	if value == null or value.player_id >= _player_slots:
		return false
	if members.erase(value.player_id):
		var event := RelayEvents.RelayPlayerLeft.new()
		event.player_id = value.player_id
		event.reason = value.reason
		events.append(event)
	return true


func _apply_roster(payload: PackedByteArray, events: Array) -> bool:
	var listed := read_roster(payload)
	if listed.is_empty():
		return false
	for i in range(1, listed.size(), 2):
		if listed[i] >= _player_slots:
			return false
	for i in range(1, listed.size(), 2):
		_add(listed[i], listed[i + 1], events)
	if members.has(listed[0]):  # with many players the host may stand in a later ROSTER
		_set_host(listed[0], events)
	return true


## Reads a ROSTER: [host, player id, name, player id, name, ...], names as bytes; [] if malformed.
static func read_roster(payload: PackedByteArray) -> Array:
	if payload.size() < 2:
		return []
	var result := [payload.decode_u16(0)]
	var at := 2
	while at < payload.size():
		if payload.size() - at < 3 or payload.size() - at - 3 < payload[at + 2]:
			return []
		var end := at + 3 + payload[at + 2]
		result.append(payload.decode_u16(at))
		result.append(payload.slice(at + 3, end))
		at = end
	return result


func _add(player_id: int, name: PackedByteArray, events: Array) -> bool:
	if player_id >= _player_slots:
		return false
	var event := RelayEvents.RelayPlayerJoined.new()
	event.player_id = player_id
	event.player_name = RelayText.decode(name)
	members[player_id] = event.player_name
	events.append(event)
	return true


func _set_host(player_id: int, events: Array) -> bool:
	if player_id >= _player_slots and player_id != RelayWire.NO_PLAYER:
		return false
	var new_host := NOBODY if player_id == RelayWire.NO_PLAYER else player_id
	if new_host != host:
		host = new_host
		var event := RelayEvents.RelayHostChanged.new()
		event.player_id = host
		events.append(event)
	return true
