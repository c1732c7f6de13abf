extends SceneTree
## One of three processes that measure round trips of calls: `python -m tools.bench.rpc`.
##
## Each has two multiplayer APIs: below Relay a [RelayMultiplayerPeer], below Enet an
## [ENetMultiplayerPeer]. The one with --role=server serves both; of the two clients the one with
## --role=caller calls, one call at a time, in turn: the other client over the relay, the other
## client by way of the ENet server, and the ENet server itself.
## [br][br]
## All run at 60 frames a second, so a round trip is some frames, and how many depends on how the
## frames of the processes lie to each other. After every few calls the answering processes move
## theirs by a random time; else one run would measure one such accident.

const RelayPeer := preload("res://addons/tickrelay/relay_multiplayer_peer.gd")
const Calls := preload("rpc_calls.gd")

const FPS := 60
const KINDS := [
	["relay", "reliable"],
	["enet, by the server", "reliable"],
	["enet, the server itself", "reliable"],
	["relay", "unreliable"],
	["enet, by the server", "unreliable"],
	["enet, the server itself", "unreliable"],
]
## Calls after which frames are moved: each kind twice.
const MOVE_EVERY := 12
const TIMEOUT_S := 1.0
## Frames of the others stand still while they move; nobody calls then.
const PAUSE_USEC := 200_000

var options := {}
var relay: Calls = Calls.new()
var enet: Calls = Calls.new()
var started_usec := 0
var number := 0
var num_lost := 0
var is_waiting := false
var moved_usec := -PAUSE_USEC
var trips_usec := {}  # kind -> of each call
var partner := {}  # the other client: name of the API -> peer id


func _initialize() -> void:
	Engine.max_fps = FPS
	for argument in OS.get_cmdline_user_args():
		var parts := argument.trim_prefix("--").split("=")
		options[parts[0]] = parts[1] if parts.size() > 1 else "1"
	_set_up.call_deferred()


func _set_up() -> void:
	relay.name = "Relay"
	enet.name = "Enet"
	for calls: Calls in [relay, enet]:
		root.add_child(calls)
		set_multiplayer(SceneMultiplayer.new(), calls.get_path())
		calls.answered.connect(_on_answered)
		calls.met.connect(_on_met)
	relay.multiplayer.multiplayer_peer = _relay_peer()
	enet.multiplayer.multiplayer_peer = _enet_peer()


func _relay_peer() -> MultiplayerPeer:
	var peer := RelayPeer.new()
	peer.join_timeout_s = 20.0
	var address := "127.0.0.1:" + str(options["relay_port"])
	if options["role"] == "server":
		peer.create_host(address, "BENCH")
	else:
		peer.join(address, "BENCH")
	peer.joined.connect(func() -> void: print("@joined"))
	return peer


func _enet_peer() -> MultiplayerPeer:
	var peer := ENetMultiplayerPeer.new()
	if options["role"] == "server":
		peer.create_server(int(options["enet_port"]))
	else:
		peer.create_client("127.0.0.1", int(options["enet_port"]))
	return peer


func _process(_delta: float) -> bool:
	if options["role"] != "caller":
		return FileAccess.file_exists(options["stop"])
	if is_waiting and Time.get_ticks_usec() - started_usec > TIMEOUT_S * 1e6:
		num_lost += 1
		is_waiting = false
	if not is_waiting:
		if partner.size() < 2:
			for calls: Calls in [relay, enet]:
				calls.introduce_to_others()
			return false
		if number >= int(options["calls"]) * KINDS.size():
			_report()
			return true
		if number % MOVE_EVERY == 0 and moved_usec < 0:
			_move()
		elif Time.get_ticks_usec() - moved_usec > PAUSE_USEC:
			_call_next()
	return false


func _move() -> void:
	enet.move.rpc_id(1)
	enet.move.rpc_id(partner["Enet"])
	moved_usec = Time.get_ticks_usec()


func _call_next() -> void:
	var kind: Array = KINDS[number % KINDS.size()]
	var calls := relay if kind[0] == "relay" else enet
	var to: int = 1 if kind[0].ends_with("itself") else partner[str(calls.name)]
	number += 1
	if number % MOVE_EVERY == 0:
		moved_usec = -PAUSE_USEC
	is_waiting = true
	started_usec = Time.get_ticks_usec()
	if kind[1] == "reliable":
		calls.ask_reliably.rpc_id(to, number)
	else:
		calls.ask_unreliably.rpc_id(to, number)


func _on_met(calls: Calls, id: int) -> void:
	if id != 1:
		partner[str(calls.name)] = id


func _on_answered(answer: int) -> void:
	if answer != number or not is_waiting:
		return
	is_waiting = false
	var kind := ", ".join(KINDS[(number - 1) % KINDS.size()])
	if not trips_usec.has(kind):
		trips_usec[kind] = []
	trips_usec[kind].append(Time.get_ticks_usec() - started_usec)


func _report() -> void:
	print("@", JSON.stringify({"trips_usec": trips_usec, "lost": num_lost}))
