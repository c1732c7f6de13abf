extends RefCounted
## Who is who in a room of RelayMultiplayerPeers, and what of its log a game must see.
##
## All players speak with all, and the room's log puts what they say into one order. Peer 1 is the
## room's creator. It numbers the others in the order in which they come; numbers are not used
## again. Three words of the host stand in the log between the packets:
##
## GREET(you are peer n) lets a newcomer in. It is connected to the host, and to nobody else yet.
## The host's game now sends it what is there: spawned nodes.
##
## ADMIT(player is peer n; and these were here before) tells all that the newcomer has been sent
## that. Only now the other clients and the newcomer hear of each other. For what a client sends to
## the newcomer (its synchronizers' paths) refers to nodes that the host spawns; in the log it
## stands behind ADMIT, and so behind the spawns. With an auth_callback the host admits whom it let
## pass.
##
## KICK(player) removes one, greeted or not.
##
## GREET and KICK name the log entry with which their player came: a word that was long under way
## must not reach the next player with its id.
##
## Packets for everybody are sent to "all but me". Who came later than their sender knew would get
## them too; so they carry the serial of the newest ADMIT that their sender had read.

const RelayEvents := preload("relay_events.gd")
const RelayMeshOrder := preload("relay_mesh_order.gd")
const RelayMeshPackets := preload("relay_mesh_packets.gd")
const RelayMeshUploads := preload("relay_mesh_uploads.gd")
const RelayWire := preload("generated_wire.gd")

## Kinds of the host's words.
const GREET := 96
const ADMIT := 97
const KICK := 98
## Reasons of the end that are not the relay's; RelayMultiplayerPeer.Problem has them too.
const HOST_LEFT := 259
const NOT_ADMITTED := 261
const HOST_LEFT_TEXT := "The host has left the game."
const REFUSED_TEXT := "The host lets nobody in at the moment."

const HOST_ID := 1
const NOBODY := -1
const _PAIR_BYTES := 6
const _MAX_ID := 0x7fffffff

## Our player id, NOBODY before we are in the room.
var me := NOBODY
## Our peer id; 0 while unknown.
var own_id := 0
## Player id -> name of everybody in the room, us included.
var members := {}
## Player id of peer 1.
var host := NOBODY
## Of the newest ADMIT read, 16 bits.
var serial := 0
## Packets that were not taken because they were malformed or of nobody.
var num_dropped := 0
## Signals and messages with unreliable_ordered packets that were not handed over because a newer
## packet had been, which came the other way.
var num_late_signals := 0
var num_late_messages := 0
var _queue: RelayMeshPackets
var _may_host: bool
var _came_with := {}  # player id -> log index of its PLAYER_JOINED, 32 bits
var _host_now := NOBODY  # as the relay says; whoever follows the host is none to us
var _next_id := HOST_ID + 1
var _ids := {}  # player id -> peer id, of those whose packets count
var _admitted := {}  # player id -> peer id
var _own_serial := NOBODY
var _pieces := {}  # player id -> PackedByteArray; null when it became too large
var _orders := {}  # player id -> RelayMeshOrder


## [param may_host]: an empty room is ours; otherwise it is one that its host has left.
func _init(queue: RelayMeshPackets, may_host: bool) -> void:
	_queue = queue
	_may_host = may_host


## Tells whether we are the host.
func is_host() -> bool:
	return me != NOBODY and me == host


## Player ids of the others, ascending, if all of them have been admitted; otherwise empty.
func known() -> PackedInt32Array:
	var others := PackedInt32Array()
	for player: int in members:
		if not _admitted.has(player):
			return PackedInt32Array()
		if player != me:
			others.append(player)
	others.sort()
	return others


## The player id of somebody who was announced, NOBODY if there is none.
func player_of(peer: int) -> int:
	var player: Variant = _ids.find_key(peer)
	return NOBODY if player == null else player


## The peer id of somebody who was announced, 0 if there is none.
func peer_of(player: int) -> int:
	return own_id if player == me else _ids.get(player, 0)


## Takes an event of the connection.
func take(event: RefCounted, now: float) -> void:
	if event is RelayEvents.RelayMessageReceived:
		_take_message(event, now)
	elif event is RelayEvents.RelaySignalReceived:
		_take_packets(event, now)
	elif event is RelayEvents.RelayPlayerJoined:
		members[event.player_id] = event.player_name
		_came_with[event.player_id] = event.index & 0xFFFFFFFF
		if event.player_id == me:
			_enter()
		elif is_host():
			_number(event.player_id)
	elif event is RelayEvents.RelayPlayerLeft or event is RelayEvents.RelayPlayerAway:
		_on_left(event.player_id)
	elif event is RelayEvents.RelayHostChanged:
		_host_now = event.player_id


## Host: words for somebody whom the game hears of now.
func build_greeting(peer: int) -> PackedByteArray:
	var word := PackedByteArray()
	word.resize(8)
	word.encode_u32(0, peer)
	word.encode_u32(4, _came_with[player_of(peer)])
	return word


## Host: notes that a greeted player is in the game. Returns the word for all.
func admit(peer: int) -> PackedByteArray:
	var player := player_of(peer)
	serial = (serial + 1) & 0xFFFF
	var word := PackedByteArray()
	word.resize(2)
	word.encode_u16(0, serial)
	_append_pair(word, player, peer)
	for other: int in _admitted:
		if other != me:
			_append_pair(word, other, _admitted[other])
	_admitted[player] = peer
	return word


## Host: the word that removes somebody.
func build_kick(player: int) -> PackedByteArray:
	var word := PackedByteArray()
	word.resize(6)
	word.encode_u16(0, player)
	word.encode_u32(2, _came_with.get(player, 0))
	return word


## Takes no more of somebody, whoever ended it.
func forget(player: int) -> void:
	_ids.erase(player)
	_admitted.erase(player)
	_pieces.erase(player)
	_orders.erase(player)


## Puts the end behind all that arrived.
func end(reason: int, text: String) -> void:
	var mark := _queue.push_mark(RelayMeshPackets.RelayChange.ENDED)
	mark.reason = reason
	mark.text = text


## We are in the room: an empty one is ours, in another one somebody must let us in.
func _enter() -> void:
	host = me if members.size() == 1 else _host_now
	if not is_host():
		return
	if not _may_host:
		end(HOST_LEFT, HOST_LEFT_TEXT)
		return
	own_id = HOST_ID
	_own_serial = serial
	_admitted[me] = HOST_ID
	_queue.push_mark(RelayMeshPackets.RelayChange.STARTED)


func _number(player: int) -> void:
	_ids[player] = _next_id
	_queue.push_mark(RelayMeshPackets.RelayChange.JOINED, _next_id, player)
	_next_id += 1


## A game cannot go on where it was after it missed packets of minutes: who is away has left, for
## the others and, if it hears of that later, for itself.
func _on_left(player: int) -> void:
	if player == me:
		end(RelayWire.ByeReason.TIMEOUT, RelayWire.BYE_TEXTS[RelayWire.ByeReason.TIMEOUT])
		return
	members.erase(player)
	_came_with.erase(player)
	if player == host and not is_host():
		end(HOST_LEFT, HOST_LEFT_TEXT)
	elif _ids.has(player):
		_queue.push_mark(RelayMeshPackets.RelayChange.LEFT, _ids[player])
	forget(player)


func _take_message(event: RelayEvents.RelayMessageReceived, now: float) -> void:
	match event.kind:
		GREET, ADMIT, KICK:
			if event.sender == host and not is_host():
				_take_word(event.kind, event.payload)
		_:
			_take_packets(event, now)


func _take_word(kind: int, payload: PackedByteArray) -> void:
	if kind == GREET and payload.size() == 8 and own_id == 0:
		if payload.decode_u32(4) != _came_with[me]:
			return
		own_id = payload.decode_u32(0)
		_ids[host] = HOST_ID
		_queue.push_mark(RelayMeshPackets.RelayChange.STARTED)
		_queue.push_mark(RelayMeshPackets.RelayChange.JOINED, HOST_ID, host)
	elif kind == ADMIT and payload.size() >= 2 + _PAIR_BYTES and own_id != 0:
		_take_admission(payload)
	elif kind == KICK and payload.size() == 6:
		_take_kick(payload.decode_u16(0), payload.decode_u32(2))


func _take_admission(payload: PackedByteArray) -> void:
	serial = payload.decode_u16(0)
	var is_about_us := payload.decode_u16(2) == me
	if is_about_us:
		_own_serial = serial
		_admitted[me] = own_id
		_admitted[host] = HOST_ID
	elif _own_serial == NOBODY:
		return  # we shall be told of this one when our turn comes
	var end_at := payload.size() if is_about_us else 2 + _PAIR_BYTES
	for at in range(2, end_at - _PAIR_BYTES + 1, _PAIR_BYTES):
		var player := payload.decode_u16(at)
		var peer := payload.decode_u32(at + 2)
		var is_other := player != me and player != host and members.has(player)
		if is_other and peer > HOST_ID and peer <= _MAX_ID and _ids.get(player, 0) != peer:
			_meet(player, peer)


func _meet(player: int, peer: int) -> void:
	if _ids.has(player):  # of one who left before it was admitted
		_queue.push_mark(RelayMeshPackets.RelayChange.LEFT, _ids[player])
		forget(player)
	_ids[player] = peer
	_admitted[player] = peer
	_queue.push_mark(RelayMeshPackets.RelayChange.JOINED, peer, player)


func _take_kick(player: int, came_with: int) -> void:
	if player == me:
		if came_with != _came_with[me]:
			return
		if own_id == 0:
			end(NOT_ADMITTED, REFUSED_TEXT)
		else:
			end(RelayWire.ByeReason.KICKED, RelayWire.BYE_TEXTS[RelayWire.ByeReason.KICKED])
	elif _ids.has(player):
		_queue.push_mark(RelayMeshPackets.RelayChange.LEFT, _ids[player])
		forget(player)


## Takes the packets in a message or signal.
func _take_packets(event: RefCounted, now: float) -> void:
	var kind: int = event.kind
	if kind < RelayMeshUploads.KIND or kind >= RelayMeshUploads.KIND_END:
		return
	var mode := kind & RelayMeshUploads.MODE_MASK
	var is_signal := event is RelayEvents.RelaySignalReceived
	var is_ordered := mode == MultiplayerPeer.TRANSFER_MODE_UNRELIABLE_ORDERED
	var payload: PackedByteArray = event.payload
	var prefix_bytes := 2 if kind & RelayMeshUploads.TO_ALL else 0
	prefix_bytes += 2 if is_ordered and not is_signal else 0
	if not _ids.has(event.sender) or payload.size() < prefix_bytes:
		num_dropped += 1
		return
	if kind & RelayMeshUploads.TO_ALL and not _is_for_us(payload.decode_u16(0)):
		return
	var whole: Variant = payload.slice(prefix_bytes)
	if not is_signal:
		whole = _join(event.sender, whole, bool(kind & RelayMeshUploads.MORE))
	if whole == null:
		return
	if is_ordered:
		var number: int = event.sequence if is_signal else payload.decode_u16(prefix_bytes - 2)
		if not _is_in_time(event, number, now):
			return
	if kind & RelayMeshUploads.BUNDLE:
		_unbundle(_ids[event.sender], whole, mode)
	else:
		_queue.push_packet(_ids[event.sender], whole, event.channel, mode)


## Tells whether no newer unreliable_ordered packet of this sender and channel was handed over;
## counts it if one was.
func _is_in_time(event: RefCounted, number: int, now: float) -> bool:
	if not _orders.has(event.sender):
		_orders[event.sender] = RelayMeshOrder.new()
	var order: RelayMeshOrder = _orders[event.sender]
	if event is RelayEvents.RelaySignalReceived:
		if order.takes_signal(event.channel, number, now):
			return true
		num_late_signals += 1
	else:
		if order.takes_large(event.channel, number, now):
			return true
		num_late_messages += 1
	return false


## Tells whether the sender of a packet for all knew us.
func _is_for_us(known: int) -> bool:
	return _own_serial != NOBODY and (known - _own_serial) & 0xFFFF < 0x8000


## Puts pieces together. Returns a whole packet, or null if it is none yet, or too large.
func _join(sender: int, piece: PackedByteArray, is_more: bool) -> Variant:
	if not is_more and not _pieces.has(sender):
		return piece
	var pieces: Variant = _pieces.get(sender, PackedByteArray())
	if pieces == null or pieces.size() + piece.size() > RelayMeshUploads.MAX_PACKET_BYTES:
		num_dropped += 1
		pieces = null
	else:
		pieces.append_array(piece)
	if is_more:
		_pieces[sender] = pieces
		return null
	_pieces.erase(sender)
	return pieces


func _unbundle(peer: int, payload: PackedByteArray, mode: int) -> void:
	var at := 0
	while at + RelayMeshUploads.BUNDLE_HEADER_BYTES <= payload.size():
		var start := at + RelayMeshUploads.BUNDLE_HEADER_BYTES
		var end_at := start + payload.decode_u16(at + 1)
		if end_at > payload.size():
			num_dropped += 1
			return
		_queue.push_packet(peer, payload.slice(start, end_at), payload[at], mode)
		at = end_at


static func _append_pair(word: PackedByteArray, player: int, peer: int) -> void:
	var at := word.size()
	word.resize(at + _PAIR_BYTES)
	word.encode_u16(at, player)
	word.encode_u32(at + 2, peer)
