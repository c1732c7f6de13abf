extends RefCounted
## Who publishes which entity (SPEC 7, 9): the player with its number, unless it was handed over.

const RelayEvents := preload("relay_events.gd")
const RelayRecords := preload("relay_records.gd")
const RelayWire := preload("generated_wire.gd")

## Owner of what belongs to whoever is host.
const HOST := RelayWire.NO_PLAYER

const _RECORD_BYTES := 4

var _given := {}  # entity id -> owner, of those that were handed over
var _player_slots: int
var _num_ids: int


func _init(player_slots: int, num_ids: int) -> void:
	_player_slots = player_slots
	_num_ids = num_ids


## The owner of an entity: a player id, or HOST.
func owner_of(entity_id: int) -> int:
	return _given.get(entity_id, entity_id % _player_slots)


## Ids of what was handed over, and of nothing else.
func given() -> Array:
	return _given.keys()


## Takes ENTITY_OWNER or OWNERS, and appends what the game must hear. Returns false if it is
## malformed; then nothing of it is taken.
func apply(entry: RelayRecords.RelayEntry, events: Array) -> bool:
	var payload := entry.payload
	var is_one := entry.kind == RelayWire.EntryKind.ENTITY_OWNER
	if payload.size() % _RECORD_BYTES != 0 or (is_one and payload.size() != _RECORD_BYTES):
		return false
	for at in range(0, payload.size(), _RECORD_BYTES):
		var owner := payload.decode_u16(at + 2)
		if payload.decode_u16(at) >= _num_ids or (owner >= _player_slots and owner != HOST):
			return false
	for at in range(0, payload.size(), _RECORD_BYTES):
		_put(payload.decode_u16(at), payload.decode_u16(at + 2), events)
	return true


## A player is new in its place: what has its number is its own.
func on_joined(player_id: int, events: Array) -> void:
	for entity_id: int in _given.keys():
		if entity_id % _player_slots == player_id:
			_put(entity_id, player_id, events)


## A player left: what it was given falls back.
func on_left(player_id: int, events: Array) -> void:
	for entity_id: int in _given.keys():
		if _given[entity_id] == player_id:
			_put(entity_id, entity_id % _player_slots, events)


func _put(entity_id: int, owner: int, events: Array) -> void:
	if owner == entity_id % _player_slots:
		_given.erase(entity_id)
	else:
		_given[entity_id] = owner
	var event := RelayEvents.RelayEntityOwnerChanged.new()
	event.entity_id = entity_id
	event.owner = owner
	events.append(event)
