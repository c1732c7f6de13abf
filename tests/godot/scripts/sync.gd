extends SceneTree
## A player of two: moves along a known path, and tells frame by frame what it sees of the others.
##
## The path is a function of the room's time alone, so a test knows where everybody was and when.

const RelayClient := preload("res://addons/tickrelay/relay_client.gd")
const RelaySpawner := preload("res://addons/tickrelay/relay_spawner.gd")
const RelaySync := preload("res://addons/tickrelay/relay_sync.gd")
const RelayProperty := preload("res://addons/tickrelay/relay_property.gd")
const RelayMonitors := preload("res://addons/tickrelay/relay_monitors.gd")

const RADIUS := 200.0
const TURNS_PER_S := 0.5
## Every so many seconds the path jumps from one circle to the other.
const STAY_S := 2.0
const CENTRES: Array[Vector2] = [Vector2(300.0, 300.0), Vector2(1300.0, 300.0)]

var client: RelayClient = RelayClient.new()
var watcher := Watcher.new()
var spawner: RelaySpawner = RelaySpawner.new()
var world := Node2D.new()
var options := {}
var seen := []
var ends_at := INF
var began_at := 0.0
var began_ms := 0


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
	world.add_child(spawner)
	world.add_child(RelayMonitors.new())
	watcher.process_priority = 2000
	watcher.frame_shown.connect(_on_frame_shown)
	world.add_child(watcher)
	root.add_child.call_deferred(world)
	process_frame.connect(_on_frame)
	client.joined.connect(_on_joined)
	client.join_or_create_room("SYNC")


func tell(event: String, values: Variant) -> void:
	print("@", JSON.stringify({"event": event, "values": values}))


func _on_joined() -> void:
	ends_at = Time.get_ticks_msec() / 1000.0 + float(options["seconds"])


func _on_spawned(node: Node, player_id: int) -> void:
	var sync: RelaySync = node.get_node("RelaySync")
	if sync.is_local():
		_move(node, _room_time())
	tell(
		"spawned",
		{
			"name": String(node.name),
			"player_id": player_id,
			"own_id": node.player_id,
			"player_name": node.player_name,
			"is_local": sync.is_local(),
			"is_authority": node.is_multiplayer_authority(),
			"state_bytes": sync.state_bytes(),
			"is_visible": node.visible,
		}
	)
	if options.has("too_much"):
		for i in 8:
			sync.properties.append(RelayProperty.create(^":scale"))
		node.remove_child(sync)
		sync.request_ready()
		node.add_child(sync)


func _on_despawned(_node: Node, player_id: int) -> void:
	tell("despawned", {"player_id": player_id})


func _on_frame() -> void:
	var own := spawner.node_of(client.player_id)
	if own != null:
		_move(own, _room_time())


func _on_frame_shown() -> void:
	for player_id: int in spawner.nodes():
		var node: Node2D = spawner.node_of(player_id)
		if player_id != client.player_id and node.visible:
			var sync: RelaySync = node.get_node("RelaySync")
			var at := [client.server_time, node.position.x, node.position.y, node.rotation]
			seen.append(at + [sync.delay_s, node.energy, node.health, node.is_ready])
	if Time.get_ticks_msec() / 1000.0 > ends_at:
		_finish()


## The room's time without the small corrections of its estimate: they would be jumps of the path.
func _room_time() -> float:
	if began_ms == 0:
		began_ms = Time.get_ticks_msec()
		began_at = client.server_time
	return began_at + (Time.get_ticks_msec() - began_ms) / 1000.0


func _move(node: Node2D, time: float) -> void:
	var moved_s := time
	if options.has("resting"):  # the first half of each second
		moved_s = floorf(time) + maxf(0.0, fposmod(time, 1.0) * 2.0 - 1.0)
	var angle := fposmod(moved_s * TURNS_PER_S, 1.0) * TAU
	node.position = CENTRES[int(time / STAY_S) % 2] + Vector2.from_angle(angle) * RADIUS
	node.rotation = angle
	node.energy = angle / TAU * 100.0
	node.health = int(angle / TAU * 255.0)
	node.is_ready = angle > PI


func _finish() -> void:
	process_frame.disconnect(_on_frame)
	watcher.queue_free()
	var monitors := {}
	for id in Performance.get_custom_monitor_names():
		monitors[id] = Performance.get_custom_monitor(id)
	tell("monitors", monitors)
	tell("seen", seen)
	tell("children", world.get_children().map(func(child: Node) -> String: return child.name))
	client.leave_room()
	await process_frame
	await process_frame
	tell("left", world.get_children().map(func(child: Node) -> String: return child.name))
	world.queue_free()
	await create_timer(0.1).timeout
	tell("monitors_after", Performance.get_custom_monitor_names())
	quit()
