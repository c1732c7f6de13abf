extends RefCounted
## Who is in the room: what the server's own log entries say (SPEC 9).

const RelayEvents := preload("relay_events.gd")
const RelayRecords := preload("relay_records.gd")
const RelayText := preload("relay_text.gd")
const RelayWire := preload("generated_wire.gd")

## Player id of nobody.
const NOBODY := -1

## Of a member in ROSTER, before its name: player id u16, is away u8, length u8.
const _MEMBER_BYTES := 4

## Player id -> name of everybody in the room, us included once the log says so.
var members := {}
## Player id -> true: of those from whom nothing comes, but whose place is kept.
var away := {}
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
			return _apply_joined(RelayWire.RelayPlayerJoinedPayload.decode(entry.payload), events)
		RelayWire.EntryKind.PLAYER_LEFT:
			return _apply_left(RelayWire.RelayPlayerLeftPayload.decode(entry.payload), events)
		RelayWire.EntryKind.HOST_CHANGED:
			return _apply_host(RelayWire.RelayHostChangedPayload.decode(entry.payload), events)
		RelayWire.EntryKind.ROSTER:
			return _apply_roster(entry.payload, events)
	return _apply_presence(entry, events)


func _apply_joined(value: RelayWire.RelayPlayerJoinedPayload, events: Array) -> bool:
	return value != null and _add(value.player_id, value.name, events)


func _apply_host(value: RelayWire.RelayHostChangedPayload, events: Array) -> bool:
	return value != null and _set_host(value.player_id, events)


func _apply_presence(entry: RelayRecords.RelayEntry, events: Array) -> bool:
	match entry.kind:
		RelayWire.EntryKind.PLAYER_AWAY:
			var value := RelayWire.RelayPlayerAwayPayload.decode(entry.payload)
			return value != null and _set_away(value.player_id, events)
		RelayWire.EntryKind.PLAYER_BACK:
			return _apply_back(RelayWire.RelayPlayerBackPayload.decode(entry.payload), events)
	return true  # of a kind that we do not know: passed over


func _apply_left(value: RelayWire.RelayPlayerLeftPayload, events: Array) -> bool:
	if value == null or value.player_id >= _player_slots:
		return false
	away.erase(value.player_id)
	if members.erase(value.player_id):
		var event := RelayEvents.RelayPlayerLeft.new()
		event.player_id = value.player_id
		event.reason = value.reason
		events.append(event)
	return true


func _apply_back(value: RelayWire.RelayPlayerBackPayload, events: Array) -> bool:
	if value == null or value.player_id >= _player_slots:
		return false
	away.erase(value.player_id)
	if members.has(value.player_id):
		var event := RelayEvents.RelayPlayerBack.new()
		event.player_id = value.player_id
		event.is_afresh = value.is_afresh != 0
		events.append(event)
	return true


func _apply_roster(payload: PackedByteArray, events: Array) -> bool:
	var listed := read_roster(payload)
	if listed.is_empty():
		return false
	for i in range(1, listed.size(), 3):
		if listed[i] >= _player_slots:
			return false
	for i in range(1, listed.size(), 3):
		_add(listed[i], listed[i + 2], events)
		if listed[i + 1]:
			_set_away(listed[i], events)
	if members.has(listed[0]):  # with many players the host may stand in a later ROSTER
		_set_host(listed[0], events)
	return true


## Reads a ROSTER: [host, player id, is away, name, player id, ...], names as bytes; [] if
## malformed.
static func read_roster(payload: PackedByteArray) -> Array:
	if payload.size() < 2:
		return []
	var result := [payload.decode_u16(0)]
	var at := 2
	while at < payload.size():
		var name_at := at + _MEMBER_BYTES
		if payload.size() < name_at or payload.size() - name_at < payload[at + 3]:
			return []
		var end := name_at + payload[at + 3]
		result.append(payload.decode_u16(at))
		result.append(payload[at + 2] != 0)
		result.append(payload.slice(name_at, end))
		at = end
	return result


func _add(player_id: int, name: PackedByteArray, events: Array) -> bool:
	if player_id >= _player_slots:
		return false
	away.erase(player_id)
	var event := RelayEvents.RelayPlayerJoined.new()
	event.player_id = player_id
	event.player_name = RelayText.decode(name)
	members[player_id] = event.player_name
	events.append(event)
	return true


func _set_away(player_id: int, events: Array) -> bool:
	if player_id >= _player_slots:
		return false
	if members.has(player_id):
		away[player_id] = true
		var event := RelayEvents.RelayPlayerAway.new()
		event.player_id = player_id
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
