extends RefCounted
## How the demo was started: options after "--", the project's settings, or the editor.
##
## [codeblock lang=text]
## godot --path tools/godot -- --code=DEN --name=Ada        straight into room DEN
## godot --headless --path tools/godot -- --bot             a player without a player
## [/codeblock]
## Options: --address, --port, --code, --name, --seconds (then quit), --bot, --play (into the room
## without the title screen), --title (with it, also from the editor). "--port 1" and "--port=1" are
## the same.

const Style := preload("res://demo/style.gd")

const _FLAGS: Array[String] = ["bot", "play", "title"]
const _SETTINGS := "tickrelay/demo/"

var address: String
var port: int
var code: String
var player_name: String
## Quit after so many seconds in the room; 0 = never.
var seconds := 0.0
var is_bot := false
## Whether to join or create the room at once.
var is_at_once := false


func _init() -> void:
	var options := _options(OS.get_cmdline_user_args())
	address = options.get("address", _setting("address", "127.0.0.1"))
	port = int(options.get("port", str(_setting("port", 24545))))
	code = options.get("code", _setting("room_code", "ARENA"))
	player_name = options.get("name", Style.NAMES.pick_random())
	seconds = float(options.get("seconds", "0"))
	is_bot = options.has("bot")
	# Pressing Play in the editor starts one to four of us: none should need typing.
	var is_from_editor: bool = EngineDebugger.is_active() and _setting("join_at_once", true)
	var is_asked: bool = is_bot or options.has("play") or options.has("code")
	is_at_once = (is_asked or is_from_editor) and not options.has("title")


static func _options(arguments: PackedStringArray) -> Dictionary:
	var result := {}
	var i := 0
	while i < arguments.size():
		var option := arguments[i].trim_prefix("--").get_slice("=", 0)
		i += 1
		if arguments[i - 1].contains("="):
			result[option] = arguments[i - 1].substr(arguments[i - 1].find("=") + 1)
		elif option in _FLAGS or i == arguments.size():
			result[option] = ""
		else:
			result[option] = arguments[i]
			i += 1
	return result


static func _setting(name: String, otherwise: Variant) -> Variant:
	return ProjectSettings.get_setting(_SETTINGS + name, otherwise)
