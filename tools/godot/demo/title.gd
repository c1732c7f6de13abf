extends Control
## The title screen: who we are, which relay, which room.

## The player wants to enter a room; [member mode] says how.
signal entry_wanted

enum Mode { CREATE, JOIN, JOIN_OR_CREATE }

const Style := preload("res://demo/style.gd")

const _WIDTH := 400.0
const _NAME_LETTERS := 16

## Which of Style.PLAYERS the player wants; -1 = by player id.
var colour_index := -1
## How the player wants to enter.
var mode := Mode.JOIN_OR_CREATE
var player_name: String:
	get:
		return _name.text.strip_edges()
	set(value):
		_name.text = value
var address: String:
	get:
		return _address.text.strip_edges()
	set(value):
		_address.text = value
var port: int:
	get:
		return clampi(_port.text.to_int(), 1, 65535)
	set(value):
		_port.text = str(value)
var code: String:
	get:
		return _code.text.strip_edges()
	set(value):
		_code.text = value

var _name := LineEdit.new()
var _address := LineEdit.new()
var _port := LineEdit.new()
var _code := LineEdit.new()
var _status := Style.label("", 15, Style.QUIET)
var _buttons: Array[Button] = []
var _swatches: Array[Button] = []


func _ready() -> void:
	theme = Style.theme()
	var shade := ColorRect.new()
	shade.color = Color(Style.NIGHT, 0.8)
	shade.set_anchors_preset(PRESET_FULL_RECT)
	add_child(shade)
	var centre := CenterContainer.new()
	centre.set_anchors_preset(PRESET_FULL_RECT)
	add_child(centre)
	var panel := PanelContainer.new()
	panel.custom_minimum_size.x = _WIDTH
	centre.add_child(panel)
	var column := VBoxContainer.new()
	column.add_theme_constant_override("separation", 10)
	panel.add_child(column)
	_fill(column)


## Says how it goes; [param is_problem]: why it went wrong. While [param is_busy] nothing can be
## pressed.
func show_status(text: String, is_problem: bool = false, is_busy: bool = false) -> void:
	_status.text = text
	_status.add_theme_color_override("font_color", Style.WARM if is_problem else Style.QUIET)
	for button in _buttons:
		button.disabled = is_busy


func _fill(column: VBoxContainer) -> void:
	var heading := Style.label("tickrelay arena", 32, Style.ACCENT)
	heading.horizontal_alignment = HORIZONTAL_ALIGNMENT_CENTER
	column.add_child(heading)
	var motto := Style.label("one relay, one room, no server code", 15, Style.QUIET)
	motto.horizontal_alignment = HORIZONTAL_ALIGNMENT_CENTER
	column.add_child(motto)
	_name.max_length = _NAME_LETTERS
	_code.max_length = 16
	_code.placeholder_text = "letters, digits and -"
	_code.text_submitted.connect(func(_text: String) -> void: _want(Mode.JOIN_OR_CREATE))
	_port.custom_minimum_size.x = 84.0
	_add_row(column, "Name", [_name])
	_add_swatches(column)
	_add_row(column, "Relay", [_address, _port])
	_add_row(column, "Room", [_code])
	var row := HBoxContainer.new()
	row.add_theme_constant_override("separation", 10)
	column.add_child(row)
	_add_button(row, "Create", Mode.CREATE)
	_add_button(row, "Join", Mode.JOIN)
	_add_button(row, "Play", Mode.JOIN_OR_CREATE)
	_buttons[2].tooltip_text = "Join the room; create it if there is none"
	_status.autowrap_mode = TextServer.AUTOWRAP_WORD_SMART
	_status.custom_minimum_size.y = 66.0
	column.add_child(_status)


func _add_row(column: VBoxContainer, text: String, fields: Array[LineEdit]) -> void:
	var row := _captioned(column, text)
	for field in fields:
		row.add_child(field)
	fields[0].size_flags_horizontal = SIZE_EXPAND_FILL


func _add_swatches(column: VBoxContainer) -> void:
	var row := _captioned(column, "Colour")
	for i in Style.PLAYERS.size():
		var swatch := Button.new()
		swatch.custom_minimum_size = Vector2(28.0, 28.0)
		swatch.size_flags_horizontal = SIZE_EXPAND_FILL
		swatch.pressed.connect(_choose_colour.bind(i))
		row.add_child(swatch)
		_swatches.append(swatch)
	_choose_colour(colour_index)


func _choose_colour(index: int) -> void:
	colour_index = index
	for i in _swatches.size():
		var colour := Style.PLAYERS[i]
		var box := Style.box(colour, Style.TEXT if i == index else colour.darkened(0.4), 4)
		box.set_border_width_all(3 if i == index else 1)
		for state: String in ["normal", "hover", "pressed"]:
			_swatches[i].add_theme_stylebox_override(state, box)


func _captioned(column: VBoxContainer, text: String) -> HBoxContainer:
	var row := HBoxContainer.new()
	row.add_theme_constant_override("separation", 10)
	var caption := Style.label(text, 16, Style.QUIET)
	caption.custom_minimum_size.x = 56.0
	row.add_child(caption)
	column.add_child(row)
	return row


func _add_button(row: HBoxContainer, text: String, wanted: Mode) -> void:
	var button := Button.new()
	button.text = text
	button.size_flags_horizontal = SIZE_EXPAND_FILL
	button.pressed.connect(_want.bind(wanted))
	row.add_child(button)
	_buttons.append(button)


func _want(wanted: Mode) -> void:
	if _buttons[0].disabled:
		return
	mode = wanted
	entry_wanted.emit()
