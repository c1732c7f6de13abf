extends RefCounted
## What arrived for a RelayMultiplayerPeer and was not taken yet, in the order of the room's log.
##
## Presence stands in the same queue as packets: what a player sent before it left is read before
## the game hears that it left, and nobody hears of a packet whose sender was not announced.

## What a [RelayMark] says.
enum RelayChange {
	## The host let us in (or we are the host).
	STARTED,
	JOINED,
	LEFT,
	## The session is over.
	ENDED,
}


class RelayPacket:
	extends RefCounted
	## Peer id of the sender.
	var peer := 0
	var payload := PackedByteArray()
	var channel := 0
	var mode := MultiplayerPeer.TRANSFER_MODE_RELIABLE


class RelayMark:
	extends RefCounted
	var change := RelayChange.STARTED
	## Peer id of who joined or left.
	var peer := 0
	## Of JOINED: its player id.
	var player := 0
	## Of ENDED.
	var reason := 0
	## Of ENDED, for the player.
	var text := ""


var _items := []
var _at := 0
var _marks_at: Array[int] = []


## The next item: a Packet, a Mark, or null.
func head() -> RefCounted:
	return _items[_at] if _at < _items.size() else null


## Removes the next item.
func pop() -> RefCounted:
	var item: RefCounted = _items[_at]
	if item is RelayMark:
		_marks_at.pop_front()
	_at += 1
	if _at == _items.size():
		clear()
	return item


## Number of packets up to the next mark.
func num_ready() -> int:
	return (_items.size() if _marks_at.is_empty() else _marks_at[0]) - _at


func push_packet(peer: int, payload: PackedByteArray, channel: int, mode: int) -> void:
	var packet := RelayPacket.new()
	packet.peer = peer
	packet.payload = payload
	packet.channel = channel
	packet.mode = mode as MultiplayerPeer.TransferMode
	_items.append(packet)


func push_mark(change: RelayChange, peer: int = 0, player: int = 0) -> RelayMark:
	var mark := RelayMark.new()
	mark.change = change
	mark.peer = peer
	mark.player = player
	_marks_at.append(_items.size())
	_items.append(mark)
	return mark


## Throws away what waits of one peer.
func purge(peer: int) -> void:
	var kept := _items.slice(_at).filter(func(item: RefCounted) -> bool: return item.peer != peer)
	clear()
	for item: RefCounted in kept:
		if item is RelayMark:
			_marks_at.append(_items.size())
		_items.append(item)


func clear() -> void:
	_items.clear()
	_marks_at.clear()
	_at = 0
