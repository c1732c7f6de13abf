extends RefCounted
## Asks whether a relay is there, without joining, and lets a [RelayClient] tell what came of it.

const RelayAddress := preload("relay_address.gd")
const RelayLink := preload("relay_link.gd")
const RelayProbe := preload("relay_probe.gd")
const RelayProofs := preload("relay_proofs.gd")
const RelayVisitor := preload("relay_visitor.gd")

var _client: Node
var _probe: RelayProbe  # null while nothing is asked


func _init(client: Node) -> void:
	_client = client


## Asks a relay; what was asked before is not told any more. Without [param has_udp] it fails.
func ask(address: String, port: int, timeout_s: float, has_udp: bool) -> void:
	close()
	var relay := RelayAddress.new(address, port)
	var nonce := RelayProofs.random_nonce()
	_probe = RelayProbe.new(relay.host, relay.port, timeout_s, nonce, RelayLink.clock())
	if not has_udp:
		_probe.fail(_client.Problem.NO_UDP, RelayVisitor.NO_UDP_TEXT)


## Looks for the answer, and has the client tell it once it is there.
func poll() -> void:
	if _probe == null or not _probe.poll(RelayLink.clock()):
		return
	var probe := _probe
	close()
	if probe.problem.is_empty():
		_client.relay_answered.emit(probe.answer)
	else:
		_client.relay_unreachable.emit(probe.reason, probe.problem)


## Asks no longer.
func close() -> void:
	if _probe != null:
		_probe.line.close()
		_probe = null
