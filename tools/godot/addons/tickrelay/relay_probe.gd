extends RefCounted
## Asks whether a relay is there, how far away and how busy (SPEC 4, PING and PONG). No session.

const RelayLine := preload("relay_line.gd")
const RelayText := preload("relay_text.gd")
const RelayWire := preload("generated_wire.gd")

## No answer in time, or no socket to ask with.
const NO_ANSWER := 256
## The relay answered, and speaks no revision that we do.
const OTHER_VERSION := 258
## Time between PINGs, seconds.
const INTERVAL_S := 0.5

var line: RelayLine
## What the relay said: release, region, tick_rate, load_percent, players, max_players, rooms,
## round_trip_s; empty until it did.
var answer := {}
## Why there will be no answer; "" while there may be one.
var problem := ""
## Which problem that is, as a RelayClient.Problem.
var reason := NO_ANSWER
var _nonce: int
var _deadline_s: float
var _deadline_at: float
var _next_at: float
var _sent_at := 0.0


func _init(host: String, port: int, deadline_s: float, nonce: int, now: float) -> void:
	line = RelayLine.new(host, port, false)
	_nonce = nonce
	_deadline_s = deadline_s
	_deadline_at = now + deadline_s
	_next_at = now


## There will be no answer.
func fail(for_reason: int, text: String) -> void:
	reason = for_reason
	problem = text


## Reads and sends. Returns whether it is over: then there is an answer or a problem.
func poll(now: float) -> bool:
	if _is_over():
		return true
	if line.is_open():
		line.receive(_receive)
		if not _is_over() and now >= _next_at:
			_next_at = now + INTERVAL_S
			_sent_at = now
			line.send([_build_ping()])
	elif not line.problem.is_empty():
		problem = line.problem
	if not _is_over() and now >= _deadline_at:
		problem = line.silence_text(_deadline_s, false)
	return _is_over()


func _is_over() -> bool:
	return not answer.is_empty() or not problem.is_empty()


func _build_ping() -> PackedByteArray:
	var ping := RelayWire.RelayPingFields.new()
	ping.kind = RelayWire.Kind.PING
	ping.magic = RelayWire.MAGIC.to_ascii_buffer()
	ping.nonce = _nonce
	var data := ping.encode()
	data.resize(RelayWire.PING_BYTES)
	return data


func _receive(data: PackedByteArray, arrived_at: float) -> bool:
	if data.is_empty() or data[0] != RelayWire.Kind.PONG:
		return false
	var pong := RelayWire.RelayPong.decode(data)
	if pong == null or pong.nonce != _nonce:
		return false
	if pong.revision_max < RelayWire.REVISION_MIN or pong.revision_min > RelayWire.REVISION_MAX:
		fail(OTHER_VERSION, RelayText.version_text(pong.revision_min, pong.revision_max))
		return true
	answer = {
		"release": RelayText.printable(RelayText.decode(RelayText.unpadded(pong.release))),
		"region": _region_of(pong.later),
		"tick_rate": pong.tick_rate,
		"load_percent": pong.load_percent,
		"players": pong.players,
		"max_players": pong.max_players,
		"rooms": pong.rooms,
		"round_trip_s": maxf(0.0, arrived_at - _sent_at),
	}
	return true


## The text behind the fields; what follows it is of later revisions.
static func _region_of(later: PackedByteArray) -> String:
	if later.is_empty() or later[0] >= later.size():
		return ""
	return RelayText.printable(RelayText.decode(later.slice(1, 1 + later[0])))
