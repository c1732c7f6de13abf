extends SceneTree
## Who gives up while WELCOME is under way, in all the ways that a game has. Options: --port=N
## (behind a slow line), --how=NAME of a function below, --thread.

const Connection := preload("res://addons/tickrelay/relay_connection.gd")
const RelayClient := preload("res://addons/tickrelay/relay_client.gd")
const RelayMultiplayerPeer := preload("res://addons/tickrelay/relay_multiplayer_peer.gd")

## Longer than WELCOME is under way, and BYE back.
const PATIENCE_S := 1.0

var port := 0
var is_threaded := false
var client: RelayClient
var api: SceneMultiplayer


func _initialize() -> void:
	Engine.max_fps = 60
	var how := ""
	for argument in OS.get_cmdline_user_args():
		var parts := argument.trim_prefix("--").split("=")
		match parts[0]:
			"port":
				port = int(parts[1])
			"how":
				how = parts[1]
			"thread":
				is_threaded = true
	call.call_deferred("_run", how)


func _run(how: String) -> void:
	if how.begins_with("node"):
		await _join_by_node()
	else:
		await _join_by_peer()
	call(how)
	if not how.ends_with("quits"):
		await create_timer(PATIENCE_S).timeout
	print("@", JSON.stringify({"event": "given_up"}))
	quit()


func _join_by_node() -> void:
	client = RelayClient.new()
	client.address = "127.0.0.1:%d" % port
	client.read_in_thread = is_threaded
	root.add_child(client)
	client.join_or_create_room("GHOST")
	await _until_asked(client._visitor.visit.connection)


func _join_by_peer() -> void:
	var peer := RelayMultiplayerPeer.new()
	peer.read_in_thread = is_threaded
	peer.join_or_create("127.0.0.1:%d" % port, "GHOST")
	api = SceneMultiplayer.new()
	api.multiplayer_peer = peer
	set_multiplayer(api)
	await _until_asked(peer._visit.connection)


## Waits until JOIN has left: in the frame in which CHALLENGE came.
func _until_asked(connection: Connection) -> void:
	while connection.state() != Connection.RelayPhase.JOINING:
		await process_frame
	await process_frame


func node_leaves() -> void:
	client.leave_room()


func node_is_freed() -> void:
	client.queue_free()


func node_quits() -> void:
	pass


func peer_closes() -> void:
	api.multiplayer_peer.close()


func peer_is_dropped() -> void:
	api.multiplayer_peer = null


func peer_closes_and_quits() -> void:
	api.multiplayer_peer.close()


func peer_quits() -> void:
	pass
