extends RefCounted
## Sockets to one relay, from its name to the last datagram.
##
## A name may have several addresses ("localhost": ::1 and 127.0.0.1). All are asked at the same
## time, and only the one that answers first is kept.

const RelayLink := preload("relay_link.gd")
const RelayResolver := preload("relay_resolver.gd")

const UNKNOWN_HOST_TEXT := "There is no server called %s. Check the address and the network."
const NO_SOCKET_TEXT := (
	"The system does not let the game use the network (error %d)."
	+ " On Android the export preset needs the INTERNET permission."
)
const NO_ANSWER_TEXT := (
	"No answer from %s, UDP port %d, within %s s."
	+ " Is the relay running, are address and port right, does a firewall block UDP?"
	+ " On Android the game needs the INTERNET permission."
)
const NOBODY_LISTENS_TEXT := (
	"Nothing listens at %s, UDP port %d." + " Is the relay running, are address and port right?"
)
const BUSY_TEXT := (
	"The relay at %s, UDP port %d, answers but did not let us in within %s s."
	+ " It may be overloaded. Try again later."
)

## Why there is no socket; "" while there may be one.
var problem := ""
var _host: String
var _port: int
var _in_thread: bool
var _resolver: RelayResolver
var _links: Array[RelayLink] = []
var _is_refreshing := false


func _init(host: String, port: int, in_thread: bool) -> void:
	_host = host
	_port = port
	_in_thread = in_thread
	_resolver = RelayResolver.new(host)


## Tells whether there are sockets; opens them once the name is resolved.
func is_open() -> bool:
	if _is_refreshing:
		_refresh()
	if not _links.is_empty():
		return true
	if not problem.is_empty() or _resolver == null:
		return false
	match _resolver.poll():
		RelayResolver.RelayProgress.DONE:
			_open(_resolver.addresses)
		RelayResolver.RelayProgress.FAILED:
			problem = UNKNOWN_HOST_TEXT % _host
	return not _links.is_empty()


## Whether the name is still being looked up.
func is_resolving() -> bool:
	return _links.is_empty() and problem.is_empty()


## Opens new sockets beside the one that was in use: the network may be another one by now, and the
## name may have other addresses. The first that is answered is kept.
func refresh() -> void:
	if _resolver != null and not _links.is_empty():
		for link in _links.slice(1):
			link.close()  # of an earlier attempt
		_links = [_links[0]]
		_resolver = RelayResolver.new(_host)
		_is_refreshing = true


## Sends to every address that may still be the right one.
func send(datagrams: Array[PackedByteArray]) -> void:
	for link in _links:
		for data in datagrams:
			link.send(data)


## Gives every datagram that arrived to [param take], called with the bytes and their time of
## arrival. It returns whether the sender is the relay that we speak to: the others are closed.
func receive(take: Callable) -> void:
	for link: RelayLink in _links.duplicate():
		var times := PackedFloat64Array()
		var arrived := link.take(times)
		for i in arrived.size():
			if _links.has(link) and take.call(arrived[i], times[i]) and _links.size() > 1:
				_keep_only(link)


## Ends the threads: from now on [method receive] reads.
func end_threads() -> void:
	for link in _links:
		link.end_thread()


## Closes all sockets. May be called twice.
func close() -> void:
	for link in _links:
		link.close()
	_links.clear()
	_resolver = null


## Words for a player when nothing answered; [param is_answered]: a relay did, but to no end.
func silence_text(seconds: float, is_answered: bool) -> String:
	if is_answered:
		return BUSY_TEXT % [_host, _port, String.num(seconds)]
	for link in _links:
		if link.num_refused > 0:
			return NOBODY_LISTENS_TEXT % [_host, _port]
	if is_resolving():
		return UNKNOWN_HOST_TEXT % _host
	return NO_ANSWER_TEXT % [_host, _port, String.num(seconds)]


func _refresh() -> void:
	var progress := _resolver.poll()
	_is_refreshing = progress == RelayResolver.RelayProgress.WAITING
	if progress == RelayResolver.RelayProgress.DONE:
		_open(_resolver.addresses)


func _open(addresses: Array[String]) -> void:
	var error := OK
	for address in addresses:
		var link := RelayLink.new()
		var result := link.open(address, _port, _in_thread)
		if result == OK:
			_links.append(link)
		else:
			error = result  # no route in this family; another may have one
			link.close()
	if _links.is_empty():
		problem = NO_SOCKET_TEXT % error


func _keep_only(link: RelayLink) -> void:
	_is_refreshing = false
	for other in _links:
		if other != link:
			other.close()
	_links = [link]
