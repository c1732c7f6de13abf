extends RefCounted
## What a game knew of a room to which its client came back, and is told anew (SPEC 4, AFRESH): what
## it knows already is left out, what is gone is told.
##
## So a game needs no code for coming back: what it was told, one signal after the other, is always
## what the room is.

const RelayEvents := preload("relay_events.gd")
const RelayOwners := preload("relay_owners.gd")
const RelayRoomFacts := preload("relay_room_facts.gd")
const RelayStatesScript := preload("relay_states.gd")
const RelayValues := preload("relay_values.gd")
const RelayWire := preload("generated_wire.gd")

var _host: int
var _is_locked: bool
var _is_listed: bool
var _members: Dictionary
var _away: Dictionary
var _properties := {}  # owner -> Dictionary of key -> value, those that were not told again
var _owners := {}  # entity id -> owner, likewise
var _entities := {}  # entity id -> true, likewise
var _player_slots: int


func _init(forgotten: RelayEvents.RelayForgotten, player_slots: int) -> void:
	var room: RelayRoomFacts = forgotten.room
	_player_slots = player_slots
	_host = room.roster.host
	_is_locked = room.is_locked
	_is_listed = room.is_listed
	_members = room.roster.members.duplicate()
	_away = room.roster.away.duplicate()
	for owner: int in room.properties.owners():
		_properties[owner] = room.properties.all_of(owner)
	for entity_id: int in room.owners.given():
		_owners[entity_id] = room.owners.owner_of(entity_id)
	for entity_id: int in forgotten.shown_ids:
		_entities[entity_id] = true


## What the game is to be told when this has happened.
func news_of(event: RefCounted) -> Array:
	if event is RelayStatesScript:
		for entity_id: int in event.ids:
			_entities.erase(entity_id)
		return [event]
	if event is RelayEvents.RelayPlayerJoined:
		return _news_of_joined(event)
	var is_known := false
	if event is RelayEvents.RelayPlayerAway:
		is_known = _away.erase(event.player_id)
	elif event is RelayEvents.RelayHostChanged:
		is_known = _host == event.player_id
		_host = event.player_id
	elif event is RelayEvents.RelayRoomLocked:
		is_known = _is_locked == event.is_locked
		_is_locked = event.is_locked
	elif event is RelayEvents.RelayRoomShown:
		is_known = _is_listed == event.is_listed
		_is_listed = event.is_listed
	elif event is RelayEvents.RelayPropertyChanged:
		is_known = _knows_property(event)
	elif event is RelayEvents.RelayEntityOwnerChanged:
		is_known = _owners.get(event.entity_id, -1) == event.owner
		_owners.erase(event.entity_id)
	return [] if is_known else [event]


## What the game knew and was not told again, when the room [param room] has been told.
func gone(room: RelayRoomFacts) -> Array:
	var events := []
	for player_id: int in _members:
		events.append(_left(player_id))
	for player_id: int in _away:
		if room.roster.members.has(player_id) and not room.roster.away.has(player_id):
			var back := RelayEvents.RelayPlayerBack.new()
			back.player_id = player_id
			events.append(back)
	if not _entities.is_empty():
		var removed := RelayEvents.RelayEntitiesRemoved.new()
		removed.ids = PackedInt32Array(_entities.keys())
		events.append(removed)
	for entity_id: int in _owners:
		var change := RelayEvents.RelayEntityOwnerChanged.new()
		change.entity_id = entity_id
		change.owner = entity_id % _player_slots
		events.append(change)
	events.append_array(_properties_gone(room))
	if _is_locked and not room.is_locked:
		events.append(RelayEvents.RelayRoomLocked.new())
	if _is_listed and not room.is_listed:
		events.append(RelayEvents.RelayRoomShown.new())
	return events


func _news_of_joined(event: RelayEvents.RelayPlayerJoined) -> Array:
	if not _members.has(event.player_id):
		return [event]
	var was_same: bool = _members[event.player_id] == event.player_name
	_members.erase(event.player_id)
	return [] if was_same else [_left(event.player_id), event]


func _left(player_id: int) -> RelayEvents.RelayPlayerLeft:
	var event := RelayEvents.RelayPlayerLeft.new()
	event.player_id = player_id
	event.reason = RelayWire.ByeReason.LEFT
	return event


func _knows_property(event: RelayEvents.RelayPropertyChanged) -> bool:
	var known: Dictionary = _properties.get(event.owner, {})
	var was_same := RelayValues.is_same(known.get(event.key), event.value)
	known.erase(event.key)
	return was_same


## Those of a player who left went with it.
func _properties_gone(room: RelayRoomFacts) -> Array:
	var events := []
	for owner: int in _properties:
		if owner != RelayOwners.HOST and not room.roster.members.has(owner):
			continue
		for key: String in _properties[owner]:
			var event := RelayEvents.RelayPropertyChanged.new()
			event.owner = owner
			event.key = key
			event.by = RelayWire.NO_PLAYER
			events.append(event)
	return events
