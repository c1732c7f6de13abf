extends Node
## The game: everybody walks and calls, the host spawns players and monsters and takes hit points.
##
## When all are there each sends its calls; then all stand still. The test compares what each one
## tells of itself and of the others. Options: role, port, code, name, players (how many to wait
## for), calls, blob (bytes of one large call), stop (a file that ends it), delay and unordered (see
## peer_delayed.gd), password, kick (peer id), refuse, empty (no nodes), silent (no calls), abrupt
## (quits without closing the peer), again (when it is over it joins again, or hosts).

const DelayedPeer := preload("peer_delayed.gd")
const PLAYER := preload("peer_player.tscn")
const MONSTER := preload("peer_monster.tscn")

const TELL_EVERY_S := 0.5
const NUM_MONSTERS := 3
const WALK_S := 4.0

var options := {}
var peer: DelayedPeer
var players := Node.new()
var steps := 0
var num_calls := 0
var walked_s := 0.0
var tell_at := 0.0
var has_started := false
var is_over := false
var heard := {}  # kind of call -> sender -> numbers, in order of arrival
var blobs := {}  # sender -> digest
var gone: Array[int] = []
var met: Array[int] = []


func _ready() -> void:
	players.name = "Players"
	add_child(players)
	var spawner := MultiplayerSpawner.new()
	spawner.name = "Spawner"
	spawner.add_spawnable_scene("res://tests/peer_player.tscn")
	spawner.add_spawnable_scene("res://tests/peer_monster.tscn")
	spawner.spawn_path = NodePath("../Players")
	add_child(spawner)
	num_calls = int(options.get("calls", "60"))
	_connect_signals()
	_start_peer()


func tell(event: String, values: Dictionary = {}) -> void:
	var line := values.duplicate()
	line["event"] = event
	line["ms"] = Time.get_ticks_msec()
	print("@", JSON.stringify(line))


func _connect_signals() -> void:
	multiplayer.connected_to_server.connect(func() -> void: tell("connected_to_server"))
	multiplayer.connection_failed.connect(_on_end.bind("connection_failed"))
	multiplayer.server_disconnected.connect(_on_end.bind("server_disconnected"))
	multiplayer.peer_connected.connect(_on_peer_connected)
	multiplayer.peer_disconnected.connect(_on_peer_disconnected)
	var api := multiplayer as SceneMultiplayer
	api.peer_packet.connect(_on_bytes)
	if options.has("password"):
		api.auth_timeout = 2.0
		api.auth_callback = _authenticate
		api.peer_authenticating.connect(_on_peer_authenticating)
		api.peer_authentication_failed.connect(
			func(id: int) -> void: tell("authentication_failed", {"peer": id})
		)


func _start_peer() -> void:
	peer = DelayedPeer.new()
	peer.delay_s = float(options.get("delay", "0"))
	peer.is_order_kept = not options.has("unordered")
	peer.join_timeout_s = float(options.get("deadline", "20"))
	peer.refuse_new_connections = options.has("refuse")
	peer.player_name = options.get("name", "Bot")
	peer.joined.connect(_on_joined)
	peer.join_refused.connect(
		func(reason: int, text: String) -> void:
			tell("join_refused", {"reason": reason, "text": text})
	)
	peer.disconnected.connect(
		func(reason: int, text: String) -> void:
			tell("disconnected", {"reason": reason, "text": text})
			if options.has("again"):
				_enter("any")
	)
	_enter(options.get("role", "any"))
	multiplayer.multiplayer_peer = peer
	if options.get("role") == "host":
		_set_the_stage()  # at once, as games do after create_server()


func _enter(role: String) -> void:
	var address := "127.0.0.1:" + str(options.get("port", "24545"))
	var code: String = options.get("code", "ARENA")
	match role:
		"host":
			peer.create_host(address, code)
		"join":
			peer.join(address, code)
		_:
			peer.join_or_create(address, code)


func _set_the_stage() -> void:
	if options.has("empty"):
		return
	for number in NUM_MONSTERS:
		var monster := MONSTER.instantiate()
		monster.name = "Monster%d" % number
		players.add_child(monster, true)
	_spawn_player(1)


func _spawn_player(id: int) -> void:
	var player := PLAYER.instantiate()
	player.name = str(id)
	players.add_child(player, true)


func _process(delta: float) -> void:
	if multiplayer.multiplayer_peer != peer:
		return
	if peer.get_connection_status() != MultiplayerPeer.CONNECTION_CONNECTED:
		return
	_walk(delta)
	var wanted := int(options.get("players", "0")) - 1
	if not has_started and wanted > 0 and multiplayer.get_peers().size() == wanted:
		has_started = _sees_everybody(wanted + 1)
	if has_started and steps < num_calls:
		steps += 1
		_call_all()
	elif has_started and options.has("kick"):
		peer.disconnect_peer(int(options["kick"]))
		options.erase("kick")
	tell_at -= delta
	if tell_at <= 0.0:
		tell_at = TELL_EVERY_S
		_tell_state()
	if options.has("stop") and FileAccess.file_exists(options["stop"]):
		_leave()


func _sees_everybody(wanted: int) -> bool:
	if options.has("empty"):
		return true
	return (
		players.get_children().filter(func(node: Node) -> bool: return _is_player(node)).size()
		== wanted
	)


func _is_player(node: Node) -> bool:
	return str(node.name).is_valid_int()


func _walk(delta: float) -> void:
	walked_s += delta
	if walked_s > WALK_S:
		return
	for node in players.get_children():
		var number := 1.0 + absi(str(node.name).hash() % 17)
		if _is_player(node) and node.is_ours():
			node.position += Vector2(number, 1.0) * delta * 20.0
			node.mood = int(walked_s * 2.0)
		elif not _is_player(node) and multiplayer.is_server():
			node.position += Vector2(1.0, number) * delta * 20.0


func _call_all() -> void:
	if options.has("silent"):
		return
	if options.has("empty"):
		reliable.rpc(steps)
		unreliable.rpc(steps)
		return
	reliable.rpc(steps)
	reliable_on_channel.rpc(steps)
	unreliable.rpc(steps)
	ordered.rpc(steps)
	(multiplayer as SceneMultiplayer).send_bytes(PackedByteArray([steps]))
	if steps == 10:
		var bytes := PackedByteArray()
		bytes.resize(int(options.get("blob", "0")))
		bytes.fill(multiplayer.get_unique_id())
		if bytes.size() > 0:
			blob.rpc(bytes)
	if steps == 20:
		var bytes := PackedByteArray()
		bytes.resize(20_000)  # too large for a signal: it goes by the log
		large_unreliable.rpc(bytes)
	if steps % 10 == 0:
		for id in multiplayer.get_peers():
			direct.rpc_id(id, steps)
		take_hit.rpc_id(1, steps)


func _record(kind: String, number: int) -> void:
	var sender := multiplayer.get_remote_sender_id()
	if not heard.has(kind):
		heard[kind] = {}
	if not heard[kind].has(sender):
		heard[kind][sender] = []
	heard[kind][sender].append(number)


@rpc("any_peer", "reliable")
func reliable(number: int) -> void:
	_record("reliable", number)


@rpc("any_peer", "reliable", "call_remote", 2)
func reliable_on_channel(number: int) -> void:
	_record("reliable_on_channel", number)


@rpc("any_peer", "unreliable")
func unreliable(number: int) -> void:
	_record("unreliable", number)


@rpc("any_peer", "unreliable_ordered", "call_remote", 3)
func ordered(number: int) -> void:
	_record("ordered", number)


@rpc("any_peer", "unreliable")
func large_unreliable(bytes: PackedByteArray) -> void:
	_record("large_unreliable", bytes.size())


@rpc("any_peer", "reliable")
func direct(number: int) -> void:
	_record("direct", number)


@rpc("any_peer", "reliable")
func blob(bytes: PackedByteArray) -> void:
	var is_right := bytes.count(multiplayer.get_remote_sender_id()) == bytes.size()
	blobs[multiplayer.get_remote_sender_id()] = bytes.size() if is_right else -1


@rpc("any_peer", "reliable", "call_local")
func take_hit(amount: int) -> void:
	for node in players.get_children():
		node.hit_points -= amount


func _on_bytes(id: int, bytes: PackedByteArray) -> void:
	if not heard.has("bytes"):
		heard["bytes"] = {}
	if not heard["bytes"].has(id):
		heard["bytes"][id] = []
	heard["bytes"][id].append(bytes[0])


func _tell_state() -> void:
	var nodes := {}
	for node in players.get_children():
		var at: Vector2 = node.position.snapped(Vector2(0.001, 0.001))
		nodes[node.name] = [at.x, at.y, node.hit_points, node.mood if _is_player(node) else 0]
	tell(
		"state",
		{
			"me": multiplayer.get_unique_id(),
			"peers": multiplayer.get_peers(),
			"nodes": nodes,
			"heard": heard,
			"blobs": blobs,
			"met": met,
			"gone": gone,
			"steps": steps,
			"is_still": walked_s > WALK_S + 0.5,
			"statistics": peer.statistics(),
			"names": peer.player_names,
		}
	)


func _leave() -> void:
	if is_over:
		return
	is_over = true
	tell("left")
	if not options.has("abrupt"):
		peer.close()
		multiplayer.multiplayer_peer = null
	get_tree().quit()


func _on_joined() -> void:
	tell("joined", {"code": peer.room_code, "me": multiplayer.get_unique_id()})
	if multiplayer.is_server() and options.get("role") != "host":
		_set_the_stage()


func _on_end(event: String) -> void:
	tell(event, {"text": peer.problem_text})
	if not options.has("again"):
		get_tree().quit()


func _on_peer_connected(id: int) -> void:
	met.append(id)
	tell("peer_connected", {"peer": id})
	if multiplayer.is_server() and not options.has("empty"):
		_spawn_player(id)


func _on_peer_disconnected(id: int) -> void:
	gone.append(id)
	tell("peer_disconnected", {"peer": id})
	if multiplayer.is_server() and players.has_node(str(id)):
		players.get_node(str(id)).queue_free()


func _on_peer_authenticating(id: int) -> void:
	tell("authenticating", {"peer": id})
	if not multiplayer.is_server():
		(multiplayer as SceneMultiplayer).send_auth(id, options["password"].to_utf8_buffer())


func _authenticate(id: int, data: PackedByteArray) -> void:
	var api := multiplayer as SceneMultiplayer
	if not multiplayer.is_server():
		api.complete_auth(id)
	elif data.get_string_from_utf8() == "right":
		api.send_auth(id, "welcome".to_utf8_buffer())
		api.complete_auth(id)
