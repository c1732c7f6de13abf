extends RefCounted
## One place in a room, from the attempt to join to the end, with sockets: when to send what.
##
## Messages and signals do not wait for the tick: what the game sends in a frame leaves at the
## frame's end. SPEC 5 permits two DATA per tick; a bucket of two, filled twice a tick, keeps to
## that. At 60 frames and 30 ticks a second that is one DATA in every frame.

const RelayConnection := preload("relay_connection.gd")
const RelayLink := preload("relay_link.gd")
const RelayLine := preload("relay_line.gd")
const RelayRequest := preload("relay_request.gd")
const RelayVisitScript := preload("relay_visit.gd")
const RelayWire := preload("generated_wire.gd")

## DATA per tick that may go out, on average and at once (SPEC 5).
const DATA_PER_TICK := 2.0
## Share of the relay's budget of datagrams that DATA may use: acknowledgements need some too.
const BUDGET_SHARE := 0.7
## A gap between two frames beyond which the game stood still, seconds (chosen: four frames a second
## are no game). That time does not count against an attempt to join.
const STOOD_STILL_S := 0.25
## While the connection is lost, sockets are opened anew so often, seconds (chosen: a phone takes
## some seconds from one network to another).
const REFRESH_AFTER_S := 3.0
## A frame may come this much before the tick's time, seconds.
const EARLY_S := 0.002

## Reason of a refusal: the session ended before the game was told that it joined.
const ENDED := 262

## Ends of a session that a refusal can name.
const _REFUSALS := {
	RelayWire.ByeReason.SHUTDOWN: RelayWire.Refusal.SHUTTING_DOWN,
	RelayWire.ByeReason.BANNED: RelayWire.Refusal.BANNED,
	RelayWire.ByeReason.TIMEOUT: RelayConnection.NO_ANSWER,
}

var connection: RelayConnection
var line: RelayLine
## Whether it began with coming back to a place, not with joining.
var was_resuming := false
## See [constant DATA_PER_TICK]; more where nothing may wait for the next frame.
var data_per_tick := DATA_PER_TICK
var _deadline_at: float
var _seen_at: float
var _deadline_s: float
var _next_tick_at := -INF
var _bucket := 0.0
var _bucket_at := -INF
var _wants_flush := false
var _refresh_at := -INF


func _init(
	host: String, port: int, in_thread: bool, request: RelayRequest, nonce: int, now: float
) -> void:
	line = RelayLine.new(host, port, in_thread)
	connection = RelayConnection.new(request, nonce, now)
	was_resuming = request.mode == RelayWire.JoinMode.RESUME
	_deadline_s = request.deadline_s
	_deadline_at = now + _deadline_s
	_seen_at = now


## Reads what arrived. Returns what happened, as [method RelayConnection.take_events].
func receive() -> Array:
	_allow_for_standing_still(RelayLink.clock())
	if line.is_open():
		line.receive(_receive)
	return connection.take_events()


## Sends what is due. Returns what happened (time ran out).
func send(now: float) -> Array:
	_allow_for_standing_still(now)
	if line.is_open():
		if now >= connection.ends_at() or connection.state() == RelayConnection.RelayPhase.CLOSED:
			line.receive(_receive)  # what waits in the socket is no silence
		line.send(_build(now))
	elif connection.state() != RelayConnection.RelayPhase.CLOSED:
		if not line.problem.is_empty() or now >= _deadline_at:
			connection.close(now)
			var event := RelayConnection.RelayEvents.RelayRefused.new()
			event.reason = RelayConnection.NO_ANSWER
			event.text = line.problem if line.problem else line.silence_text(_deadline_s, false)
			connection.take_events()
			return [event]
	return _worded(connection.take_events())


## Tells whether [method send] would do something.
func is_due(now: float) -> bool:
	if not line.is_open() or connection.next_poll_at() <= now:
		return true
	if connection.state() != RelayConnection.RelayPhase.JOINED:
		return false
	return now >= _next_tick_at - EARLY_S or _wants_flush


## Counters of the session; what the relay has not acknowledged yet counts as waiting.
func statistics() -> Dictionary:
	var result := {
		"datagrams_in": connection.datagrams_in,
		"datagrams_out": connection.datagrams_out,
		"bytes_in": connection.bytes_in,
		"bytes_out": connection.bytes_out,
		"dropped": connection.dropped.duplicate(),
	}
	if connection.session != null:
		result["messages_waiting"] = connection.session.outbox.num_waiting()
		result["messages_resent"] = connection.session.outbox.num_resent
		result["signals_unsent"] = connection.session.signals_out.num_dropped
		result["signals_superseded"] = connection.session.signals_in.num_superseded
	return result


## Lets messages and signals go without waiting for the tick.
func flush_soon() -> void:
	_wants_flush = true


## Whether nothing is left to be sent after the end.
func is_over() -> bool:
	return (
		connection.state() == RelayConnection.RelayPhase.CLOSED and connection.next_poll_at() == INF
	)


## The reason of the end, told as a refusal: to a game that was never told that it joined.
func as_refusal(reason: int) -> int:
	var is_bye := connection.session != null and reason < RelayConnection.NO_ANSWER
	return _REFUSALS.get(reason, ENDED) if is_bye else reason


## Sends what waits, then the goodbye once; the copies go with later calls of [method send].
func leave(now: float) -> void:
	if connection.state() == RelayConnection.RelayPhase.JOINED:
		line.send(connection.tick(now))
	connection.close(now)
	line.send(connection.poll(now))


## The goodbye three times at once: nobody will call [method send] again. Whom a WELCOME may still
## make a player of the room waits for it without its owner, as long as the game goes on.
func leave_at_once(now: float) -> void:
	leave(now)
	while connection.has_goodbyes():
		line.send(connection.poll(connection.next_poll_at()))
	if is_over():
		line.close()
	else:
		line.end_threads()
		_linger(self)


## Goes on with a visit that has been left, frame by frame, until it is over. The connection to the
## signal is all that keeps the visit alive: it ends with the scene tree, and the sockets with it.
## (A function that awaits a frame would leak then.)
static func _linger(visit: RelayVisitScript) -> void:
	var tree := Engine.get_main_loop() as SceneTree
	visit.send(RelayLink.clock())
	if tree == null or visit.is_over():
		visit.line.close()
	else:
		tree.process_frame.connect(_linger.bind(visit), CONNECT_ONE_SHOT)


## A game that loads a scene neither reads nor sends.
func _allow_for_standing_still(now: float) -> void:
	var gap := now - _seen_at
	_seen_at = now
	if gap > STOOD_STILL_S:
		connection.postpone(gap)
		_deadline_at += gap


func _receive(data: PackedByteArray, arrived_at: float) -> bool:
	connection.receive(data, arrived_at)
	return connection.is_heard()


func _build(now: float) -> Array[PackedByteArray]:
	if connection.state() == RelayConnection.RelayPhase.JOINED:
		return _build_joined(now)
	if connection.state() == RelayConnection.RelayPhase.RESUMING and now >= _refresh_at:
		_refresh_at = now + REFRESH_AFTER_S
		line.refresh()
	return connection.poll(now)


func _build_joined(now: float) -> Array[PackedByteArray]:
	_fill_bucket(now)
	var datagrams: Array[PackedByteArray] = []
	if now >= _next_tick_at - EARLY_S:
		_next_tick_at = (
			maxf(_next_tick_at, now - EARLY_S) + 1.0 / connection.session.welcome.tick_rate
		)
		if _bucket >= 1.0:
			datagrams = connection.tick(now, mini(floori(_bucket), int(DATA_PER_TICK)))
			_wants_flush = connection.session.has_unsent()
	elif _wants_flush and _bucket >= 1.0:
		datagrams = connection.flush(now)
		_wants_flush = connection.session.has_unsent()
		while _wants_flush and datagrams.size() < floori(_bucket):
			datagrams.append_array(connection.flush(now))
			_wants_flush = connection.session.has_unsent()
	for data in datagrams:
		if data.size() > RelayWire.RelayDataHeader.SIZE and data[0] == RelayWire.Kind.DATA:
			_bucket -= 1.0
	datagrams.append_array(connection.poll(now))
	return datagrams


func _fill_bucket(now: float) -> void:
	var welcome := connection.session.welcome
	var per_second := minf(
		data_per_tick * welcome.tick_rate, maxf(1.0, BUDGET_SHARE * welcome.datagrams_per_s)
	)
	_bucket = minf(data_per_tick, _bucket + (now - _bucket_at) * per_second)
	_bucket_at = now


## Puts the cause into words where only the sockets know it.
func _worded(events: Array) -> Array:
	for event: RefCounted in events:
		if (
			event is RelayConnection.RelayEvents.RelayRefused
			and event.reason == RelayConnection.NO_ANSWER
		):
			event.text = line.silence_text(_deadline_s, connection.is_answered)
	return events
