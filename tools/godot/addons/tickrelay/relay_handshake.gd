extends RefCounted
## From the first HELLO to WELCOME or REFUSE (SPEC 4): one attempt to join, or to come back, with
## one nonce.
##
## GREETING sends HELLO until a CHALLENGE brings a cookie; JOINING sends JOIN with it until WELCOME.
## Three JOINs without an answer go back to HELLO: the server may have been restarted, and its
## cookies with it.

enum RelayPhase { GREETING, JOINING }

const RelayLabels := preload("relay_labels.gd")
const RelayProofs := preload("relay_proofs.gd")
const RelayText := preload("relay_text.gd")
const RelayRequest := preload("relay_request.gd")
const RelayWire := preload("generated_wire.gd")

## Seconds until HELLO or JOIN is sent again; the last one repeats (SPEC 4).
const RETRY_AFTER_S := [0.25, 0.5, 1.0]
## JOINs without an answer before HELLO is sent again (SPEC 4).
const MAX_JOINS := 3
## Least time between JOINs that the server causes: a hostile one that challenges for ever gets 20
## a second.
const JOIN_INTERVAL_S := 0.050
## Feature bits that this client has; none are defined yet.
const FEATURES := 0
## Fingerprint of a server that has not answered.
const UNKNOWN := -1

var state := RelayPhase.GREETING
## When the attempt has failed, seconds.
var deadline_at: float
## From the newest CHALLENGE; 0 if the server does not say, UNKNOWN before.
var server_fingerprint := UNKNOWN
## A JOIN has left: the server may have acted on it, whatever we heard.
var has_sent_join := false
var _request: RelayRequest
var _nonce: int
var _shard: int
var _key: PackedByteArray
var _join := PackedByteArray()
var _num_sent := 0
var _sent_at := -INF
var _next_at: float


func _init(request: RelayRequest, nonce: int, now: float) -> void:
	deadline_at = now + request.deadline_s
	_request = request
	_nonce = nonce
	_shard = RelayProofs.shard_of(request.code)
	_key = RelayProofs.room_key(request.password)
	_next_at = now


## Gives the attempt more time: the game stood still and could not read.
func postpone(seconds: float) -> void:
	deadline_at += seconds


## Tells when [method poll] has something to do, seconds.
func next_at() -> float:
	return minf(_next_at, deadline_at)


## Builds the HELLO or JOIN that is due, if one is. The caller checks the deadline.
func poll(now: float) -> Array[PackedByteArray]:
	if now < _next_at:
		return []
	if state == RelayPhase.JOINING and _num_sent == MAX_JOINS:
		state = RelayPhase.GREETING
		_num_sent = 0
	var wait_s: float = RETRY_AFTER_S[mini(_num_sent, RETRY_AFTER_S.size() - 1)]
	_num_sent += 1
	_sent_at = now
	_next_at = now + wait_s
	if state != RelayPhase.JOINING:
		return [build_hello(_nonce, _shard, _request.client_name, _request.client_release)]
	has_sent_join = true
	return [_join]


## Takes a CHALLENGE: JOIN with its cookie is due at once, but not more often than every
## JOIN_INTERVAL_S. Returns OK or a drop reason.
func handle_challenge(value: RelayWire.RelayChallenge, now: float) -> int:
	if value.nonce != _nonce:
		return RelayWire.DropReason.STALE_JOIN
	if value.revision < RelayWire.REVISION_MIN or value.revision > RelayWire.REVISION_MAX:
		return RelayWire.DropReason.MALFORMED
	server_fingerprint = value.fingerprint
	_join = _build_join(value)
	if state == RelayPhase.JOINING:
		_join_again(now)
	else:
		_next_at = now
		state = RelayPhase.JOINING
		_num_sent = 0
	return OK


## An UPDATE means that we are in, and WELCOME is lost or late: ask again before others speak to
## nobody.
func handle_update(now: float) -> void:
	if state == RelayPhase.JOINING:
		_join_again(now)


## Checks a WELCOME. It is taken in GREETING too: it may come late, after we went back to HELLO.
## Returns OK or a drop reason.
func handle_welcome(fields: RelayWire.RelayWelcomeFields) -> int:
	if fields.nonce != _nonce:
		return RelayWire.DropReason.STALE_JOIN
	var slots := fields.player_slots
	var fits := (
		RelayText.is_code(code_of(fields))
		and fields.player_id < slots
		and slots <= RelayWire.MAX_SLOTS
		and fields.entities_per_player >= 1
		and fields.entities_per_player <= RelayWire.MAX_ENTITIES_PER_PLAYER
		and slots * fields.entities_per_player <= RelayWire.MAX_ENTITY_IDS
		and fields.max_players >= 1
		and mini(fields.max_state_bytes, mini(fields.page_ids, fields.tick_rate)) >= 1
		and mini(fields.keepalive_ms, fields.timeout_ms) >= 1
		and _may_be(fields.resumed)
	)
	return OK if fits else RelayWire.DropReason.MALFORMED


## Tells whether an answer belongs to this attempt.
func is_own(nonce: int) -> bool:
	return nonce == _nonce


## The room's code in a WELCOME, also when the server made it up. Bytes that are no letters of a
## code make it none.
static func code_of(fields: RelayWire.RelayWelcomeFields) -> String:
	return RelayText.decode(RelayText.unpadded(fields.code))


## Builds the first datagram of a join, or of another question that needs a cookie.
static func build_hello(
	nonce: int, shard: int, client_name: String, client_release: String
) -> PackedByteArray:
	var hello := RelayWire.RelayHelloFields.new()
	hello.kind = RelayWire.Kind.HELLO
	hello.shard = shard
	hello.magic = RelayWire.MAGIC.to_ascii_buffer()
	hello.nonce = nonce
	hello.revision_min = RelayWire.REVISION_MIN
	hello.revision_max = RelayWire.REVISION_MAX
	hello.features = FEATURES
	hello.fingerprint = RelayWire.FINGERPRINT
	hello.client_name = client_name.to_utf8_buffer()
	hello.client_release = client_release.to_utf8_buffer()
	var data := hello.encode()
	data.resize(RelayWire.HELLO_BYTES)
	return data


## Tells whether an answer suits what we asked: who offers nothing to go on from cannot go on.
func _may_be(resumed: int) -> bool:
	match resumed:
		RelayWire.Resumed.NO:
			return _request.mode != RelayWire.JoinMode.RESUME
		RelayWire.Resumed.CONTINUED:
			return _request.mode == RelayWire.JoinMode.RESUME and _request.log_index > 0
		RelayWire.Resumed.AFRESH:
			return _request.mode == RelayWire.JoinMode.RESUME
	return false


## Plans another JOIN soon, to a server that is there.
func _join_again(now: float) -> void:
	_next_at = minf(_next_at, maxf(now, _sent_at + JOIN_INTERVAL_S))
	_num_sent = 0


func _build_join(challenge: RelayWire.RelayChallenge) -> PackedByteArray:
	var join := RelayWire.RelayJoinFields.new()
	join.kind = RelayWire.Kind.JOIN
	join.shard = _shard
	join.nonce = _nonce
	join.cookie = challenge.cookie
	join.revision = challenge.revision
	join.features = challenge.features & FEATURES
	join.mode = _request.mode
	join.code = _request.code.to_ascii_buffer()
	join.name = _request.player_name.to_utf8_buffer()
	var data := join.encode()
	_add_options(data, challenge.cookie)
	return data


func _add_options(data: PackedByteArray, cookie: PackedByteArray) -> void:
	var mode := _request.mode
	RelayLabels.add_option(data, RelayWire.Option.GAME, _request.game.to_utf8_buffer())
	var version := _request.game_version.to_utf8_buffer()
	RelayLabels.add_option(data, RelayWire.Option.GAME_VERSION, version)
	if mode == RelayWire.JoinMode.RESUME:
		var resume := RelayWire.RelayResumeOption.new()
		resume.session = _request.session
		resume.log_index = _request.log_index
		resume.proof = RelayProofs.resume_proof(_request.secret, cookie, _nonce, _request.session)
		RelayLabels.add_option(data, RelayWire.Option.RESUME, resume.encode())
	elif mode != RelayWire.JoinMode.JOIN:
		_add_room_options(data)
	var may_need_proof := mode in [RelayWire.JoinMode.JOIN, RelayWire.JoinMode.JOIN_OR_CREATE]
	if may_need_proof and not _key.is_empty():
		var proof := RelayProofs.join_proof(_key, cookie, _nonce)
		RelayLabels.add_option(data, RelayWire.Option.PROOF, proof)
	RelayLabels.add_option(data, RelayWire.Option.IDENTITY, _request.identity)


## What a room that is created is to be like.
func _add_room_options(data: PackedByteArray) -> void:
	_add_number(data, RelayWire.Option.MAX_PLAYERS, _request.max_players, 2)
	_add_number(data, RelayWire.Option.ENTITIES_PER_PLAYER, _request.entities_per_player, 2)
	_add_number(data, RelayWire.Option.MAX_STATE_BYTES, _request.max_state_bytes, 1)
	RelayLabels.add_option(data, RelayWire.Option.ROOM_KEY, _key)
	var flags := RelayWire.RoomFlag.ANYONE_SETS if _request.anyone_sets else 0
	flags |= RelayWire.RoomFlag.LISTED if _request.listed else 0
	_add_number(data, RelayWire.Option.ROOM_FLAGS, flags, 1)
	var room_name := _request.room_name.to_utf8_buffer()
	RelayLabels.add_option(data, RelayWire.Option.ROOM_NAME, room_name)
	RelayLabels.add_option(data, RelayWire.Option.TAGS, RelayLabels.encode_texts(_request.tags))
	RelayLabels.add_option(data, RelayWire.Option.SHOWN, RelayLabels.encode_texts(_request.shown))
	var properties := RelayLabels.encode_properties(_request.properties)
	RelayLabels.add_option(data, RelayWire.Option.PROPERTIES, properties)


static func _add_number(data: PackedByteArray, key: int, number: int, size: int) -> void:
	if number == 0:
		return
	var value := PackedByteArray([number & 255, number >> 8])
	RelayLabels.add_option(data, key, value.slice(0, size))
