extends SceneTree
## What a game does to a RelayClient beside playing: it loads scenes, gives up, changes rooms, asks
## other relays. Options: port, slow_port (behind a slow line), closed_port (nobody listens).

const RelayAddress := preload("res://addons/tickrelay/relay_address.gd")
const RelayClient := preload("res://addons/tickrelay/relay_client.gd")
const RelayConnection := preload("res://addons/tickrelay/relay_connection.gd")

const _JOINING := RelayConnection.RelayPhase.JOINING
## Longer than both time-outs.
const LOADING_MS := 1600

var options := {}
var client: RelayClient = RelayClient.new()
var signals: Array[String] = []


func _initialize() -> void:
	Engine.max_fps = 60
	for argument in OS.get_cmdline_user_args():
		var parts := argument.trim_prefix("--").split("=")
		options[parts[0]] = int(parts[1])
	client.join_timeout_s = 1.0
	client.silence_timeout_s = 1.0
	client.joined.connect(func() -> void: signals.append("joined"))
	client.join_refused.connect(func(_r: int, _t: String) -> void: signals.append("join_refused"))
	client.disconnected.connect(func(_r: int, _t: String) -> void: signals.append("disconnected"))
	client.relay_unreachable.connect(
		func(_r: int, _t: String) -> void: signals.append("relay_unreachable")
	)
	_run.call_deferred()


func _run() -> void:
	root.add_child(client)
	await _tell("addresses", _addresses())
	client.address = "127.0.0.1:%d" % options.port
	await _load_scenes()
	await _ask_another()
	await _change_rooms()
	await _give_up()
	quit()


func _tell(event: String, values: Variant = null) -> void:
	print("@", JSON.stringify({"event": event, "values": values, "signals": signals}))
	signals.clear()
	await process_frame


func _wait(condition: Callable) -> void:
	var end := Time.get_ticks_msec() + 5000
	while not condition.call() and Time.get_ticks_msec() < end:
		await process_frame


func _addresses() -> Array:
	var found := []
	for text: String in [
		" relay.example.org ",
		"relay.example.org:7000",
		"::1",
		"[::1]",
		"[::1]:7000",
		"10.0.0.1:99999",
		"host:port",
	]:
		var parsed := RelayAddress.new(text, 24545)
		found.append([parsed.host, parsed.port])
	return found


## Scenes are loaded right after the call to join, and in the room.
func _load_scenes() -> void:
	client.join_or_create_room("LOBBY")
	OS.delay_msec(LOADING_MS)
	await _wait(func() -> bool: return client.is_joined())
	await create_timer(0.3).timeout
	OS.delay_msec(LOADING_MS)
	await create_timer(0.3).timeout
	await _tell("loaded", client.is_joined())


func _ask_another() -> void:
	client.connect_to_relay("127.0.0.1", options.closed_port)
	await _wait(func() -> bool: return not signals.is_empty())
	await _tell("asked", [client.is_joined(), client.address.ends_with(str(options.port))])


## A handler of disconnected enters a room while the game enters another one.
func _change_rooms() -> void:
	client.disconnected.connect(
		func(_r: int, _t: String) -> void: client.join_or_create_room("REFUGE"), CONNECT_ONE_SHOT
	)
	client.join_or_create_room("no code at all")
	await _wait(func() -> bool: return client.is_joined())
	await create_timer(0.5).timeout
	await _tell("changed", client.room_code)
	client.leave_room()


## A player cancels while WELCOME is under way.
func _give_up() -> void:
	await create_timer(0.2).timeout
	signals.clear()
	client.address = "127.0.0.1:%d" % options.slow_port
	client.join_timeout_s = 5.0
	client.join_or_create_room("GHOST")
	# JOIN leaves after 0.6 s, and WELCOME is here after 1.2 s.
	await _wait(func() -> bool: return client._visitor.visit.connection.state() == _JOINING)
	client.leave_room()
	await create_timer(2.0).timeout
	await _tell("given_up", client.status)
