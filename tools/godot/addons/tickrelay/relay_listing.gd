extends RefCounted
## From the first HELLO to the last page of a list of rooms (SPEC 4, Finding): one question.
##
## HELLO brings a cookie, LIST with it a page, and each page the next, until there are no more.

const RelayHandshake := preload("relay_handshake.gd")
const RelayLabels := preload("relay_labels.gd")
const RelayLine := preload("relay_line.gd")
const RelayListedRoomScript := preload("relay_listed_room.gd")
const RelayText := preload("relay_text.gd")
const RelayValues := preload("relay_values.gd")
const RelayWire := preload("generated_wire.gd")

## No answer in time, or no socket to ask with.
const NO_ANSWER := 256
## Rooms after which we ask for no more pages (chosen).
const MAX_ROOMS := 1000
## Pages, also empty ones, after which we ask for no more: a relay must not keep us busy for ever.
const MAX_PAGES := 10_000
## LIST without an answer before HELLO is sent again (SPEC 4).
const MAX_LISTS := 3

var line: RelayLine
## Rooms that suit, opened first before the others.
var rooms: Array[RelayListedRoomScript] = []
## Rooms of the game that are listed, whether or not they suit.
var num_listed := 0
## Where the relay is, in its own words.
var region := ""
## Why there will be no list; "" while there may be one.
var problem := ""
## Which problem that is: of the relay, or as a RelayClient.Problem.
var reason := NO_ANSWER
var _wish: RelayWish
var _nonce: int
var _challenge: RelayWire.RelayChallenge
var _is_done := false
var _after := 0
var _num_pages := 0
var _num_sent := 0
var _sent_at := -INF
var _next_at: float
var _deadline_s: float
var _deadline_at: float


func _init(host: String, port: int, wish: RelayWish, nonce: int, now: float) -> void:
	line = RelayLine.new(host, port, false)
	_wish = wish
	_nonce = nonce
	_next_at = now
	_deadline_s = wish.deadline_s
	_deadline_at = now + wish.deadline_s


## There will be no list.
func fail(for_reason: int, text: String) -> void:
	reason = for_reason
	problem = text


## Reads and sends. Returns whether it is over: then there is a list or a problem.
func poll(now: float) -> bool:
	if _is_over():
		return true
	if line.is_open():
		line.receive(_receive)
		if not _is_over() and now >= _next_at:
			line.send([_build(now)])
	elif not line.problem.is_empty():
		problem = line.problem
	if not _is_over() and now >= _deadline_at:
		problem = line.silence_text(_deadline_s, _challenge != null)
	return _is_over()


func _is_over() -> bool:
	return _is_done or not problem.is_empty()


func _build(now: float) -> PackedByteArray:
	if _challenge != null and _num_sent == MAX_LISTS:  # its cookies may be gone with the relay
		_challenge = null
		_num_sent = 0
	var wait_s: float = RelayHandshake.RETRY_AFTER_S[mini(
		_num_sent, RelayHandshake.RETRY_AFTER_S.size() - 1
	)]
	_num_sent += 1
	_sent_at = now
	_next_at = now + wait_s
	if _challenge == null:
		return RelayHandshake.build_hello(_nonce, 0, _wish.client_name, "")
	var fields := RelayWire.RelayListFields.new()
	fields.kind = RelayWire.Kind.LIST
	fields.nonce = _nonce
	fields.cookie = _challenge.cookie
	fields.revision = _challenge.revision
	fields.features = _challenge.features & RelayHandshake.FEATURES
	fields.after = _after
	fields.flags = RelayWire.ListFlag.OPEN_ONLY if _wish.only_open else 0
	var data := fields.encode()
	RelayLabels.add_option(data, RelayWire.Option.GAME, _wish.game.to_utf8_buffer())
	RelayLabels.add_option(data, RelayWire.Option.GAME_VERSION, _wish.version.to_utf8_buffer())
	RelayLabels.add_option(data, RelayWire.Option.TAGS, RelayLabels.encode_texts(_wish.tags))
	var properties := RelayLabels.encode_properties(_wish.properties)
	RelayLabels.add_option(data, RelayWire.Option.PROPERTIES, properties)
	return data


## Takes a datagram. Returns whether it is an answer to us.
func _receive(data: PackedByteArray, arrived_at: float) -> bool:
	if data.is_empty() or _is_over():
		return false
	match data[0]:
		RelayWire.Kind.CHALLENGE:
			return _take_challenge(RelayWire.RelayChallenge.decode(data), arrived_at)
		RelayWire.Kind.REFUSE:
			return _take_refusal(RelayWire.RelayRefuse.decode(data))
		RelayWire.Kind.ROOMS:
			return _take_page(data, RelayWire.RelayRoomsFields.decode(data), arrived_at)
	return false


func _take_challenge(value: RelayWire.RelayChallenge, now: float) -> bool:
	if value == null or value.nonce != _nonce:
		return false
	if value.revision < RelayWire.REVISION_MIN or value.revision > RelayWire.REVISION_MAX:
		return false
	# one that challenges for ever gets no more than 20 a second
	var soonest := _sent_at + RelayHandshake.JOIN_INTERVAL_S
	_next_at = now if _challenge == null else maxf(now, soonest)
	_challenge = value
	_num_sent = 0
	return true


func _take_refusal(value: RelayWire.RelayRefuse) -> bool:
	if value == null or value.nonce != _nonce:
		return false
	var text := RelayText.printable(RelayText.decode(value.text))
	fail(value.reason, text if not text.is_empty() else "The relay refuses to list rooms.")
	return true


func _take_page(data: PackedByteArray, fields: RelayWire.RelayRoomsFields, now: float) -> bool:
	if fields == null or fields.nonce != _nonce or _challenge == null or fields.after != _after:
		return false
	var reader := RelayReader.new(data, RelayWire.RelayRoomsFields.SIZE)
	region = reader.text()
	var page: Array[RelayListedRoomScript] = []
	while reader.is_good and not reader.is_at_end():
		page.append(_read_room(reader))
	if not reader.is_good or (fields.next > 0 and fields.next <= _after):
		return false
	rooms.append_array(page)
	num_listed = fields.num_listed
	_num_pages += 1
	_deadline_at = now + _deadline_s
	_after = fields.next
	_next_at = now
	_num_sent = 0
	_is_done = fields.next == 0 or rooms.size() >= MAX_ROOMS or _num_pages >= MAX_PAGES
	return true


## Reads one room of a page; the reader knows whether it was one.
func _read_room(reader: RelayReader) -> RelayListedRoomScript:
	var room := RelayListedRoomScript.new()
	var bytes := reader.take(RelayWire.RelayListedRoomFields.SIZE)
	if not reader.is_good:
		return room
	var fields := RelayWire.RelayListedRoomFields.decode(bytes)
	room.code = RelayText.decode(RelayText.unpadded(fields.code))
	reader.is_good = RelayText.is_code(room.code)
	room.num_players = fields.players
	room.max_players = fields.max_players
	room.is_locked = fields.flags & RelayWire.ListedFlag.LOCKED != 0
	room.has_password = fields.flags & RelayWire.ListedFlag.PASSWORD != 0
	room.room_name = reader.text()
	room.version = reader.text()
	var tags := reader.inner(reader.number(1))
	while tags.is_good and not tags.is_at_end():
		room.tags.append(tags.text())
	var shown := reader.inner(reader.number(2))
	while shown.is_good and not shown.is_at_end():
		_read_property(shown, room.properties)
	reader.is_good = reader.is_good and tags.is_good and shown.is_good
	return room


func _read_property(reader: RelayReader, properties: Dictionary) -> void:
	var key := RelayValues.decode_key(reader.counted())
	var type := reader.number(1)
	var value: Variant = RelayValues.decode(type, reader.counted())
	if reader.is_good and not key.is_empty() and not value is StringName and value != null:
		properties[key] = value


## What is looked for.
class RelayWish:
	extends RefCounted
	var game := ""
	## Empty: any.
	var version := ""
	## All of these.
	var tags := PackedStringArray()
	## Key -> value; all of these.
	var properties := {}
	var only_open := false
	## Seconds without a page after which there is no list.
	var deadline_s := 5.0
	var client_name := "tickrelay-godot"

	## Tells whether it can be asked for.
	func is_good() -> bool:
		return (
			RelayLabels.is_label(game, RelayWire.GAME_BYTES)
			and RelayLabels.is_label(version, RelayWire.GAME_VERSION_BYTES)
			and RelayLabels.are_labels(tags, RelayWire.MAX_TAGS, RelayWire.TAG_BYTES)
			and RelayLabels.are_properties(properties)
		)


## Reads bytes from the front to the end, and notes when they are too few.
class RelayReader:
	extends RefCounted
	var is_good := true
	var _data: PackedByteArray
	var _at: int

	func _init(data: PackedByteArray, at: int) -> void:
		_data = data
		_at = at

	func is_at_end() -> bool:
		return _at >= _data.size()

	## So many bytes; none, and not good any more, if there are fewer.
	func take(count: int) -> PackedByteArray:
		is_good = is_good and _at + count <= _data.size()
		if not is_good:
			return PackedByteArray()
		_at += count
		return _data.slice(_at - count, _at)

	## A number of one or two bytes.
	func number(size: int) -> int:
		var bytes := take(size)
		if not is_good:
			return 0
		return bytes[0] if size == 1 else bytes.decode_u16(0)

	## Bytes behind their length.
	func counted() -> PackedByteArray:
		return take(number(1))

	## A text behind its length, harmless.
	func text() -> String:
		return RelayText.printable(RelayText.decode(counted()))

	## A reader of the next bytes alone.
	func inner(count: int) -> RelayReader:
		return RelayReader.new(take(count), 0)
