extends RefCounted
## One connected UDP socket to one address of the relay, read by its owner or in a thread.
##
## The engine copies every waiting datagram into a ring at each poll and drops the rest. The ring
## is 64 KiB unless the socket is bound with a larger one, so it is bound first: with 1 MiB a game
## may look once per frame, even after it loaded a scene. The thread looks every millisecond: it
## dates arrivals better (a frame is 16 ms) and reads on while the game's loop stands still.

## Bytes of the engine's ring: 870 full datagrams.
const RING_BYTES := 1 << 20
## Time between looks of the thread, microseconds: a thousand wake-ups a second (chosen).
const LOOK_USEC := 1000
## Datagrams that may wait for the game; newer ones are dropped, the relay sends them again.
const MAX_WAITING := 8192

## How often the system said that nothing listens at the other end (ICMP).
var num_refused := 0

var _udp := PacketPeerUDP.new()
var _thread: Thread
var _mutex := Mutex.new()
var _is_thread_over := false
var _arrived: Array[PackedByteArray] = []
var _arrived_at := PackedFloat64Array()


## Seconds since the engine started; the clock of all times here.
static func clock() -> float:
	return Time.get_ticks_usec() / 1000000.0


## Connects to an IP address, so that the system keeps strangers' datagrams away.
func open(address: String, port: int, in_thread: bool) -> Error:
	var any := "::" if address.contains(":") else "0.0.0.0"
	var error := _udp.bind(0, any, RING_BYTES)
	if error == OK:
		error = _udp.connect_to_host(address, port)
	if error == OK and in_thread:
		_thread = Thread.new()
		error = _thread.start(_read_until_told)
	return error


## Sends one datagram; if the system cannot, it is lost like any other that gets lost.
func send(data: PackedByteArray) -> void:
	_udp.put_packet(data)


## Returns the datagrams that arrived since the last call, and appends to [param times] when.
func take(times: PackedFloat64Array) -> Array[PackedByteArray]:
	if _thread == null:
		_read()
	_mutex.lock()
	var arrived := _arrived
	times.append_array(_arrived_at)
	_arrived = []
	_arrived_at = PackedFloat64Array()
	_mutex.unlock()
	return arrived


## Ends the thread, if there is one: from now on [method take] reads. A link with a thread must not
## be freed before.
func end_thread() -> void:
	if _thread == null:
		return
	_mutex.lock()
	_is_thread_over = true
	_mutex.unlock()
	if _thread.is_started():
		_thread.wait_to_finish()
	_thread = null


## Ends the thread and closes the socket. Must be called once it was opened; may be called twice.
func close() -> void:
	end_thread()
	_udp.close()


func _read_until_told() -> void:
	while true:
		_mutex.lock()
		var is_over := _is_thread_over
		_mutex.unlock()
		if is_over:
			return
		_read()
		OS.delay_usec(LOOK_USEC)


func _read() -> void:
	var count := _udp.get_available_packet_count()
	if count < 0:
		num_refused += 1
	if count <= 0:
		return
	var now := clock()
	_mutex.lock()
	while _udp.get_available_packet_count() > 0:
		var data := _udp.get_packet()
		if _arrived.size() < MAX_WAITING:
			_arrived.append(data)
			_arrived_at.append(now)
	_mutex.unlock()
