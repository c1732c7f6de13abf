extends SceneTree
## Random packets of players among each other, through everything of a RelayMultiplayerPeer but the
## network: what each one gets is what was for it, in order; equal packets are uploaded once.

const Events := preload("res://addons/tickrelay/relay_events.gd")
const Order := preload("res://addons/tickrelay/relay_mesh_order.gd")
const Packets := preload("res://addons/tickrelay/relay_mesh_packets.gd")
const Room := preload("res://addons/tickrelay/relay_mesh.gd")
const Uploads := preload("res://addons/tickrelay/relay_mesh_uploads.gd")
const Wire := preload("res://addons/tickrelay/generated_wire.gd")

const RELIABLE := MultiplayerPeer.TRANSFER_MODE_RELIABLE
const UNRELIABLE := MultiplayerPeer.TRANSFER_MODE_UNRELIABLE
const ORDERED := MultiplayerPeer.TRANSFER_MODE_UNRELIABLE_ORDERED
const NUM_PLAYERS := 5
const ROUNDS := 200

var rooms: Array[Room] = []
var queues: Array[Packets] = []
var failures: Array[String] = []
var now := 0.0


func _initialize() -> void:
	seed(1)
	_gather()
	_test_everybody_knows_everybody()
	_test_random_packets()
	_test_what_a_broadcast_costs()
	_test_as_many_as_all_are_not_all()
	_test_a_packet_beyond_a_message()
	_test_an_ordered_signal_behind_a_large_one()
	_test_a_large_one_that_newer_signals_have_passed()
	_test_pieces_that_newer_signals_have_passed()
	_test_numbers_wrap()
	_test_a_large_one_among_ordered_signals()
	_test_signals_pass_messages()
	_test_what_waits_has_a_limit()
	_test_newcomers_drop_what_was_sent_before()
	_test_words_for_an_earlier_player_of_this_id()
	_test_garbage()
	print("@", JSON.stringify({"event": "result", "failures": failures}))
	quit()


func _check(is_right: bool, what: String) -> void:
	if not is_right:
		failures.append(what)


## Lets players 0 to NUM_PLAYERS - 1 meet; 0 is the host.
func _gather() -> void:
	for me in NUM_PLAYERS:
		_add(me)


func _add(me: int) -> void:
	queues.append(Packets.new())
	rooms.append(Room.new(queues[me], me == 0))
	rooms[me].me = me
	if me > 0:
		for other in me:
			rooms[me].take(_joined(other), now)
		var host := Events.RelayHostChanged.new()
		rooms[me].take(host, now)
	for room in rooms:
		room.take(_joined(me), now)
	if me > 0:
		var peer := rooms[0].peer_of(me)
		_say(Room.GREET, rooms[0].build_greeting(peer), [me])
		_say(Room.ADMIT, rooms[0].admit(peer), range(1, rooms.size()))


func _joined(player: int, index: int = 7) -> Events.RelayPlayerJoined:
	var event := Events.RelayPlayerJoined.new()
	event.player_id = player
	event.index = index
	return event


func _say(kind: int, payload: PackedByteArray, to: Array) -> void:
	for player: int in to:
		rooms[player].take(_message(0, kind, 0, payload), now)


func _message(sender: int, kind: int, channel: int, payload: PackedByteArray) -> RefCounted:
	var event := Events.RelayMessageReceived.new()
	event.sender = sender
	event.kind = kind
	event.channel = channel
	event.payload = payload
	return event


func _seal(uploads: Uploads, sender: int) -> void:
	uploads.seal(sender, rooms[sender].known(), rooms[sender].serial)


## Takes what was sealed, in the order in which a connection gets it.
func _take_all(uploads: Uploads) -> Array[Uploads.RelayUpload]:
	var all: Array[Uploads.RelayUpload] = []
	while uploads.num_ready() > 0:
		all.append(uploads.next(false))
		uploads.pop(all[-1])
	return all


## Delivers what was sealed, as the relay does. Returns the number of uploads.
func _deliver(sender: int, uploads: Uploads) -> int:
	return _deliver_these(sender, _take_all(uploads))


func _deliver_these(sender: int, uploads: Array[Uploads.RelayUpload]) -> int:
	var num_signals := 0
	for upload in uploads:
		num_signals += 1 if upload.is_signal else 0
		var to: Array = Array(upload.players)
		if upload.target == Wire.Target.ALL_BUT:
			to = range(rooms.size()).filter(func(id: int) -> bool: return id != upload.players[0])
		for player: int in to:
			var event: RefCounted
			event = (
				Events.RelaySignalReceived.new()
				if upload.is_signal
				else Events.RelayMessageReceived.new()
			)
			event.sender = sender
			event.kind = upload.kind
			event.channel = upload.channel
			event.payload = upload.payload
			if upload.is_signal:
				event.sequence = num_signals
			rooms[player].take(event, now)
	return uploads.size()


func _read(player: int) -> Array:
	var packets := []
	while queues[player].head() != null:
		var ready := queues[player].num_ready()
		var item := queues[player].pop()
		if item is Packets.RelayPacket:
			_check(ready > 0, "a packet is ready that was not counted")
			packets.append([item.peer, item.mode, item.channel, item.payload])
	return packets


func _test_everybody_knows_everybody() -> void:
	for me in NUM_PLAYERS:
		_check(rooms[me].own_id == me + 1, "%d has the id %d" % [me, rooms[me].own_id])
		_check(rooms[me].known().size() == NUM_PLAYERS - 1, "%d does not know all" % me)
		for other in NUM_PLAYERS:
			_check(rooms[me].peer_of(other) == other + 1, "%d of %d" % [other, me])
		_read(me)


func _test_random_packets() -> void:
	for number in ROUNDS:
		var sender := number % NUM_PLAYERS
		var uploads := Uploads.new()
		var expected := {}  # receiver -> packets
		for _i in randi() % 12 + 1:
			_put_random(uploads, sender, expected)
		_seal(uploads, sender)
		var num_uploads := _deliver(sender, uploads)
		_check(num_uploads <= uploads.num_put, "more uploads than packets")
		for player in NUM_PLAYERS:
			var got := _read(player)
			for is_reliable: bool in [true, false]:
				var of_class := func(packet: Array) -> bool:
					return (packet[1] == RELIABLE) == is_reliable
				var wanted: Array = expected.get(player, []).filter(of_class)
				_check(got.filter(of_class) == wanted, "round %d, player %d" % [number, player])


func _put_random(uploads: Uploads, sender: int, expected: Dictionary) -> void:
	var payload := PackedByteArray()
	payload.resize([1, 20, 600, 1500][randi() % 4])
	payload.fill(randi() % 3)
	var mode: int = [RELIABLE, UNRELIABLE, ORDERED][randi() % 3]
	var channel := randi() % 2
	for player in NUM_PLAYERS:
		if player == sender or (randi() % 3 == 0):
			continue
		uploads.put(payload, channel, mode, player)
		if not expected.has(player):
			expected[player] = []
		expected[player].append([sender + 1, mode, channel, payload])


## A broadcast of a position and a changed value, as SceneMultiplayer puts them: peer by peer.
func _test_what_a_broadcast_costs() -> void:
	var uploads := Uploads.new()
	for player in range(1, NUM_PLAYERS):
		uploads.put(PackedByteArray([6, 1]), 0, UNRELIABLE, player)
		uploads.put(PackedByteArray([6, 2]), 0, RELIABLE, player)
	for player in range(1, NUM_PLAYERS):
		uploads.put(PackedByteArray([0, 3]), 1, RELIABLE, player)
	_seal(uploads, 0)
	var made := _take_all(uploads)
	_check(made.all(_is_to_all), "a list where all are meant")
	_check(_deliver_these(0, made) == 2, "one message and one signal")
	for player in range(1, NUM_PLAYERS):
		_check(_read(player).size() == 3, "three packets for %d" % player)


func _is_to_all(upload: Uploads.RelayUpload) -> bool:
	return upload.target == Wire.Target.ALL_BUT


## As many as there are, but others: the game has not heard yet that 2 went and 3 came.
func _test_as_many_as_all_are_not_all() -> void:
	var uploads := Uploads.new()
	for player: int in [2, 1]:
		uploads.put(PackedByteArray([1]), 0, RELIABLE, player)
	uploads.seal(0, PackedInt32Array([1, 3]), 0)
	var upload := uploads.next(false)
	_check(upload.target == Wire.Target.LIST, "two of those who were there, not all who are")
	_check(upload.players == PackedInt32Array([1, 2]), "to whom it was put")


func _test_a_packet_beyond_a_message() -> void:
	var uploads := Uploads.new()
	var payload := PackedByteArray()
	payload.resize(3 * Wire.MAX_MESSAGE_BYTES)
	for at in range(0, payload.size(), 1000):
		payload[at] = at / 1000 % 251
	uploads.put(payload, 0, RELIABLE, 1)
	uploads.put(PackedByteArray([1]), 0, RELIABLE, 1)
	_seal(uploads, 0)
	_check(_deliver(0, uploads) == 5, "four pieces and a small one")
	var got := _read(1)
	_check(got.size() == 2 and got[0][3] == payload, "a large packet is whole")
	var too_long := PackedByteArray()
	too_long.resize(Uploads.MAX_PACKET_BYTES + 1)
	_check(uploads.put(too_long, 0, RELIABLE, 1) == ERR_OUT_OF_MEMORY, "too long a packet")


## A minute later the mesh has forgotten what it saw: a test may number its signals anew.
func _let_time_pass() -> void:
	now += Order.LARGE_S + 1.0


## Longer than a signal, and an upload of its own.
func _large() -> PackedByteArray:
	var payload := PackedByteArray()
	payload.resize(Wire.MAX_SIGNAL_BYTES + 1)
	return payload


## Delivers an upload to player 1 once more. [param sequence]: of a signal.
func _take_again(upload: Uploads.RelayUpload, sequence: int = 0, channel: int = 0) -> void:
	var event := _message(0, upload.kind, channel, upload.payload)
	if upload.is_signal:
		event = Events.RelaySignalReceived.new()
		event.kind = upload.kind
		event.channel = channel
		event.payload = upload.payload
		event.sequence = sequence & 0xFFFF
	rooms[1].take(event, now)


## What player 1 reads, by its size.
func _read_sizes() -> Array:
	return _read(1).map(func(packet: Array) -> int: return packet[3].size())


func _test_an_ordered_signal_behind_a_large_one() -> void:
	_let_time_pass()
	var uploads := Uploads.new()
	uploads.put(PackedByteArray([1]), 0, ORDERED, 1)
	uploads.seal(0, PackedInt32Array(), 0)
	var late := _take_all(uploads)[0]
	uploads.put(_large(), 0, ORDERED, 1)
	uploads.seal(0, PackedInt32Array(), 0)
	_check(not uploads.next(false).is_signal, "too large for a signal")
	_deliver(0, uploads)
	for sequence in [1, 2]:
		_take_again(late, sequence)
	var got := _read(1)
	_check(got.size() == 2, "of two signals the one sent before the large packet is dropped")
	_check(got[0][1] == ORDERED, "a large packet keeps its mode")
	_check(rooms[1].num_late_signals == 1, "and counted")


## It was handed over: the newest position of a game was followed by one of seconds ago.
func _test_a_large_one_that_newer_signals_have_passed() -> void:
	for players: Array in [[1], range(1, NUM_PLAYERS)]:  # to one, and to all: behind the serial
		_let_time_pass()
		rooms[1].num_late_messages = 0
		var uploads := Uploads.new()
		for payload: PackedByteArray in [_large(), PackedByteArray([1])]:
			for player: int in players:
				uploads.put(payload, 0, ORDERED, player)
		_seal(uploads, 0)
		var made := _take_all(uploads)
		_take_again(made[1], 1, 1)
		_take_again(made[0])
		_check(_read_sizes() == [1, _large().size()], "passed on another channel only")
		_take_again(made[1], 2)
		_take_again(made[0])
		_check(_read_sizes() == [1], "passed on its channel")
		_check(rooms[1].num_late_messages == 1, "and counted")


## A signal comes between the pieces of a packet that was put before it.
func _test_pieces_that_newer_signals_have_passed() -> void:
	_let_time_pass()
	var uploads := Uploads.new()
	var payload := PackedByteArray()
	payload.resize(Wire.MAX_MESSAGE_BYTES + 1)
	uploads.put(payload, 0, ORDERED, 1)
	uploads.put(PackedByteArray([1]), 0, ORDERED, 1)
	_seal(uploads, 0)
	var made := _take_all(uploads)
	_check(made.size() == 3, "two pieces and a signal")
	_take_again(made[0])
	_take_again(made[2], 1)
	_take_again(made[1])
	_check(_read_sizes() == [1], "the large one comes too late")
	_take_again(made[1])
	_check(_read_sizes().size() == 0, "nothing of it is left")


## Once half of the numbers had gone by, all ordered signals seemed to be older than the large one:
## for nine minutes at 60 a second nothing arrived on its channel. So it is with large ones behind a
## signal.
func _test_numbers_wrap() -> void:
	var uploads := Uploads.new()
	uploads.put(_large(), 0, ORDERED, 1)
	uploads.put(PackedByteArray([1]), 0, ORDERED, 1)
	_seal(uploads, 0)
	var made := _take_all(uploads)
	for channel: int in [0, 1]:  # the large one is passed there, or on another channel only
		_let_time_pass()
		_take_again(made[0])
		for sequence in range(1, 0xA000, 0x1000):
			_take_again(made[1], sequence, channel)
			now += 0x1000 / 300.0  # as many as the relay takes
		_read(1)
		_take_again(made[1], 0xA000)
		_check(_read_sizes() == [1], "a signal long after a large one, channel %d" % channel)
	for ahead in range(0x1000, 0x10000, 0x1000):
		_let_time_pass()
		_take_again(made[1], 1)
		now += ahead / 300.0
		made[0].payload.encode_u16(0, 1 + ahead & 0xFFFF)
		_take_again(made[0])
		_check(_read_sizes() == [1, _large().size()], "large, %d signals after one" % ahead)


## Three of one frame and channel: the large one is a message between two signals.
func _test_a_large_one_among_ordered_signals() -> void:
	_let_time_pass()
	var uploads := Uploads.new()
	uploads.put(PackedByteArray([1]), 0, ORDERED, 1)
	uploads.put(_large(), 0, ORDERED, 1)
	uploads.put(PackedByteArray([3]), 0, ORDERED, 1)
	_seal(uploads, 0)
	var made := _take_all(uploads)
	_deliver_these(0, made)
	var sizes := _read_sizes()
	_check(sizes == [1, _large().size(), 1], "in the order in which they were put: %s" % [sizes])
	_check(made.size() == 3, "none shares an upload")
	_let_time_pass()
	_take_again(made[1])
	for at: int in [0, 2]:
		_take_again(made[at], 1 + at / 2)
	sizes = _read_sizes()
	_check(sizes == [_large().size(), 1], "the first comes too late: %s" % [sizes])


## Signals do not wait for messages that find no room, but only if they may pass them.
func _test_signals_pass_messages() -> void:
	var uploads := Uploads.new()
	uploads.put(PackedByteArray([1]), 0, RELIABLE, 1)
	uploads.put(PackedByteArray([2]), 0, UNRELIABLE, 1)
	_seal(uploads, 0)
	uploads.put(PackedByteArray([3]), 0, RELIABLE, 1)
	_seal(uploads, 0)
	_check(not uploads.next(false).is_signal, "a signal before the message it follows")
	_check(uploads.next(true).is_signal, "a signal that passes")
	uploads.pop(uploads.next(false))
	_check(uploads.next(false).is_signal, "a message before the signal that it follows")
	uploads.pop(uploads.next(false))
	_check(uploads.next(true) == null and uploads.num_ready() == 1, "no signal is left")


func _test_what_waits_has_a_limit() -> void:
	var uploads := Uploads.new()
	var half := PackedByteArray()
	half.resize(Uploads.MAX_WAITING_BYTES / 2)
	for channel in 2:
		_check(uploads.put(half, channel, RELIABLE, 1) == OK, "two of the longest")
	_check(uploads.put(PackedByteArray([1]), 0, RELIABLE, 1) == ERR_OUT_OF_MEMORY, "not sealed")
	_seal(uploads, 0)
	_check(uploads.put(PackedByteArray([1]), 0, RELIABLE, 1) == ERR_OUT_OF_MEMORY, "sealed")
	_take_all(uploads)
	_check(uploads.put(half, 0, RELIABLE, 1) == OK, "there is room again")


## A packet to all that was on its way while somebody came is not for the newcomer.
func _test_newcomers_drop_what_was_sent_before() -> void:
	var uploads := Uploads.new()
	for player in NUM_PLAYERS:
		if player != 1:
			uploads.put(PackedByteArray([1]), 0, RELIABLE, player)
	_seal(uploads, 1)
	_add(NUM_PLAYERS)
	_deliver(1, uploads)
	_check(_read(2).size() == 1, "others get it")
	_check(_read(NUM_PLAYERS).is_empty(), "the newcomer does not")


## A word of the host's was so long under way that its player is gone and another has its id.
func _test_words_for_an_earlier_player_of_this_id() -> void:
	var queue := Packets.new()
	var newcomer := Room.new(queue, false)
	newcomer.me = NUM_PLAYERS
	newcomer.take(_joined(0, 20), now)
	newcomer.take(Events.RelayHostChanged.new(), now)
	newcomer.take(_joined(NUM_PLAYERS, 21), now)
	var earlier := rooms[0].build_greeting(rooms[0].peer_of(NUM_PLAYERS))
	newcomer.take(_message(0, Room.GREET, 0, earlier), now)
	newcomer.take(_message(0, Room.KICK, 0, rooms[0].build_kick(NUM_PLAYERS)), now)
	_check(newcomer.own_id == 0 and queue.head() == null, "a word for another is passed over")
	var left := Events.RelayPlayerLeft.new()
	left.player_id = NUM_PLAYERS
	rooms[0].take(left, now)
	rooms[0].take(_joined(NUM_PLAYERS, 21), now)
	var peer := rooms[0].peer_of(NUM_PLAYERS)
	newcomer.take(_message(0, Room.GREET, 0, rooms[0].build_greeting(peer)), now)
	_check(newcomer.own_id == peer, "the next word is for it")
	_check(earlier.decode_u32(0) != peer, "peer ids are not used again")
	newcomer.take(_message(0, Room.KICK, 0, rooms[0].build_kick(NUM_PLAYERS)), now)
	var ends := _marks(queue).filter(
		func(mark: Packets.RelayMark) -> bool: return mark.change == Packets.RelayChange.ENDED
	)
	_check(ends.size() == 1, "and so is the next kick")


func _marks(queue: Packets) -> Array:
	var marks := []
	while queue.head() != null:
		marks.append(queue.pop())
	return marks


func _test_garbage() -> void:
	for kind in range(1, 128):
		for size in [0, 1, 2, 3, 5, 9, 40]:
			for sender: int in [0, 2, NUM_PLAYERS + 3]:
				var payload := (
					Crypto.new().generate_random_bytes(size) if size else PackedByteArray()
				)
				if kind == Room.KICK and sender == 0:
					continue
				rooms[1].take(_message(sender, kind, 3, payload), now)
				var event := Events.RelaySignalReceived.new()
				event.sender = sender
				event.kind = kind
				event.payload = payload
				rooms[1].take(event, now)
	_read(1)
	_check(rooms[1].own_id == 2, "nobody changes who we are")
