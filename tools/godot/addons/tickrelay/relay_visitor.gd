extends RefCounted
## A client's way from room to room: one visit at a time, the goodbyes of those before, and the way
## back after a crash.
##
## What happens is told by the signals of the client. A handler may leave, or enter another room,
## at any time: then nothing more of the former visit is told.

const RelayAddress := preload("relay_address.gd")
const RelayConnection := preload("relay_connection.gd")
const RelayLink := preload("relay_link.gd")
const RelayPlace := preload("relay_place.gd")
const RelayProofs := preload("relay_proofs.gd")
const RelayRequest := preload("relay_request.gd")
const RelayRoomFacts := preload("relay_room_facts.gd")
const RelaySession := preload("relay_session.gd")
const RelayTeller := preload("relay_teller.gd")
const RelayVisit := preload("relay_visit.gd")
const RelayWarnings := preload("relay_warnings.gd")
const RelayWire := preload("generated_wire.gd")

## Reason of a refusal where there is no UDP. Those of the wire are below 256.
const NO_UDP := 257
const NO_UDP_TEXT := "Browser games cannot send UDP; not supported yet"
## Request id of a request that was not sent.
const NO_REQUEST := 0

const _BAD_PORT_TEXT := "%s is no address with a port from 1 to 65535."
const _NO_PLACE_TEXT := "There is no place in a room to come back to. Join again."

## Whether this platform has UDP sockets at all.
var has_udp := not OS.has_feature("web")
## The visit that goes on; null while offline.
var visit: RelayVisit
## Where a game that crashed comes back to.
var place := RelayPlace.new()
var _client: Node
var _warnings: RelayWarnings
var _teller: RelayTeller
var _otherwise := Callable()  # enters, if our place is no longer kept
var _failure: RelayConnection.RelayEvents.RelayRefused
var _leaving: Array[RelayVisit] = []
var _is_send_planned := false


## [param client]: a RelayClient.
func _init(client: Node, warnings: RelayWarnings) -> void:
	_client = client
	_warnings = warnings


## Whether we are in a room, or on the way into one.
func is_busy() -> bool:
	return visit != null or _failure != null


## Whether we have a place in a room: from WELCOME on, before the game is told that it joined.
func is_in_room() -> bool:
	return visit != null and visit.connection.is_in_room()


## Whether the game has been told that it joined.
func is_joined() -> bool:
	return is_in_room() and _teller.has_joined


## Whether the game has been told that the connection is lost.
func is_lost() -> bool:
	return is_joined() and _teller.is_lost


## Everything from WELCOME on. Only while [method is_in_room].
func session() -> RelaySession:
	return visit.connection.session


## What we know of the room. Only while [method is_in_room].
func room() -> RelayRoomFacts:
	return visit.connection.session.room


## What the relay said of the room. Only while [method is_in_room].
func welcome() -> RelayWire.RelayWelcomeFields:
	return visit.connection.session.welcome


## Enters a room, or fails with the next [method poll].
func enter(request: RelayRequest, address: String, port: int, in_thread: bool) -> void:
	var relay := RelayAddress.new(address, port)
	if not has_udp:
		_fail(NO_UDP, NO_UDP_TEXT)
	elif relay.port == 0:
		_fail(RelayConnection.NO_ANSWER, _BAD_PORT_TEXT % address)
	elif request.problem() != 0:
		_fail(request.problem(), RelayWire.REFUSAL_TEXTS[request.problem()])
	else:
		_warnings.clear(str(_client.get_path()) if _client.is_inside_tree() else "RelayClient")
		request.identity = place.identity()
		place.use(address, port)
		var now := RelayLink.clock()
		var nonce := RelayProofs.random_nonce()
		visit = RelayVisit.new(relay.host, relay.port, in_thread, request, nonce, now)
		_teller = RelayTeller.new(_client, visit.connection, visit.was_resuming)
		_tell(visit, visit.send(now))  # a scene may be loaded in this frame


## Comes back to [member place], or fails with the next [method poll]. [param wishes]: what is asked
## for in each attempt. [param otherwise] is called if the place is no longer kept.
func come_back(wishes: RelayRequest, in_thread: bool, otherwise := Callable()) -> void:
	if not place.has_token():
		_fail(RelayWire.Refusal.CANNOT_RESUME, _NO_PLACE_TEXT)
		return
	_otherwise = otherwise
	enter(place.request(wishes), place.address(), place.port(), in_thread)


## Leaves the room, or gives up entering it.
func leave() -> void:
	_failure = null
	if visit == null:
		return
	var left := visit
	var was_joined := _teller.has_joined
	_forget()
	place.forget()
	left.leave(RelayLink.clock())
	_leaving.append(left)
	if was_joined:
		var reason := RelayWire.ByeReason.LEFT
		_client.disconnected.emit(reason, RelayWire.BYE_TEXTS[reason])


## Leaves the room when nobody will call anything of this again.
func leave_at_once() -> void:
	if visit != null:
		_leaving.append(visit)
		place.forget()
	for left in _leaving:
		left.leave_at_once(RelayLink.clock())
	_leaving.clear()
	_forget()


## Reads the network, tells what happened, and plans what is to be sent.
func poll() -> void:
	if _failure != null:
		var failure := _failure
		_failure = null
		_client.join_refused.emit(failure.reason, failure.text)
	if visit != null:
		var events := visit.receive()
		_keep_place()
		_tell(visit, events)
	_plan_sending()


## Asks the relay for something, as soon as this frame ends. Returns the number of the request.
func ask(kind: RelayWire.RequestKind, payload: PackedByteArray) -> int:
	if not is_joined():
		warn_too_early("a request")
		return NO_REQUEST
	var id := visit.connection.send_request(kind, payload)
	if id != NO_REQUEST:
		flush_soon()
	return id


## Lets messages and signals go at the end of this frame.
func flush_soon() -> void:
	visit.flush_soon()
	_plan_sending()


## Tells the developer that something is sent before [signal RelayClient.joined].
func warn_too_early(what: String) -> Error:
	_warnings.give(what + " while not joined: nothing is sent", "wait for the signal joined")
	return ERR_UNAVAILABLE


func _forget() -> void:
	if _teller != null:
		_teller.is_over = true
	visit = null
	_otherwise = Callable()


## Tells of a failure with the next poll: who calls and then waits for the signal must not miss it.
func _fail(reason: int, text: String) -> void:
	_failure = RelayConnection.RelayEvents.RelayRefused.new()
	_failure.reason = reason
	_failure.text = text


## Writes down, before the next DATA leaves, how a process that is started anew gets back here.
func _keep_place() -> void:
	if not is_in_room():
		return
	place.keep(welcome())
	if visit.connection.fingerprint_differs:
		_warnings.give("the relay is of another build", "use game and relay of one release")


## Emits signals for events of a visit, as long as the game does not end it meanwhile.
func _tell(of_visit: RelayVisit, events: Array) -> void:
	var end := _teller.tell(events)
	if end == null:
		return
	var otherwise := _otherwise
	_forget()
	_leaving.append(of_visit)
	if end is RelayConnection.RelayEvents.RelayDisconnected:
		place.forget()
		_client.disconnected.emit(end.reason, end.text)
		return
	if of_visit.was_resuming and end.reason != RelayConnection.NO_ANSWER:
		place.forget()
		if otherwise.is_valid() and end.reason != RelayWire.Refusal.BANNED:
			otherwise.call()
			return
	_client.join_refused.emit(end.reason, end.text)


## Sends at the end of this frame, when the game has said all that it has to say.
func _plan_sending() -> void:
	if _is_send_planned:
		return
	if (visit != null and visit.is_due(RelayLink.clock())) or not _leaving.is_empty():
		_is_send_planned = true
		_send.call_deferred()


func _send() -> void:
	_is_send_planned = false
	var now := RelayLink.clock()
	for left: RelayVisit in _leaving.duplicate():
		left.send(now)
		if left.is_over() or not left.line.is_open():
			left.line.close()
			_leaving.erase(left)
	if visit != null:
		_tell(visit, visit.send(now))
