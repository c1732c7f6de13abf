extends SceneTree
## RelaySync's parts without a network: encodings, warnings, spawning without a client.

const Layout := preload("res://addons/tickrelay/relay_state_layout.gd")
const RelayClient := preload("res://addons/tickrelay/relay_client.gd")
const RelayMonitors := preload("res://addons/tickrelay/relay_monitors.gd")
const RelayProperty := preload("res://addons/tickrelay/relay_property.gd")
const RelaySpawner := preload("res://addons/tickrelay/relay_spawner.gd")
const RelaySync := preload("res://addons/tickrelay/relay_sync.gd")
const Timeline := preload("res://addons/tickrelay/relay_timeline.gd")

const ROUNDS := 300


class Everything:
	extends Node3D
	var number := 0.0
	var whole := 0
	var flag := false
	var plane := Vector2.ZERO
	var cell := Vector2i.ZERO
	var four := Vector4.ZERO
	var tint := Color.WHITE
	var text := "no"


var random := RandomNumberGenerator.new()


func _initialize() -> void:
	random.seed = 4
	_run.call_deferred()


func tell(event: String, values: Variant) -> void:
	print("@", JSON.stringify({"event": event, "values": values}))


func _run() -> void:
	_tell_errors()
	_tell_types()
	_tell_turns()
	_tell_hostile()
	_tell_costs()
	_tell_timeline()
	_tell_warnings()
	await _tell_freed()
	await _tell_edits()
	quit()


## The largest difference that each encoding made to numbers in its range, and its bytes.
func _tell_errors() -> void:
	var ranges := {
		RelayProperty.Encoding.FLOAT: Vector2(-1e6, 1e6),
		RelayProperty.Encoding.RANGE_16: Vector2(-500.0, 1500.0),
		RelayProperty.Encoding.RANGE_8: Vector2(-500.0, 1500.0),
		RelayProperty.Encoding.ANGLE_16: Vector2(-20.0, 20.0),
		RelayProperty.Encoding.ANGLE_8: Vector2(-20.0, 20.0),
		RelayProperty.Encoding.WHOLE_16: Vector2(-32768.0, 32767.0),
		RelayProperty.Encoding.WHOLE_8: Vector2(0.0, 255.0),
	}
	var errors := {}
	for encoding: int in ranges:
		var node := Everything.new()
		var property := RelayProperty.create(^":number", encoding, -500.0, 1500.0)
		var layout := Layout.new(node, [property])
		var worst := 0.0
		for i in ROUNDS:
			var number := random.randf_range(ranges[encoding].x, ranges[encoding].y)
			number = PackedFloat32Array([number])[0]
			node.number = number
			layout.apply(layout.decode(layout.encode(), 0))
			var error := absf(node.number - number)
			if encoding in [RelayProperty.Encoding.ANGLE_16, RelayProperty.Encoding.ANGLE_8]:
				error = absf(angle_difference(node.number, number))
			worst = maxf(worst, error)
		errors[RelayProperty.Encoding.find_key(encoding)] = [worst, layout.size]
		node.free()
	tell("errors", errors)


## Every type there and back, with a state in the middle of others, and out of range.
func _tell_types() -> void:
	var node := Everything.new()
	var properties := []
	for path: NodePath in [
		^":flag", ^":whole", ^":position", ^":plane", ^":cell", ^":four", ^":tint", ^":rotation"
	]:
		properties.append(RelayProperty.create(path))
	properties.append(RelayProperty.create(^":quaternion"))
	properties.append(RelayProperty.create(^":number", RelayProperty.Encoding.RANGE_8, 0.0, 10.0))
	var layout := Layout.new(node, properties)
	node.flag = true
	node.whole = -1234
	node.position = Vector3(1.5, -2.5, 1e6)
	node.plane = Vector2(0.25, 7.0)
	node.cell = Vector2i(-3, 40000)
	node.four = Vector4(1.0, 2.0, 3.0, 4.0)
	node.tint = Color(0.2, 0.4, 0.6, 0.8)
	node.number = 11.0
	node.quaternion = Quaternion(Vector3(1.0, 2.0, 3.0).normalized(), 1.0)
	var turn := node.quaternion
	var padding := PackedByteArray([1, 2, 3])
	var bytes := padding + layout.encode() + padding
	var other := Everything.new()
	Layout.new(other, properties).apply(layout.decode(bytes, 3))
	tell(
		"types",
		{
			"size": layout.size,
			"problems": layout.problems,
			"flag": other.flag,
			"whole": other.whole,
			"is_position_same": other.position == node.position,
			"is_plane_same": other.plane == node.plane,
			"cell": [other.cell.x, other.cell.y],
			"is_four_same": other.four == node.four,
			"tint": other.tint.to_html(),
			"number": other.number,
			"turned_by": other.quaternion.angle_to(turn),
		}
	)
	node.free()
	other.free()


## Half way between two angles is on the short way, also across the seam.
func _tell_turns() -> void:
	var flat := Node2D.new()
	var layout := Layout.new(flat, [RelayProperty.create(^":rotation")])
	flat.rotation = 3.0
	var a := layout.decode(layout.encode(), 0)
	flat.rotation = -3.0
	var b := layout.decode(layout.encode(), 0)
	layout.apply(layout.blend(a, b, 0.5))
	var flat_angle := absf(flat.rotation)
	var solid := Node3D.new()
	layout = Layout.new(solid, [RelayProperty.create(^":quaternion")])
	solid.scale = Vector3(2.0, 2.0, 2.0)
	solid.quaternion = Quaternion(Vector3.UP, 3.0)
	a = layout.decode(layout.encode(), 0)
	solid.quaternion = Quaternion(Vector3.UP, -3.0)
	b = layout.decode(layout.encode(), 0)
	layout.apply(layout.blend(a, b, 0.5))
	var solid_angle := solid.quaternion.angle_to(Quaternion(Vector3.UP, PI))
	tell("turns", {"flat": flat_angle, "solid": solid_angle, "scale": solid.scale.x})
	flat.free()
	solid.free()


## What strangers write is refused or harmless; what the game has may be no number at all.
func _tell_hostile() -> void:
	var node := Node3D.new()
	var layout := Layout.new(
		node, [RelayProperty.create(^":position"), RelayProperty.create(^":quaternion")]
	)
	var bytes := PackedByteArray()
	bytes.resize(layout.size)
	bytes.encode_float(4, NAN)
	var refused := layout.decode(bytes, 0).is_empty()
	bytes.fill(0x80)
	layout.apply(layout.decode(bytes, 0))
	node.position = Vector3(NAN, INF, 1.0)
	var sent := layout.decode(layout.encode(), 0)
	tell("hostile", {"refused": refused, "sent": Array(sent.slice(0, 3))})
	node.free()


## Microseconds to decode, mix and show one player's state.
func _tell_costs() -> void:
	var node := Node3D.new()
	var layout := Layout.new(
		node, [RelayProperty.create(^":position"), RelayProperty.create(^":quaternion")]
	)
	var bytes := layout.encode()
	var best := INF
	for batch in 5:
		var from := Time.get_ticks_usec()
		for i in 500:
			var numbers := layout.decode(bytes, 0)
			layout.apply(layout.blend(numbers, numbers, 0.5))
		best = minf(best, (Time.get_ticks_usec() - from) / 500.0)
	tell("costs", {"us": best})
	node.free()


## A number that grows evenly, seen through jitter; then a rest, then a cut.
func _tell_timeline() -> void:
	var node := Everything.new()
	var layout := Layout.new(node, [RelayProperty.create(^":number")])
	var timeline := Timeline.new(layout, 0.05)
	var arrivals := []
	for i in 120:
		var sample_at := 10.0 + i * 0.05
		if i >= 80:
			sample_at += 3.0  # rested
		var late := 0.02 + random.randf() * 0.04
		arrivals.append([sample_at + late, sample_at, float(i) + (100.0 if i >= 100 else 0.0)])
	var rows := []
	var now := 10.0
	while now < 19.5:
		now += 1.0 / 60.0
		while not arrivals.is_empty() and arrivals[0][0] <= now:
			var arrival: Array = arrivals.pop_front()
			var is_cut: bool = arrival[2] == 200.0
			timeline.add(arrival[1], PackedFloat32Array([arrival[2]]), now, is_cut)
		if not timeline.is_empty():
			rows.append([now, timeline.advance(1.0 / 60.0, now)[0], timeline.delay_s])
	tell("timeline", rows)
	node.free()


func _tell_warnings() -> void:
	var parent := Node2D.new()
	parent.name = "Lonely"
	root.add_child(parent)
	var sync: RelaySync = RelaySync.new()
	sync.name = "Sync"
	for path: NodePath in [^"", ^":nothing", ^"Nobody:position", ^":name"]:
		sync.properties.append(RelayProperty.create(path))
	parent.add_child(sync)  # warns: no client, bad properties
	for i in 4:
		sync.properties.append(RelayProperty.create(^":scale"))
	tell("sync_warnings", sync._get_configuration_warnings())
	var spawner: RelaySpawner = RelaySpawner.new()
	spawner.name = "Spawner"
	spawner.spawn_path = ^"Nowhere"
	parent.add_child(spawner)
	tell("spawner_warnings", spawner._get_configuration_warnings())
	var client: RelayClient = RelayClient.new()
	client.max_state_bytes = 200
	root.add_child(client)
	sync.properties = []
	tell("no_warnings", sync._get_configuration_warnings())
	var plain := Node.new()
	root.add_child(plain)
	var useless: RelaySync = RelaySync.new()
	plain.add_child(useless)
	tell("plain_warnings", useless._get_configuration_warnings())


## The game frees players and the client itself: they are gone, and who joins is shown again.
func _tell_freed() -> void:
	var world := Node.new()
	root.add_child(world)
	var client: RelayClient = RelayClient.new()
	world.add_child(client)
	var spawner: RelaySpawner = RelaySpawner.new()
	spawner.player_scene = load("res://tests/avatar.tscn")
	world.add_child(spawner)
	var monitors: RelayMonitors = RelayMonitors.new()
	world.add_child(monitors)
	await process_frame
	client.player_joined.emit(3, "Cy")
	client.player_joined.emit(4, "Di")
	spawner.node_of(3).free()
	var shown := [[spawner.node_of(3) == null, spawner.nodes().keys()]]
	client.player_left.emit(3, 0)
	client.player_joined.emit(3, "Ed")
	shown.append([spawner.node_of(3).player_name, spawner.nodes().keys()])
	spawner.node_of(4).free()
	client.player_joined.emit(4, "Flo")
	shown.append([spawner.node_of(4).player_name, spawner.nodes().keys()])
	world.remove_child(spawner)
	client.player_joined.emit(5, "Gil")  # nobody to tell
	await process_frame
	shown.append(["", spawner.nodes().keys()])
	world.add_child(spawner)
	client.player_joined.emit(5, "Hal")
	shown.append([spawner.node_of(5).player_name, spawner.nodes().keys()])
	tell("freed", shown)
	client.free()
	monitors._process(2.0)
	var figures := []
	for id in Performance.get_custom_monitor_names():
		figures.append(Performance.get_custom_monitor(id))
	tell("figures", figures)
	var sync: RelaySync = spawner.node_of(5).get_node("RelaySync")
	await process_frame
	tell("is_local", [sync.is_local()])
	world.free()


## What the inspector shows of a RelaySync, and which edits make it look for warnings again.
func _tell_edits() -> void:
	var node := Node3D.new()
	var sync: RelaySync = RelaySync.new()
	var sizes := [sync.state_bytes]
	node.add_child(sync)
	sizes.append(sync.state_bytes)
	sync.position_encoding = RelayProperty.Encoding.RANGE_8
	sizes.append(sync.state_bytes)
	tell("sizes", sizes)
	for entry in sync.get_property_list():
		if entry["name"] == "state_bytes":
			tell("usage", [entry["usage"], PROPERTY_USAGE_EDITOR | PROPERTY_USAGE_READ_ONLY])
	var property: RelayProperty = RelayProperty.new()
	var changes := []
	property.changed.connect(func() -> void: changes.append(1))
	property.path = ^":scale"
	property.encoding = RelayProperty.Encoding.RANGE_8
	property.min_value = -1.0
	property.max_value = 2.0
	property.interpolate = false
	var looks: Callable = sync.update_configuration_warnings
	sync.properties = [property, null]
	var is_looking := [property.changed.is_connected(looks)]
	sync.properties = []
	is_looking.append(property.changed.is_connected(looks))
	tell("changes", [changes.size(), is_looking])
	sync.share_position = false
	sync.share_rotation = false
	tell("empty_warnings", sync._get_configuration_warnings())
	node.scene_file_path = ProjectSettings.get_setting("application/run/main_scene")
	var monitors: RelayMonitors = RelayMonitors.new()
	var spawner: RelaySpawner = RelaySpawner.new()
	var missing := []
	for other: Node in [monitors, spawner, sync]:
		if other.get_parent() == null:
			node.add_child(other)
		other.owner = node
		missing.append(other._get_configuration_warnings()[-1])
	ProjectSettings.set_setting("autoload/Net", "*res://net.gd")  # may be one
	missing.append(monitors._get_configuration_warnings())
	tell("missing", missing)
	node.free()
