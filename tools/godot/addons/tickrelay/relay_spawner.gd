@tool
@icon("icons/relay_spawner.svg")
class_name RelaySpawner
extends Node
## Makes a scene for each player of the room, and takes it away when the player leaves.
##
## Set [member player_scene]. When somebody joins, it is instantiated under [member spawn_path] as
## [code]Player0[/code], [code]Player1[/code] and so on, by player id: the same names in all games.
## Each [RelaySync] in it is told whose it is. If the scene's root has a variable
## [code]player_id[/code] or [code]player_name[/code], that is set too, before the scene enters the
## tree.
## [br][br]
## The scene of the local player has the multiplayer authority of this game, the others have not. So
## code written for Godot's own multiplayer, [code]if is_multiplayer_authority():[/code], says what
## it should. With a RelayMultiplayerPeer use Godot's MultiplayerSpawner instead of this.
## [br][br]
## Taken out of the tree it takes its players away; put back it makes scenes for those who are in
## the room by then. Moved to another place within a frame, it keeps them. The game may free a
## player's scene itself: that player has none then until they join again.

## A player's scene is in the tree.
signal spawned(node: Node, player_id: int)
## A player's scene is about to go. Not told of scenes that are freed together with this node, or by
## the game.
signal despawned(node: Node, player_id: int)

const _RelayClientScript := preload("relay_client.gd")
const _RelayFinder := preload("relay_finder.gd")
const _RelaySyncScript := preload("relay_sync.gd")

## Multiplayer ids of others: 1 is the server, and us while no peer is set.
const _FIRST_AUTHORITY := 2

## Scene of a player.
@export var player_scene: PackedScene:
	set(value):
		player_scene = value
		update_configuration_warnings()
## Where players are put. Empty: under the node above this one.
@export var spawn_path: NodePath:
	set(value):
		spawn_path = value
		update_configuration_warnings()
## Whether the local player gets a scene too.
@export var spawn_local := true
## Another scene for the local player (with a camera, with input). Empty: the same.
@export var local_scene: PackedScene
## The client to use. Empty: the nearest one upwards in the tree, then autoloads.
@export var client: _RelayClientScript:
	set(value):
		client = value
		update_configuration_warnings()

var _nodes := {}  # player id -> Node, which the game may have freed


func _ready() -> void:
	if Engine.is_editor_hint():
		return
	if not is_instance_valid(client):
		client = _RelayFinder.find(self)
	if client == null:
		_warn("there is no RelayClient: add one to the scene or as an autoload, or set client")
		return
	client.player_joined.connect(_on_player_joined)
	client.player_left.connect(_on_player_left)
	client.disconnected.connect(_on_disconnected)
	_spawn_present.call_deferred()  # the node above is still building its children


func _exit_tree() -> void:
	request_ready()
	if is_instance_valid(client) and client.player_joined.is_connected(_on_player_joined):
		client.player_joined.disconnect(_on_player_joined)
		client.player_left.disconnect(_on_player_left)
		client.disconnected.disconnect(_on_disconnected)
	_despawn_outside.call_deferred()


func _notification(what: int) -> void:
	if what == NOTIFICATION_PREDELETE:
		_despawn_all()


func _get_configuration_warnings() -> PackedStringArray:
	var warnings := PackedStringArray()
	if player_scene == null:
		warnings.append("Set player_scene: the scene that each player gets.")
	if not spawn_path.is_empty() and get_node_or_null(spawn_path) == null:
		warnings.append('There is no node "%s": correct spawn_path or clear it.' % spawn_path)
	if _RelayFinder.is_missing(self):
		warnings.append("There is no RelayClient: add one to the scene or as an autoload.")
	return warnings


## The scene of a player, null if there is none.
func node_of(player_id: int) -> Node:
	var node: Variant = _nodes.get(player_id)
	return node if is_instance_valid(node) else null


## Player id -> scene of all players.
func nodes() -> Dictionary:
	var result := {}
	for player_id: int in _nodes:
		if node_of(player_id) != null:
			result[player_id] = _nodes[player_id]
	return result


func _spawn_present() -> void:
	var players := client.players if is_inside_tree() and is_instance_valid(client) else {}
	for player_id: int in players:
		_on_player_joined(player_id, players[player_id])


func _on_player_joined(player_id: int, player_name: String) -> void:
	var is_local := player_id == client.player_id
	if node_of(player_id) != null or (is_local and not spawn_local):
		return
	var scene := local_scene if is_local and local_scene != null else player_scene
	var place := get_parent() if spawn_path.is_empty() else get_node_or_null(spawn_path)
	if scene == null or place == null:
		_warn("cannot show players: set player_scene, and a spawn_path that exists or none")
		return
	var node := scene.instantiate()
	node.name = "Player%d" % player_id
	node.set_multiplayer_authority(
		multiplayer.get_unique_id() if is_local else _FIRST_AUTHORITY + player_id
	)
	_introduce(node, player_id, player_name)
	_nodes[player_id] = node
	place.add_child(node)
	spawned.emit(node, player_id)


func _introduce(node: Node, player_id: int, player_name: String) -> void:
	if "player_id" in node:
		node.player_id = player_id
	if "player_name" in node:
		node.player_name = player_name
	var todo: Array[Node] = [node]
	while not todo.is_empty():
		var next: Node = todo.pop_back()
		todo.append_array(next.get_children())
		if next is _RelaySyncScript:
			next.client = client
			next.player_id = player_id


func _on_player_left(player_id: int, _reason: int) -> void:
	_despawn(player_id)


func _on_disconnected(_reason: int, _text: String) -> void:
	_despawn_all()


func _despawn_all() -> void:
	for player_id: int in _nodes.keys():
		_despawn(player_id)


## Takes all away, unless this node was only put elsewhere in the tree.
func _despawn_outside() -> void:
	if not is_inside_tree():
		_despawn_all()


func _despawn(player_id: int) -> void:
	var node := node_of(player_id)
	_nodes.erase(player_id)
	if node == null:
		return
	despawned.emit(node, player_id)
	# Whoever joins next may get this id, and so this name, before the frame is over.
	node.name = "Left%d" % node.get_instance_id()
	node.queue_free()


func _warn(text: String) -> void:
	push_warning("%s: %s." % [get_path() if is_inside_tree() else NodePath(name), text])
