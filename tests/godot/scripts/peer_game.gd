extends SceneTree
## Starts a game for tests of RelayMultiplayerPeer (or ENet); peer_arena.gd is the game.

const Arena := preload("peer_arena.gd")


func _initialize() -> void:
	Engine.max_fps = 60
	var options := {}
	for argument in OS.get_cmdline_user_args():
		var parts := argument.trim_prefix("--").split("=")
		options[parts[0]] = parts[1] if parts.size() > 1 else "1"
	var arena := Arena.new()
	arena.name = "Arena"
	arena.options = options
	root.add_child.call_deferred(arena)
