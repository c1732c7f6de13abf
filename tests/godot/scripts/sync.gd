extends SceneTree
## A player of two: moves along a known path, and tells frame by frame what it sees of the others.
##
## The path is a straight line, there and back, so all that lies between two samples lies on it;
## then another line, far away. A late frame is a pause, not a leap: the machine may be busy.
## [br][br]
## With --level it puts players and the whole level elsewhere in the tree, and says so to all.

const RelayClient := preload("res://addons/tickrelay/relay_client.gd")
const RelaySpawner := preload("res://addons/tickrelay/relay_spawner.gd")
const RelaySync := preload("res://addons/tickrelay/relay_sync.gd")
const RelayProperty := preload("res://addons/tickrelay/relay_property.gd")
const RelayMonitors := preload("res://addons/tickrelay/relay_monitors.gd")

## Where lines begin, and where they lead.
const STARTS: Array[Vector2] = [Vector2(100.0, 300.0), Vector2(1100.0, 300.0)]
const WAY := Vector2(400.0, 200.0)
## Time for a line there and back, seconds.
const ROUND_S := 2.0
const LONGEST_FRAME_S := 0.05
const BETWEEN_MOVES_S := 0.4

var client: RelayClient = RelayClient.new()
var watcher := Watcher.new()
var spawner: RelaySpawner = RelaySpawner.new()
var world := Node2D.new()
var level := world
var options := {}
var seen := []
var ends_at := INF
var moved := []
var heard := []
var phase := 0.0
var last_usec := 0


class Watcher:
	extends Node
	## After RelaySync has shown what it shows in this frame.
	signal frame_shown

	func _process(_delta: float) -> void:
		frame_shown.emit()


func _initialize() -> void:
	Engine.max_fps = 60
	for argument in OS.get_cmdline_user_args():
		var parts := argument.trim_prefix("--").split("=")
		options[parts[0]] = parts[1] if parts.size() > 1 else "1"
	client.port = int(options["port"])
	client.player_name = options["name"]
	client.join_timeout_s = 20.0
	client.max_state_bytes = int(options.get("max_state_bytes", "0"))
	client.disconnected.connect(func(_reason: int, text: String) -> void: tell("over", [text]))
	spawner.player_scene = load("res://tests/avatar.tscn")
	spawner.spawned.connect(_on_spawned)
	spawner.despawned.connect(_on_despawned)
	world.name = "World"
	world.add_child(client)
	if options.has("level"):
		level = Node2D.new()
		world.add_child(level)
	level.add_child(spawner)
	level.add_child(RelayMonitors.new())
	watcher.process_priority = 2000
	watcher.frame_shown.connect(_on_frame_shown)
	world.add_child(watcher)
	root.add_child.call_deferred(world)
	process_frame.connect(_on_frame)
	client.joined.connect(_on_joined)
	client.message_received.connect(_on_message_received)
	client.entities_removed.connect(func(_ids: PackedInt32Array) -> void: heard.append("removed"))
	client.join_or_create_room("SYNC")


func tell(event: String, values: Variant) -> void:
	print("@", JSON.stringify({"event": event, "values": values}))


func _on_joined() -> void:
	ends_at = Time.get_ticks_msec() / 1000.0 + float(options["seconds"])
	if options.has("level") and options["name"] == "Ada":
		_put_elsewhere()


func _on_spawned(node: Node, player_id: int) -> void:
	var sync: RelaySync = node.get_node("RelaySync")
	if sync.is_local():
		_move(node)
	tell(
		"spawned",
		{
			"name": String(node.name),
			"player_id": player_id,
			"own_id": node.player_id,
			"player_name": node.player_name,
			"is_local": sync.is_local(),
			"is_authority": node.is_multiplayer_authority(),
			"state_bytes": sync.state_bytes,
			"is_visible": node.visible,
		}
	)
	if options.has("too_much"):
		# A new array: before Godot 4.5 all that come from one scene share the one in it.
		var shared := sync.properties.duplicate()
		for i in 8:
			shared.append(RelayProperty.create(^":scale"))
		sync.properties = shared
		node.remove_child(sync)
		sync.request_ready()
		node.add_child(sync)


func _on_despawned(_node: Node, player_id: int) -> void:
	tell("despawned", {"player_id": player_id})


func _on_frame() -> void:
	var own := spawner.node_of(client.player_id)
	if own != null:
		_move(own)
		moved.append([client.server_time, phase])


func _on_frame_shown() -> void:
	for player_id: int in spawner.nodes():
		var node: Node2D = spawner.node_of(player_id)
		if player_id != client.player_id and node.visible:
			var sync: RelaySync = node.get_node("RelaySync")
			var at := [client.server_time, node.position.x, node.position.y, node.rotation]
			var more := [node.phase, node.energy, node.health, node.is_ready]
			seen.append(at + [sync.delay_s] + more)
	if Time.get_ticks_msec() / 1000.0 > ends_at:
		_finish()


func _move(node: Node2D) -> void:
	var now_usec := Time.get_ticks_usec()
	var elapsed_s := minf((now_usec - last_usec) / 1000000.0, LONGEST_FRAME_S)
	last_usec = now_usec
	if not options.has("resting") or fposmod(client.server_time, 1.0) > 0.5:
		phase += elapsed_s
	var share := 1.0 - absf(fposmod(phase, ROUND_S) / ROUND_S * 2.0 - 1.0)
	node.position = STARTS[int(phase / ROUND_S) % 2] + WAY * share
	node.rotation = share * TAU
	node.phase = phase
	node.energy = share * 100.0
	node.health = roundi(share * 255.0)
	node.is_ready = share > 0.5


## Puts our own player, then all players, elsewhere in the tree.
func _put_elsewhere() -> void:
	while spawner.nodes().size() < 2:
		await process_frame
	await create_timer(BETWEEN_MOVES_S).timeout
	var vehicle := Node2D.new()
	world.add_child(vehicle)
	var own := spawner.node_of(client.player_id)
	own.reparent(vehicle)
	await _say("in a vehicle")
	own.reparent(level)
	world.remove_child(level)
	await _say("without the level")
	world.add_child(level)
	await _say("with the level")
	own = spawner.node_of(client.player_id)
	level.reparent(vehicle)
	await _say("in another level")
	tell("is_kept", [spawner.node_of(client.player_id) == own])
	for sync_name: String in ["Nobodys", "Twin"]:
		var sync: RelaySync = RelaySync.new()
		sync.name = sync_name
		sync.player_id = client.player_id if sync_name == "Twin" else RelaySync.NOBODY
		world.add_child(sync)
		sync.properties.append(RelayProperty.create(^":position"))


## Says to all where we are now, when there was time to see it.
func _say(text: String) -> void:
	await create_timer(BETWEEN_MOVES_S).timeout
	tell(text, [spawner.nodes().size(), Performance.get_custom_monitor_names().size()])
	client.send_message(text.to_utf8_buffer())
	await create_timer(BETWEEN_MOVES_S).timeout


func _on_message_received(
	_sender: int, payload: PackedByteArray, _channel: int, _kind: int
) -> void:
	heard.append(payload.get_string_from_utf8())


func _finish() -> void:
	process_frame.disconnect(_on_frame)
	watcher.queue_free()
	var monitors := {}
	for id in Performance.get_custom_monitor_names():
		monitors[id] = Performance.get_custom_monitor(id)
	tell("monitors", monitors)
	tell("seen", seen)
	tell("moved", moved)
	tell("heard", heard)
	tell("children", world.get_children().map(func(child: Node) -> String: return child.name))
	client.leave_room()
	await process_frame
	await process_frame
	tell("left", world.get_children().map(func(child: Node) -> String: return child.name))
	world.queue_free()
	await create_timer(0.1).timeout
	tell("monitors_after", Performance.get_custom_monitor_names())
	quit()
