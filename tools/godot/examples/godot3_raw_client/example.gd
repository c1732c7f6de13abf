extends Node
# Joins a room, publishes where it is, and prints what the others say. Arguments for a run without
# the editor: --address=... --port=... --code=... --name=... --seconds=...

const RelayRawClient = preload("relay_raw_client.gd")

var client = RelayRawClient.new()
var options = {
	"address": "127.0.0.1", "port": "24545", "code": "LOBBY", "name": "Godot 3", "seconds": "0"
}
var frames = 0


func _ready():
	for argument in OS.get_cmdline_args():
		var parts = argument.split("=")
		if parts.size() == 2:
			options[parts[0].trim_prefix("--")] = parts[1]
	client.connect("joined", self, "_on_joined")
	client.connect("failed", self, "_on_failed")
	client.connect("state_received", self, "_on_state_received")
	client.connect("entity_removed", self, "_on_entity_removed")
	client.start(options.address, int(options.port), options.code, options.name)


func _process(_delta):
	client.poll()
	frames += 1
	if client.is_joined():
		var state = StreamPeerBuffer.new()
		state.put_float(sin(frames * 0.01))
		state.put_32(frames)
		client.publish_state(state.data_array)
	if float(options.seconds) > 0 and OS.get_ticks_msec() > float(options.seconds) * 1000:
		client.leave()
		get_tree().quit()


func _on_joined(player_id, code):
	print("joined ", code, " as player ", player_id)


func _on_failed(text):
	print("failed: ", text)
	get_tree().quit(1)


func _on_state_received(entity_id, state):
	print("state of entity ", entity_id, ": ", state.hex_encode())


func _on_entity_removed(entity_id):
	print("entity ", entity_id, " is gone")
