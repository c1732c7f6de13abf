extends RefCounted
## What a game puts into a RelayMultiplayerPeer during a frame, made into few uploads.
##
## SceneMultiplayer puts a broadcast once per peer. Equal packets become one with several targets,
## and packets of one frame for the same targets are bundled up to the size of one fragment: the
## relay counts messages and signals, not what is in them.

const RelayParcel := preload("relay_parcel.gd")
const RelayWire := preload("generated_wire.gd")

## Kinds of messages and signals with packets: this, the transfer mode in the low two bits, and
## these bits. Kinds below are left to games that use RelayClient in the same room.
const KIND := 64
const MODE_MASK := 3
## Several packets, each after its channel u8 and length u16.
const BUNDLE := 4
## For all but the sender. Before the payload stands a u16: the serial of the last player that the
## sender knew. Who came later drops it.
const TO_ALL := 8
## A piece of a packet that is larger than a message; more follow.
const MORE := 16
const KIND_END := 96

## Longest packet: what ENet takes by default.
const MAX_PACKET_BYTES := 32 << 20
## Bytes that may wait beyond what the connection takes (chosen: two of the longest packets).
const MAX_WAITING_BYTES := 64 << 20
## A piece leaves room for the numbers before it.
const PIECE_BYTES := RelayWire.MAX_MESSAGE_BYTES - 1024
## A packet is compared with so many that were put before it (chosen; a match is nearly always the
## first).
const MAX_COMPARED := 32
## Before each packet of a bundle: channel and length.
const BUNDLE_HEADER_BYTES := 3


class RelayPut:
	extends RefCounted
	var payload := PackedByteArray()
	var channel := 0
	var mode := MultiplayerPeer.TRANSFER_MODE_RELIABLE
	## Player ids.
	var players := PackedInt32Array()

	## Tells whether both may share an upload. The relay drops older signals per channel.
	func is_alike(other: RelayPut) -> bool:
		var is_reliable := mode == MultiplayerPeer.TRANSFER_MODE_RELIABLE
		return (
			mode == other.mode
			and (is_reliable or channel == other.channel)
			and players == other.players
		)


class RelayUpload:
	extends RefCounted
	var is_signal := false
	## Of a signal: how many messages were made before it.
	var follows := 0
	var kind := 0
	var channel := 0
	var target := RelayWire.Target.LIST
	var players := PackedInt32Array()
	var payload := PackedByteArray()


## Packets that the game put, one for each target.
var num_put := 0
var _puts: Array[RelayPut] = []
var _last_at := {}  # player id -> index in _puts of the newest packet for it
## Made by [method seal] and not taken by the connection: signals may pass messages.
var _messages: Array[RelayUpload] = []
var _signals: Array[RelayUpload] = []
## Payload of all that waits, sealed or not.
var _num_bytes := 0
var _num_messages_taken := 0
## Signals that were made, as the connection numbers them: 16 bits.
var _num_signals := 0


func is_empty() -> bool:
	return _puts.is_empty() and num_ready() == 0


## Uploads that wait for the connection.
func num_ready() -> int:
	return _messages.size() + _signals.size()


## Takes a packet for one player.
func put(payload: PackedByteArray, channel: int, mode: int, player: int) -> Error:
	if payload.size() > MAX_PACKET_BYTES or _num_bytes + payload.size() > MAX_WAITING_BYTES:
		return ERR_OUT_OF_MEMORY
	num_put += 1
	# Only behind the newest one for this player: its packets must stay in order.
	var first: int = _last_at.get(player, -1) + 1
	for at in range(first, mini(_puts.size(), first + MAX_COMPARED)):
		var other := _puts[at]
		if other.channel == channel and other.mode == mode and other.payload == payload:
			other.players.append(player)
			_last_at[player] = at
			return OK
	var packet := RelayPut.new()
	packet.payload = payload
	packet.channel = channel
	packet.mode = mode as MultiplayerPeer.TransferMode
	packet.players.append(player)
	_last_at[player] = _puts.size()
	_puts.append(packet)
	_num_bytes += payload.size()
	return OK


## Makes uploads of what was put. [param known]: player ids of the others in the room, ascending,
## if all of them take packets, otherwise none; [param serial]: of the newest of them.
func seal(me: int, known: PackedInt32Array, serial: int) -> void:
	var messages: Array[RelayPut] = []
	var signals: Array[RelayPut] = []
	for packet in _puts:
		packet.players.sort()
		_num_bytes -= packet.payload.size()
		var is_reliable := packet.mode == MultiplayerPeer.TRANSFER_MODE_RELIABLE
		if not is_reliable and packet.payload.size() <= _signal_bytes(packet.players.size()):
			signals.append(packet)
		else:
			if packet.mode == MultiplayerPeer.TRANSFER_MODE_UNRELIABLE_ORDERED:
				# It says how many signals stand before it: no later packet may share one of them.
				_make(messages, signals, me, known, serial)
				messages.clear()
				signals.clear()
			messages.append(packet)
	_make(messages, signals, me, known, serial)
	_puts.clear()
	_last_at.clear()


## Adds a message that is not the game's, behind all that was sealed.
func add_word(kind: int, payload: PackedByteArray, target: int, players: PackedInt32Array) -> void:
	var upload := RelayUpload.new()
	upload.kind = kind
	upload.target = target as RelayWire.Target
	upload.players = players
	upload.payload = payload
	_add(upload)


## The upload that is to be sent next, null if there is none: the oldest, or, where signals pass
## messages, the oldest signal.
func next(signals_pass: bool) -> RelayUpload:
	if not _signals.is_empty() and (signals_pass or _signals[0].follows <= _num_messages_taken):
		return _signals[0]
	return null if signals_pass or _messages.is_empty() else _messages[0]


## Removes what [method next] gave: the connection took it.
func pop(upload: RelayUpload) -> void:
	(_signals if upload.is_signal else _messages).pop_front()
	_num_messages_taken += 0 if upload.is_signal else 1
	_num_bytes -= upload.payload.size()


func clear() -> void:
	_puts.clear()
	_last_at.clear()
	_messages.clear()
	_signals.clear()
	_num_bytes = 0
	_num_messages_taken = 0
	_num_signals = 0


## Longest packet that goes as a signal: eight fragments, less the serial.
static func _signal_bytes(num_players: int) -> int:
	var fragment := RelayParcel.fragment_bytes(RelayWire.RelaySignalUpHeader.SIZE, num_players)
	return fragment * RelayWire.MAX_SIGNAL_FRAGMENTS - 2


## Groups packets that follow each other and may share an upload.
static func _runs(puts: Array[RelayPut]) -> Array[Array]:
	var runs: Array[Array] = []
	var bytes := 0
	for packet in puts:
		var size := BUNDLE_HEADER_BYTES + packet.payload.size()
		var limit := (
			RelayParcel.fragment_bytes(RelayWire.RelaySignalUpHeader.SIZE, packet.players.size())
			- 2
		)
		if not runs.is_empty() and packet.is_alike(runs[-1][0]) and bytes + size <= limit:
			runs[-1].append(packet)
			bytes += size
		else:
			runs.append([packet])
			bytes = size
	return runs


func _make(
	messages: Array[RelayPut],
	signals: Array[RelayPut],
	me: int,
	known: PackedInt32Array,
	serial: int
) -> void:
	for run in _runs(messages):
		_fill(_upload_for(run[0], me, known), run, serial)
	for run in _runs(signals):
		var upload := _upload_for(run[0], me, known)
		upload.is_signal = true
		_fill(upload, run, serial)


static func _upload_for(packet: RelayPut, me: int, known: PackedInt32Array) -> RelayUpload:
	var upload := RelayUpload.new()
	upload.kind = KIND | packet.mode
	upload.channel = packet.channel
	upload.players = packet.players
	if packet.players == known:
		upload.kind |= TO_ALL
		upload.target = RelayWire.Target.ALL_BUT
		upload.players = PackedInt32Array([me])
	elif packet.players.size() == 1:
		upload.target = RelayWire.Target.ONE
	return upload


func _fill(upload: RelayUpload, run: Array, serial: int) -> void:
	var prefix := PackedByteArray()
	if upload.kind & TO_ALL:
		_append_u16(prefix, serial)
	if upload.is_signal:
		_num_signals += 1
	elif upload.kind & MODE_MASK == MultiplayerPeer.TRANSFER_MODE_UNRELIABLE_ORDERED:
		# A signal sent before this one must not be handed over after it.
		_append_u16(prefix, _num_signals)
	if run.size() == 1:
		_cut(upload, prefix, run[0].payload)
		return
	upload.kind |= BUNDLE
	upload.payload = prefix
	for packet: RelayPut in run:
		upload.payload.append(packet.channel)
		_append_u16(upload.payload, packet.payload.size())
		upload.payload.append_array(packet.payload)
	_add(upload)


func _cut(upload: RelayUpload, prefix: PackedByteArray, payload: PackedByteArray) -> void:
	var at := 0
	while payload.size() - at > PIECE_BYTES:
		var piece := RelayUpload.new()
		piece.kind = upload.kind | MORE
		piece.channel = upload.channel
		piece.target = upload.target
		piece.players = upload.players
		piece.payload = prefix + payload.slice(at, at + PIECE_BYTES)
		_add(piece)
		at += PIECE_BYTES
	upload.payload = prefix + payload.slice(at)
	_add(upload)


func _add(upload: RelayUpload) -> void:
	if upload.is_signal:
		upload.follows = _num_messages_taken + _messages.size()
		_signals.append(upload)
	else:
		_messages.append(upload)
	_num_bytes += upload.payload.size()


static func _append_u16(bytes: PackedByteArray, value: int) -> void:
	var at := bytes.size()
	bytes.resize(at + 2)
	bytes.encode_u16(at, value & 0xFFFF)
