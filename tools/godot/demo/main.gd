extends Node
## The demo: a title screen, a room, and the way between them.
##
## How the parts of the add-on are used: RelayClient joins, chats and sends pulses; the arena's
## RelaySpawner makes a figure for each player; the RelaySync in each figure shares where it is.

const Arena := preload("res://demo/arena.gd")
const Bot := preload("res://demo/bot.gd")
const Client := preload("res://addons/tickrelay/relay_client.gd")
const Hud := preload("res://demo/hud.gd")
const Launch := preload("res://demo/launch.gd")
const RelayText := preload("res://addons/tickrelay/relay_text.gd")
const Style := preload("res://demo/style.gd")
const Title := preload("res://demo/title.gd")

const _CHAT_CHANNEL := 0

## How we were started.
var launch: Launch = Launch.new()
@onready var client: Client = $RelayClient
@onready var arena: Arena = $Arena
@onready var hud: Hud = $Front/Hud
@onready var title: Title = $Front/Title


func _ready() -> void:
	arena.use(client)
	hud.use(client)
	hud.hide()
	title.player_name = launch.player_name
	title.address = launch.address
	title.port = launch.port
	title.code = launch.code
	client.joined.connect(_on_joined)
	client.join_refused.connect(_on_join_refused)
	client.disconnected.connect(_on_disconnected)
	client.player_joined.connect(_on_player_joined)
	client.player_left.connect(_on_player_left)
	client.message_received.connect(_on_message_received)
	title.entry_wanted.connect(_on_entry_wanted)
	hud.line_written.connect(say)
	hud.leave_wanted.connect(client.leave_room)
	if launch.is_bot:
		add_child(Bot.new())
	if launch.is_at_once:
		_on_entry_wanted()


func _process(_delta: float) -> void:
	var avatar := arena.own_avatar()
	if avatar != null and not launch.is_bot:
		avatar.wish = Vector2.ZERO if hud.is_writing() else _pressed_direction()


func _unhandled_key_input(event: InputEvent) -> void:
	if not client.is_joined() or not event.is_pressed() or event.is_echo():
		return
	match (event as InputEventKey).physical_keycode:
		KEY_ENTER, KEY_KP_ENTER:
			hud.start_writing()
		KEY_SPACE:
			arena.pulse()
		KEY_ESCAPE:
			client.leave_room()
		_:
			return
	get_viewport().set_input_as_handled()


## Says a line to all. It is shown when it comes back: so all see all lines in one order.
func say(text: String) -> void:
	client.send_message(
		text.left(Hud.MAX_LETTERS).to_utf8_buffer(),
		Client.Target.ALL,
		PackedInt32Array(),
		_CHAT_CHANNEL
	)


func _pressed_direction() -> Vector2:
	var result := Vector2.ZERO
	result.x += float(_is_pressed(KEY_D, KEY_RIGHT)) - float(_is_pressed(KEY_A, KEY_LEFT))
	result.y += float(_is_pressed(KEY_S, KEY_DOWN)) - float(_is_pressed(KEY_W, KEY_UP))
	return result.normalized()


func _is_pressed(key: Key, other_key: Key) -> bool:
	return Input.is_physical_key_pressed(key) or Input.is_physical_key_pressed(other_key)


func _on_entry_wanted() -> void:
	client.address = title.address
	client.port = title.port
	client.player_name = title.player_name
	arena.colour_index = title.colour_index
	title.show_status("Looking for the relay ...", false, true)
	match title.mode:
		Title.Mode.CREATE:
			client.create_room(title.code)
		Title.Mode.JOIN:
			client.join_room(title.code)
		_:
			client.join_or_create_room(title.code)


func _on_joined() -> void:
	title.code = client.room_code
	title.show_status("")
	title.hide()
	hud.show()
	get_viewport().gui_release_focus()


func _on_join_refused(_reason: int, text: String) -> void:
	title.show_status(text, true)


func _on_disconnected(_reason: int, text: String) -> void:
	hud.hide()
	title.show_status(text)
	title.show()


func _on_player_joined(player_id: int, player_name: String) -> void:
	if client.is_joined() and player_id != client.player_id:
		hud.add_line("", "%s is here" % player_name)


func _on_player_left(player_id: int, _reason: int) -> void:
	var avatar := arena.avatar_of(player_id)
	hud.add_line("", "%s left" % (avatar.player_name if avatar != null else "Somebody"))


func _on_message_received(sender: int, payload: PackedByteArray, channel: int, _kind: int) -> void:
	if channel != _CHAT_CHANNEL:
		return
	# Not get_string_from_utf8: it logs an error if a stranger sends what is no text.
	var text := RelayText.printable(RelayText.decode(payload)).left(Hud.MAX_LETTERS)
	var avatar := arena.avatar_of(sender)
	if avatar != null and not text.is_empty():
		avatar.say(text)
		hud.add_line(avatar.player_name, text, avatar.colour)
