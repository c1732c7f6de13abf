extends RefCounted
## Tells a game what happened in one place in a room, by the signals of its RelayClient.

const RelayAfresh := preload("relay_afresh.gd")
const RelayConnection := preload("relay_connection.gd")
const RelayEvents := preload("relay_events.gd")
const RelayStatesScript := preload("relay_states.gd")
const RelayWire := preload("generated_wire.gd")

const NOBODY := -1

## The game has been told that it is in the room.
var has_joined := false
## The game has been told that the connection is lost, and not yet that it is back.
var is_lost := false
## Nothing more is told: the game has left, or another room was entered.
var is_over := false
var _client: Node
var _connection: RelayConnection
var _was_resuming: bool
var _afresh: RelayAfresh


## [param client]: a RelayClient. [param was_resuming]: it began with coming back.
func _init(client: Node, connection: RelayConnection, was_resuming: bool) -> void:
	_client = client
	_connection = connection
	_was_resuming = was_resuming


## Tells of events, in order, as long as the game does not end it meanwhile. Returns the event that
## ended it, which the client tells of; null if none did.
func tell(events: Array) -> RefCounted:
	for event: RefCounted in events:
		for one: RefCounted in _news_of(event) if not _is_about_our_absence(event) else []:
			if is_over:
				return null
			var is_end := one is RelayEvents.RelayRefused or one is RelayEvents.RelayDisconnected
			if is_end:
				return one
			_tell_one(one)
	return null


## To us it was a lost connection, and is told as such.
func _is_about_our_absence(event: RefCounted) -> bool:
	if not event is RelayEvents.RelayPlayerAway and not event is RelayEvents.RelayPlayerBack:
		return false
	return event.player_id == _connection.session.welcome.player_id


## A room that is told anew: without what the game knows.
func _news_of(event: RefCounted) -> Array:
	if event is RelayEvents.RelayForgotten:
		if has_joined:
			_afresh = RelayAfresh.new(event, _connection.session.welcome.player_slots)
		return []
	if _afresh == null:
		return [event]
	var news := _afresh.news_of(event)
	if event is RelayEvents.RelayResumed:
		news = _afresh.gone(_connection.session.room) + news
		_afresh = null
	return news


func _tell_one(event: RefCounted) -> void:
	if event is RelayStatesScript:
		_client.state_received.emit(event)
	elif event is RelayEvents.RelayMessageReceived:
		_client.message_is_kept = event.flags & RelayWire.MessageFlag.KEPT != 0
		_client.message_index = event.index
		var sender := _player_of(event.sender)
		_client.message_received.emit(sender, event.payload, event.channel, event.kind)
	elif event is RelayEvents.RelaySignalReceived:
		_client.signal_received.emit(event.sender, event.payload, event.channel, event.kind)
	elif event is RelayEvents.RelayEntitiesRemoved:
		_client.entities_removed.emit(event.ids)
	elif not _tell_of_player(event) and not _tell_of_room(event):
		_tell_of_connection(event)


func _tell_of_player(event: RefCounted) -> bool:
	if event is RelayEvents.RelayPlayerJoined:
		_client.player_joined.emit(event.player_id, event.player_name)
	elif event is RelayEvents.RelayPlayerLeft:
		_client.player_left.emit(event.player_id, event.reason)
	elif event is RelayEvents.RelayPlayerAway:
		_client.player_away.emit(event.player_id)
	elif event is RelayEvents.RelayPlayerBack:
		_client.player_back.emit(event.player_id)
	elif event is RelayEvents.RelayHostChanged:
		_client.host_changed.emit(event.player_id)
	else:
		return false
	return true


func _tell_of_room(event: RefCounted) -> bool:
	if event is RelayEvents.RelayPropertyChanged:
		var owner := _player_of(event.owner)
		_client.property_changed.emit(owner, event.key, event.value, _player_of(event.by))
	elif event is RelayEvents.RelayEntityOwnerChanged:
		_client.entity_owner_changed.emit(event.entity_id, event.owner)
	elif event is RelayEvents.RelayRoomLocked:
		_client.room_locked.emit(event.is_locked)
	elif event is RelayEvents.RelayRoomShown:
		_client.room_shown.emit(event.is_listed)
	elif event is RelayEvents.RelayKeptCleared:
		_client.kept_cleared.emit(event.indexes, _player_of(event.by))
	elif event is RelayEvents.RelayRequestRefused:
		var text: String = RelayWire.REQUEST_TEXTS.get(event.reason, "")
		_client.request_refused.emit(event.message_id, event.reason, text)
	else:
		return false
	return true


func _tell_of_connection(event: RefCounted) -> void:
	if event is RelayEvents.RelayConnectionLost:
		is_lost = has_joined  # who has not joined yet goes on joining
		if is_lost:
			_client.connection_lost.emit()
		return
	is_lost = false
	if not has_joined and _is_whole(event):
		has_joined = true
		_client.joined.emit()
	if event is RelayEvents.RelayResumed and has_joined and not is_over:
		_client.resumed.emit(event.is_afresh)


## A game that crashed and comes back joins by that; one whose connection was lost while it joined,
## and is there again, has not joined yet.
func _is_whole(event: RefCounted) -> bool:
	return event is RelayEvents.RelayJoined or (_was_resuming and event.is_afresh)


## A player id as games see it.
static func _player_of(number: int) -> int:
	return NOBODY if number == RelayWire.NO_PLAYER else number
