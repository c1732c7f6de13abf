@tool
@icon("icons/relay_sync.svg")
class_name RelaySync
extends Node
## Shares properties of the node above it: sends the local player's, shows the others' smoothly.
##
## Put it under the node that moves, tick what to share, and let a [RelaySpawner] make one scene for
## each player. No code is needed; the game moves its own player as it always did:
## [codeblock]
## func _physics_process(delta: float) -> void:
##     if $RelaySync.is_local():
##         position += Input.get_vector("left", "right", "up", "down") * speed * delta
## [/codeblock]
## [b]Bytes.[/b] A state holds at most [code]max_state_bytes[/code] of the room (32 unless the
## [RelayClient] that creates it asks for another number), see [member state_bytes]:
## [codeblock lang=text]
## position of a Node2D    8 bytes    (4 as RANGE_16, 2 as RANGE_8)
## rotation of a Node2D    2 bytes
## position of a Node3D   12 bytes    (6 as RANGE_16, 3 as RANGE_8)
## rotation of a Node3D    8 bytes    its quaternion
## others                  see RelayProperty
## [/codeblock]
## [b]Smoothness.[/b] Others are shown a little in the past, so that there is always a next sample
## to move to. How much is measured all the time, from when samples arrive: on a good network
## about two ticks and a frame, with jitter and loss more, at most [member max_delay_s]. It changes
## by letting the shown time pass up to a fifth faster or slower. Nothing is extrapolated: without
## news a player stands still. Angles turn the short way round. What moves further than
## [member teleport_distance] from one sample to the next is not drawn in between.

const _RelayClientScript := preload("relay_client.gd")
const _RelayFinder := preload("relay_finder.gd")
const _RelayStateLayout := preload("relay_state_layout.gd")
const _RelayPropertyScript := preload("relay_property.gd")
const _RelayStatesScript := preload("relay_states.gd")
const _RelayTimeline := preload("relay_timeline.gd")

## Player id of nobody.
const NOBODY := -1

## Bytes of a state unless the room was created with more.
const _USUAL_MAX_BYTES := 32
const _LARGEST_MAX_BYTES := 255
## What teleport_distance 0 means: a quarter of a screen; ten metres.
const _TELEPORT_2D := 300.0
const _TELEPORT_3D := 10.0
## After the game's own nodes: what they did in this frame is sent with this frame.
const _PRIORITY := 1000
const _GROUP := &"_relay_syncs"

## Bytes of a state with all that is shared, see above.
@export var state_bytes: int:
	get:
		return _layout.size if _layout != null else _new_layout().size
## Whose it is: the player who publishes it. A [RelaySpawner] sets it.
@export var player_id := NOBODY:
	set(value):
		if value != player_id:
			player_id = value
			_start_anew()
## Which of that player's entities it is: 0 for the first, 1 for the next RelaySync of the same
## player, and so on. The room must permit as many (entities_per_player of [RelayClient]).
@export_range(0, 255) var local_index := 0
## The client to use. Empty: the nearest one upwards in the tree, then autoloads.
@export var client: _RelayClientScript:
	set(value):
		client = value
		update_configuration_warnings()

@export_group("Shared properties")
## Whether to share the position of the node above.
@export var share_position := true:
	set(value):
		share_position = value
		update_configuration_warnings()
## Whether to share the rotation of the node above.
@export var share_rotation := true:
	set(value):
		share_rotation = value
		update_configuration_warnings()
## How each coordinate of the position is written; AUTO is exact, 4 bytes each.
@export var position_encoding := _RelayPropertyScript.Encoding.AUTO:
	set(value):
		position_encoding = value
		update_configuration_warnings()
## Least coordinate for RANGE_16 and RANGE_8: the left and upper end of the world.
@export var position_min := 0.0:
	set(value):
		position_min = value
		update_configuration_warnings()
## Largest coordinate for RANGE_16 and RANGE_8.
@export var position_max := 1024.0:
	set(value):
		position_max = value
		update_configuration_warnings()
## What else is shared: properties of the node above or of nodes below that one.
@export var properties: Array[_RelayPropertyScript] = []:
	set(value):
		for property in properties:
			if property != null and property.changed.is_connected(update_configuration_warnings):
				property.changed.disconnect(update_configuration_warnings)
		properties = value
		for property in properties:
			if (
				property != null
				and not property.changed.is_connected(update_configuration_warnings)
			):
				property.changed.connect(update_configuration_warnings)
		update_configuration_warnings()

@export_group("Other players")
## The longest delay that may be put between what happened and what is shown, seconds.
@export_range(0.0, 1.0, 0.01) var max_delay_s := 0.5
## A step of the position larger than this is a teleport and is not smoothed. 0 = 300 in 2-D and
## 10 in 3-D.
@export var teleport_distance := 0.0
## Hide other players' nodes until their first state is there: they would stand where the scene puts
## them.
@export var hide_until_known := true

## Delay of what is shown against what happened, seconds; 0 for the local player.
var delay_s: float:
	get:
		return _timeline.delay_s if _timeline != null else 0.0

var _layout: _RelayStateLayout
var _timeline: _RelayTimeline
var _entity_id := NOBODY
var _has_published := false
var _was_local := false
var _is_hiding := false
var _clock := 0.0
var _warned := {}


func _ready() -> void:
	if Engine.is_editor_hint():
		set_process(false)
		return
	process_priority = _PRIORITY
	_layout = _new_layout()
	for problem in _layout.problems:
		_warn(problem)
	if not is_instance_valid(client):
		client = _RelayFinder.find(self)
	if client == null:
		_warn("there is no RelayClient: add one to the scene or as an autoload, or set client")
		return
	add_to_group(_GROUP)
	if not client.joined.is_connected(_start_anew):  # it is, when this node was put back
		client.joined.connect(_start_anew)
		client.disconnected.connect(_on_disconnected)
		client.state_received.connect(_on_state_received)
		client.entities_removed.connect(_on_entities_removed)
	_start_anew()


func _process(_delta: float) -> void:
	if not is_instance_valid(client) or not client.is_joined():
		return
	if player_id == NOBODY:
		_warn("shares nothing: set player_id, or let a RelaySpawner make the scene")
	elif _entity_id == NOBODY or is_local() != _was_local:
		_start_anew()  # joined before this node was told whose it is, or handed over since
	elif _was_local:
		_publish()
	elif _timeline != null:
		if _timeline.is_empty():
			_take_known()
		if not _timeline.is_empty():
			_show()


func _exit_tree() -> void:
	_leave.call_deferred()  # not if it is only put elsewhere: others would see it go and come


func _notification(what: int) -> void:
	match what:
		NOTIFICATION_UNPARENTED:
			request_ready()  # the next node above may be another
		NOTIFICATION_PREDELETE:
			_remove()


func _validate_property(property: Dictionary) -> void:
	if property["name"] == "state_bytes":
		property["usage"] = PROPERTY_USAGE_EDITOR | PROPERTY_USAGE_READ_ONLY


func _get_configuration_warnings() -> PackedStringArray:
	var warnings := PackedStringArray()
	var parent := get_parent()
	if parent == null:
		return warnings
	if _shared().is_empty():
		var is_placed := parent is Node2D or parent is Node3D or parent is Control
		warnings.append(
			(
				"Nothing is shared: tick position or rotation, or add to properties."
				if is_placed
				else (
					"%s has neither position nor rotation: add what to share to properties."
					% parent.name
				)
			)
		)
	var layout := _new_layout()
	for problem in layout.problems:
		warnings.append(problem + ".")
	if _RelayFinder.is_missing(self):
		warnings.append("There is no RelayClient: add one to the scene or as an autoload.")
	var used_client := client if is_instance_valid(client) else _RelayFinder.find(self)
	var limit := _USUAL_MAX_BYTES
	if used_client != null and int(used_client.get("max_state_bytes")) > 0:
		limit = used_client.get("max_state_bytes")
	if layout.size > limit:
		warnings.append(_too_large_text(layout.size, limit))
	return warnings


## Whether it is ours: then it is sent, not shown. It is while it has our [member player_id], unless
## it was handed over ([method RelayClient.give_entity]).
func is_local() -> bool:
	if not is_instance_valid(client) or player_id == NOBODY or client.player_id == NOBODY:
		return false
	return client.get_entity_owner(client.entity_id_of(player_id, local_index)) == client.player_id


func _new_layout() -> _RelayStateLayout:
	return _RelayStateLayout.new(get_parent(), _shared())


## What is shared, in the order of the inspector: position, rotation, the rest.
func _shared() -> Array[_RelayPropertyScript]:
	var shared: Array[_RelayPropertyScript] = []
	var parent := get_parent()
	if parent == null:
		return shared
	var is_flat := parent is Node2D or parent is Control
	if share_position and (is_flat or parent is Node3D):
		shared.append(
			_RelayPropertyScript.create(^":position", position_encoding, position_min, position_max)
		)
	if share_rotation and is_flat:
		shared.append(_RelayPropertyScript.create(^":rotation"))
	elif share_rotation and parent is Node3D:
		shared.append(_RelayPropertyScript.create(^":quaternion"))
	shared.append_array(properties)
	return shared


## Forgets what was known and takes what the room knows.
func _start_anew() -> void:
	_entity_id = NOBODY
	_timeline = null
	_has_published = false
	if _layout == null or not is_instance_valid(client):
		return
	if player_id == NOBODY or client.player_id == NOBODY:
		return
	if not client.is_joined():  # what the room knows comes before that
		_hide(hide_until_known and not is_local())
		return
	_entity_id = client.entity_id_of(player_id, local_index)
	_check_room()
	_was_local = is_local()
	var known := client.get_state(player_id, local_index)
	var numbers := (
		_layout.decode(known, 0) if known.size() >= _layout.size else PackedFloat32Array()
	)
	if not numbers.is_empty() and not client.is_published(_entity_id):
		_layout.apply(numbers)  # if it is ours: there we go on
	_hide(numbers.is_empty() and hide_until_known and not _was_local)
	if _was_local:
		return
	_timeline = _RelayTimeline.new(_layout, 1.0 / client.tick_rate)
	_clock = _now()


## Begins with what the room knows, if nothing was heard since. Not earlier: of packets that came in
## one frame the table holds the newest state already, and older ones are still to be told.
func _take_known() -> void:
	var known := client.get_state(player_id, local_index)
	if not known.is_empty():
		_take(client.server_time, known, 0)


func _check_room() -> void:
	var limits := client.room.limits()
	if _layout.size == 0:
		_warn("nothing is shared: tick position or rotation, or add to properties")
	elif _layout.size > limits["max_state_bytes"]:
		_warn(_too_large_text(_layout.size, limits["max_state_bytes"]))
	if local_index >= limits["entities_per_player"]:
		_warn(
			(
				(
					"local_index is %d, but this room has %d entities per player:"
					+ " set entities_per_player of the RelayClient to %d"
				)
				% [local_index, limits["entities_per_player"], local_index + 1]
			)
		)


func _publish() -> void:
	var limits := client.room.limits() if not _has_published else {}
	if not limits.is_empty():
		var is_right_size: bool = _layout.size <= limits["max_state_bytes"] and _layout.size > 0
		if not is_right_size or local_index >= limits["entities_per_player"]:
			return  # _check_room has said why
	var was_published := _has_published
	_has_published = client.publish_entity(_entity_id, _layout.encode()) == OK
	if _has_published and not was_published:  # in the next frame what we replaced is gone
		get_tree().process_frame.connect(_check_alone, CONNECT_ONE_SHOT)


func _check_alone() -> void:
	if not is_inside_tree():
		return
	for other: Node in get_tree().get_nodes_in_group(_GROUP):
		var is_twin: bool = other.client == client and other._entity_id == _entity_id
		if other != self and is_twin and other._has_published:
			_warn(
				(
					"%s shares entity %d of the same player: give one of them another local_index"
					% [other.get_path(), local_index]
				)
			)


## Takes our state out of the room, unless this node was only put elsewhere in the tree.
func _leave() -> void:
	if is_inside_tree():
		return
	_remove()
	_layout = null
	_timeline = null
	request_ready()


func _remove() -> void:
	if _has_published and is_instance_valid(client):
		client.remove_entity(_entity_id)
	_has_published = false


func _show() -> void:
	var now := _now()
	_timeline.max_delay_s = max_delay_s
	_layout.apply(_timeline.advance(now - _clock, client.server_time))
	_clock = now


func _on_state_received(states: _RelayStatesScript) -> void:
	if _timeline == null:
		return
	var row := states.ids.find(_entity_id)
	if row < 0:
		return
	if states.stride != _layout.size:
		_warn(
			(
				(
					"player %d shares %d bytes and this node %d:"
					+ " their games must share the same properties in the same way"
				)
				% [player_id, states.stride, _layout.size]
			)
		)
		return
	_take(states.sample_time(row), states.states, row * states.stride)


func _take(sample_at: float, bytes: PackedByteArray, start: int) -> void:
	if bytes.size() < start + _layout.size:
		return
	var numbers := _layout.decode(bytes, start)
	if numbers.is_empty():
		return
	var is_cut := false
	if not _timeline.is_empty():
		var step := _layout.distance(get_parent(), _timeline.newest(), numbers)
		is_cut = step > _teleport_distance()
	else:
		_layout.apply(numbers)  # at once: the next _process may be in the next frame
	_timeline.add(sample_at, numbers, client.server_time, is_cut)
	_hide(false)


func _on_entities_removed(entity_ids: PackedInt32Array) -> void:
	if _timeline != null and entity_ids.has(_entity_id):
		_timeline = _RelayTimeline.new(_layout, 1.0 / client.tick_rate)
		_hide(hide_until_known)


func _on_disconnected(_reason: int, _text: String) -> void:
	_entity_id = NOBODY
	_timeline = null
	_has_published = false


func _teleport_distance() -> float:
	if teleport_distance > 0.0:
		return teleport_distance
	return _TELEPORT_3D if get_parent() is Node3D else _TELEPORT_2D


func _hide(wants_hidden: bool) -> void:
	var parent := get_parent()
	if wants_hidden == _is_hiding or not "visible" in parent:
		return
	if wants_hidden and not parent.visible:
		return  # the game hides it: leave it so
	_is_hiding = wants_hidden
	parent.visible = not wants_hidden


func _too_large_text(size: int, limit: int) -> String:
	var cure := "set max_state_bytes of the RelayClient that creates the room to %d" % size
	if size > _LARGEST_MAX_BYTES:
		cure = "split it into several RelaySyncs with other local_indexes (%d at most)" % 255
	return (
		"shares %d bytes, but a state of the room holds %d: %s, or choose smaller encodings"
		% [size, limit, cure]
	)


## Warns once: the node, what is wrong, and the cure.
func _warn(text: String) -> void:
	if not _warned.has(text):
		_warned[text] = true
		push_warning("%s: %s." % [get_path() if is_inside_tree() else NodePath(name), text])


static func _now() -> float:
	return Time.get_ticks_usec() / 1000000.0
