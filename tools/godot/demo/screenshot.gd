extends SceneTree
## Takes the picture in the README: runs the demo for a while, saves what its window shows, quits.
##
## Run by screenshot.sh. Options: those of the demo, and --to=FILE and --after=SECONDS.

const Avatar := preload("res://demo/avatar.gd")

const _SAY := "two of us are bots"
const _SAY_BEFORE_S := 1.2
const _MOVE_BEFORE_S := 1.0


func _initialize() -> void:
	_run.call_deferred()


func _run() -> void:
	var options := {}
	for argument in OS.get_cmdline_user_args():
		var option := argument.trim_prefix("--").split("=", true, 1)
		options[option[0]] = option[1] if option.size() > 1 else ""
	var main: Node = load("res://demo/main.tscn").instantiate()
	root.add_child(main)
	await create_timer(float(options.get("after", "6")) - _SAY_BEFORE_S).timeout
	main.say(_SAY)
	await create_timer(_SAY_BEFORE_S).timeout
	await RenderingServer.frame_post_draw
	var is_in_room: bool = main.client.is_joined() and main.client.players.size() > 1
	var error := root.get_texture().get_image().save_png(options["to"])
	main.client.leave_room()
	await create_timer(0.2).timeout
	if not is_in_room:
		push_error("no picture of a game: not in a room with others")
	quit(0 if error == OK and is_in_room else 1)
