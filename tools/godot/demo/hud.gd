extends Control
## What lies over the arena: room, players, ping and loss above; the chat below.

## The player has written a line.
signal line_written(text: String)
## The player wants to leave the room.
signal leave_wanted

const Client := preload("res://addons/tickrelay/relay_client.gd")
const Style := preload("res://demo/style.gd")

const MAX_LETTERS := 100
const _LINES := 4
const _LINE_S := 12.0
const _MS := 1000.0
const _PERCENT := 100.0

var _client: Client
var _room := Style.label("", 16, Style.ACCENT)
var _players := Style.label("", 16, Style.TEXT)
var _network := Style.label("", 15, Style.QUIET)
var _lines := VBoxContainer.new()
var _input := LineEdit.new()


func _ready() -> void:
	theme = Style.theme()
	var top := HBoxContainer.new()
	top.set_anchors_and_offsets_preset(PRESET_TOP_WIDE, PRESET_MODE_MINSIZE, 0)
	top.offset_left = 26.0
	top.offset_right = -26.0
	top.offset_top = 8.0
	top.add_theme_constant_override("separation", 18)
	add_child(top)
	var leave := Button.new()
	leave.text = "Leave"
	leave.focus_mode = FOCUS_NONE
	leave.pressed.connect(func() -> void: leave_wanted.emit())
	_players.size_flags_horizontal = SIZE_EXPAND_FILL
	_players.clip_text = true
	for part: Control in [_room, _players, _network, leave]:
		top.add_child(part)
	_add_chat()


## Tells of which client this is shown.
func use(client: Client) -> void:
	_client = client


## Whether the player is writing: then keys do not move the figure.
func is_writing() -> bool:
	return _input.has_focus()


## Begins a line.
func start_writing() -> void:
	_input.grab_focus()


## Adds a line to the chat: what a player said, or with [param speaker] "" what happened.
func add_line(speaker: String, text: String, colour: Color = Style.QUIET) -> void:
	var line := HBoxContainer.new()
	line.mouse_filter = MOUSE_FILTER_IGNORE
	if not speaker.is_empty():
		line.add_child(_outlined(speaker, colour))
	line.add_child(_outlined(text, colour if speaker.is_empty() else Style.TEXT))
	_lines.add_child(line)
	if _lines.get_child_count() > _LINES:
		_lines.get_child(0).free()
	get_tree().create_timer(_LINE_S).timeout.connect(line.queue_free)


func _process(_delta: float) -> void:
	if not visible or _client == null or not _client.is_joined():
		return
	_room.text = "Room %s" % _client.room_code
	_players.text = ", ".join(_client.players.values())
	_network.text = (
		"ping %d ms   loss %d %% down, %d %% up"
		% [
			maxf(_client.round_trip_s, 0.0) * _MS,
			roundi(_client.loss_down * _PERCENT),
			roundi(_client.loss_up * _PERCENT),
		]
	)


func _outlined(text: String, colour: Color) -> Label:
	var result := Style.label(text, 15, colour)
	result.add_theme_constant_override("outline_size", 5)
	result.add_theme_color_override("font_outline_color", Style.NIGHT)
	return result


func _add_chat() -> void:
	var bottom := VBoxContainer.new()
	bottom.set_anchors_preset(PRESET_BOTTOM_WIDE)
	bottom.grow_vertical = GROW_DIRECTION_BEGIN
	bottom.offset_left = 26.0
	bottom.offset_right = -26.0
	bottom.offset_bottom = -10.0
	bottom.mouse_filter = MOUSE_FILTER_IGNORE
	add_child(bottom)
	_lines.mouse_filter = MOUSE_FILTER_IGNORE
	bottom.add_theme_constant_override("separation", 18)
	bottom.add_child(_lines)
	_input.placeholder_text = "Enter: say something     WASD or arrows: move     Space: pulse"
	_input.max_length = MAX_LETTERS
	_input.text_submitted.connect(_on_text_submitted)
	bottom.add_child(_input)


func _on_text_submitted(text: String) -> void:
	_input.clear()
	_input.release_focus()
	if not text.strip_edges().is_empty():
		line_written.emit(text.strip_edges())
