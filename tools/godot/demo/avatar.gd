extends Node2D
## A figure. RelaySync shares where it is, where it looks, and its colour; the rest is drawing.

const Field := preload("res://demo/field.gd")
const Style := preload("res://demo/style.gd")
const Sync := preload("res://addons/tickrelay/relay_sync.gd")

const RADIUS := 18.0
const _SPEED := 260.0
## How fast it gets to that speed, and turns, per second.
const _GRIP := 9.0
const _PULSE_S := 0.6
const _PULSE_RADIUS := 90.0
const _SPEECH_S := 5.0
const _NAME_SIZE := 14
const _SPEECH_SIZE := 15
const _SPEECH_WIDTH := 220.0

## Set by the RelaySpawner.
var player_id := -1
## Set by the RelaySpawner.
var player_name := ""
## Shared.
var colour := Style.QUIET
## Where our own figure wants to go, at most 1 long.
var wish := Vector2.ZERO
## Longest way that it has been seen to move, pixels; for the bot's report.
var way := 0.0
var _velocity := Vector2.ZERO
var _speech := ""
var _speech_left_s := 0.0
var _pulse_left_s := 0.0
var _last_position := Vector2.INF
@onready var _sync: Sync = $RelaySync


func _process(delta: float) -> void:
	if _sync.is_local():
		_walk(delta)
	elif visible and _last_position != Vector2.INF:
		way += position.distance_to(_last_position)
	_last_position = position if visible else Vector2.INF
	_speech_left_s = maxf(_speech_left_s - delta, 0.0)
	_pulse_left_s = maxf(_pulse_left_s - delta, 0.0)
	queue_redraw()


## Shows what its player says.
func say(text: String) -> void:
	_speech = text
	_speech_left_s = _SPEECH_S


## Shows a ring. Returns false if the last one is still there.
func pulse() -> bool:
	if _pulse_left_s > 0.0:
		return false
	_pulse_left_s = _PULSE_S
	return true


func _walk(delta: float) -> void:
	_velocity = _velocity.lerp(wish.limit_length() * _SPEED, 1.0 - exp(-_GRIP * delta))
	position = Field.nearest_free(position + _velocity * delta, RADIUS)
	if wish != Vector2.ZERO:
		rotation = rotate_toward(rotation, wish.angle(), delta * _GRIP * 2.0)


func _draw() -> void:
	var upright := Transform2D(-rotation, Vector2.ZERO)
	draw_set_transform_matrix(upright)
	draw_circle(Vector2(0.0, 6.0), RADIUS, Color(0.0, 0.0, 0.0, 0.35))
	if _pulse_left_s > 0.0:
		var age := 1.0 - _pulse_left_s / _PULSE_S
		var ring := Color(colour, 1.0 - age)
		draw_arc(Vector2.ZERO, lerpf(RADIUS, _PULSE_RADIUS, age), 0.0, TAU, 48, ring, 4.0, true)
	draw_set_transform_matrix(Transform2D.IDENTITY)
	draw_colored_polygon(
		PackedVector2Array([Vector2(8, -11), Vector2(RADIUS + 9, 0), Vector2(8, 11)]), colour
	)
	draw_circle(Vector2.ZERO, RADIUS, colour)
	draw_circle(Vector2.ZERO, RADIUS - 4.0, colour.darkened(0.18))
	draw_circle(Vector2(7, -6), 4.0, Style.TEXT)
	draw_circle(Vector2(7, 6), 4.0, Style.TEXT)
	draw_circle(Vector2(8.5, -6), 2.0, Style.NIGHT)
	draw_circle(Vector2(8.5, 6), 2.0, Style.NIGHT)
	draw_set_transform_matrix(upright)
	_draw_name()
	if _speech_left_s > 0.0:
		_draw_speech(minf(_speech_left_s, 1.0))


func _draw_name() -> void:
	var font := ThemeDB.fallback_font
	var width := font.get_string_size(player_name, HORIZONTAL_ALIGNMENT_LEFT, -1, _NAME_SIZE).x
	var at := Vector2(-width / 2, RADIUS + 21.0)
	draw_string_outline(
		font, at, player_name, HORIZONTAL_ALIGNMENT_LEFT, -1, _NAME_SIZE, 5, Style.NIGHT
	)
	var ink := Style.TEXT if _sync.is_local() else Style.QUIET.lightened(0.3)
	draw_string(font, at, player_name, HORIZONTAL_ALIGNMENT_LEFT, -1, _NAME_SIZE, ink)


func _draw_speech(opacity: float) -> void:
	var font := ThemeDB.fallback_font
	var size := font.get_multiline_string_size(
		_speech, HORIZONTAL_ALIGNMENT_LEFT, _SPEECH_WIDTH, _SPEECH_SIZE
	)
	var frame := Rect2(Vector2(-size.x / 2, -RADIUS - 18.0 - size.y), size).grow(7.0)
	draw_style_box(Style.box(Color(Style.TEXT, opacity), Color(0, 0, 0, 0), 0), frame)
	var foot := Vector2(0.0, frame.end.y)
	draw_colored_polygon(
		PackedVector2Array([foot + Vector2(-6, -1), foot + Vector2(6, -1), foot + Vector2(0, 8)]),
		Color(Style.TEXT, opacity)
	)
	draw_multiline_string(
		font,
		frame.position + Vector2(7.0, 7.0 + font.get_ascent(_SPEECH_SIZE)),
		_speech,
		HORIZONTAL_ALIGNMENT_LEFT,
		_SPEECH_WIDTH,
		_SPEECH_SIZE,
		-1,
		Color(Style.NIGHT, opacity)
	)
