extends Reference
# A tickrelay client for Godot 3 in one file: joins a room, publishes one state, receives those of
# others. It is the least that protocol/SPEC.md section 15 calls correct, and written to be read:
# messages and signals are skipped here, the log is acknowledged so that the relay keeps us.
#
# Numbers are little-endian, which is StreamPeerBuffer's default. A u64 is kept as eight bytes.

signal joined(player_id, code)
signal failed(text)
signal state_received(entity_id, state)
signal entity_removed(entity_id)

enum { IDLE, GREETING, JOINING, JOINED, CLOSED }

const HELLO = 1
const CHALLENGE = 2
const JOIN = 3
const WELCOME = 4
const REFUSE = 5
const BYE = 9
const RESET = 10
const DATA = 16
const UPDATE = 17
const SECTION_STATE = 1
const SECTION_PAGE = 1
const SECTION_LOG_RANGE = 2
const JOIN_OR_CREATE = 3
const REVISION = 1
const HELLO_BYTES = 256
const CHALLENGE_BYTES = 40
const WELCOME_BYTES = 104
const UPDATE_BYTES = 32
const NOTHING_RECEIVED = 1
const TRY_EVERY_MS = 500
const JOIN_TIMEOUT_MS = 5000
const WINDOW = 32

var max_state_bytes = 0
var player_id = -1

var _udp = PacketPeerUDP.new()
var _status = IDLE
var _code = ""
var _name = ""
var _nonce = PoolByteArray()
var _cookie = PoolByteArray()
var _session = PoolByteArray()
var _reset_token = PoolByteArray()
var _started_ms = 0
var _tried_ms = -TRY_EVERY_MS
var _heard_ms = 0
var _sent_ms = 0
var _tick_ms = 33
var _keepalive_ms = 1000
var _timeout_ms = 10000
var _player_slots = 1
var _page_ids = 1
var _seq = 0
var _newest = 0  # newest seq received, whole
var _arrived = {}  # seqs received of the newest WINDOW + 1
var _newest_ms = 0
var _owes_ack = false
var _log_cursor = 0
var _state = PoolByteArray()
var _state_seq = 0  # first DATA that carried the newest state; 0 = none yet
var _is_state_acked = true
var _page_ticks = {}
var _states = {}


# Begins to join; signals tell the outcome. Call poll() every frame from now on.
func start(address, port, code, player_name):
	_code = code.to_upper()
	_name = player_name
	_nonce = Crypto.new().generate_random_bytes(8)
	_started_ms = OS.get_ticks_msec()
	_status = GREETING
	if _udp.connect_to_host(address, port) != OK:
		_fail("There is no way to %s." % address)


func is_joined():
	return _status == JOINED


# Sets the newest bytes of our entity 0; they are sent until the relay has them.
func publish_state(state):
	if state != _state and state.size() >= 1 and state.size() <= max_state_bytes:
		_state = state
		_state_seq = 0
		_is_state_acked = false


func leave():
	if _status == JOINED:
		var bye = _datagram(BYE)
		bye.put_data(_session)
		bye.put_u8(1)  # left
		bye.put_u8(0)  # no text
		for _i in range(3):
			_udp.put_packet(bye.data_array)
	_status = CLOSED


func poll():
	if _status == IDLE or _status == CLOSED:
		return
	while _status != CLOSED and _udp.get_available_packet_count() > 0:
		var packet = _udp.get_packet()
		if packet.size() >= 2:
			_receive(packet)
	var now = OS.get_ticks_msec()
	if _status == JOINED:
		_poll_session(now)
	elif _status != CLOSED:
		_poll_handshake(now)


func _poll_handshake(now):
	if now - _started_ms > JOIN_TIMEOUT_MS:
		_fail("No answer from the relay. Is it running, are address and port right?")
	elif now - _tried_ms >= TRY_EVERY_MS:
		_tried_ms = now
		_udp.put_packet(_build_hello() if _status == GREETING else _build_join())


func _poll_session(now):
	if now - _heard_ms > _timeout_ms:
		_fail("The connection was lost.")
		return
	var is_due = _owes_ack or not _is_state_acked
	if (is_due and now - _sent_ms >= _tick_ms) or now - _sent_ms >= _keepalive_ms:
		_sent_ms = now
		_udp.put_packet(_build_data(now))


func _build_hello():
	var hello = _datagram(HELLO)
	hello.put_data("TKRL".to_ascii())
	hello.put_data(_nonce)
	hello.put_u16(REVISION)
	hello.put_u16(REVISION)
	hello.put_u32(0)  # features
	hello.put_u32(0)  # fingerprint: none
	hello.put_data(_padded("tickrelay-godot3", 24))
	hello.put_data(_padded("", 16))
	hello.put_data(_padded("", HELLO_BYTES - hello.get_size()))
	return hello.data_array


func _build_join():
	var join = _datagram(JOIN)
	join.put_data(_nonce)
	join.put_data(_cookie)
	join.put_u16(REVISION)
	join.put_u32(0)  # features
	join.put_u8(JOIN_OR_CREATE)
	join.put_data(_padded(_code, 16))
	join.put_data(_padded(_name, 32))
	return join.data_array


func _build_data(now):
	_seq += 1
	_owes_ack = false
	var data = _datagram(DATA)
	data.put_u16(_seq & 0xFFFF)
	data.put_data(_session)
	data.put_u16(_newest & 0xFFFF)
	data.put_u32(_ack_bits())
	data.put_u8(int(min(255, now - _newest_ms)) if _newest > 0 else 0)
	data.put_u8(0 if _newest > 0 else NOTHING_RECEIVED)
	data.put_u32(_log_cursor)
	data.put_u16(0)  # reserved
	if not _is_state_acked:
		if _state_seq == 0:
			_state_seq = _seq
		data.put_u8(SECTION_STATE)
		data.put_u16(4 + 2 + _state.size())
		data.put_u16(0)  # sample time: we keep no clock, so it counts as old
		data.put_u8(1)
		data.put_u8(_state.size())
		data.put_u16(player_id)  # entity id of a player's first entity
		data.put_data(_state)
	return data.data_array


func _ack_bits():
	var bits = 0
	for i in range(32):
		if _arrived.has(_newest - 1 - i):
			bits |= 1 << i
	return bits


func _receive(packet):
	var data = StreamPeerBuffer.new()
	data.data_array = packet
	var kind = data.get_u8()
	data.get_u8()  # shard
	if kind == UPDATE and _status == JOINED and packet.size() >= UPDATE_BYTES:
		_handle_update(data)
	elif kind == CHALLENGE and _status != JOINED and packet.size() == CHALLENGE_BYTES:
		if _bytes(data, 8) == _nonce:
			_cookie = packet.subarray(20, 39)
			_status = JOINING
			_tried_ms = -TRY_EVERY_MS
	elif kind == WELCOME and _status != JOINED and packet.size() >= WELCOME_BYTES:
		if _bytes(data, 8) == _nonce:
			_handle_welcome(data)
	elif kind == REFUSE and _status != JOINED and packet.size() >= 16:
		if _bytes(data, 8) == _nonce:
			_fail(packet.subarray(16, -1).get_string_from_utf8() if packet.size() > 16 else "Refused.")
	elif kind == BYE and _status == JOINED and packet.size() >= 12:
		if _bytes(data, 8) == _session:
			_fail("The relay ended the session.")
	elif kind == RESET and _status == JOINED and packet.size() == 26:
		if _bytes(data, 8) == _session and _bytes(data, 16) == _reset_token:
			_fail("The relay was restarted. Join again.")


func _handle_welcome(data):
	_session = _bytes(data, 8)
	_bytes(data, 16)  # the secret: only needed to move to another address
	_reset_token = _bytes(data, 16)
	_code = _bytes(data, 16).get_string_from_ascii()
	player_id = data.get_u16()
	_player_slots = data.get_u16()
	data.get_u16()  # max_players
	data.get_u16()  # entities_per_player
	max_state_bytes = data.get_u8()
	_page_ids = data.get_u8()
	_tick_ms = 1000 / int(max(1, data.get_u16()))
	data.get_u32()  # tick
	_log_cursor = data.get_u32()
	data.get_u16()  # message_id
	data.get_u16()  # message_credit
	_keepalive_ms = data.get_u16()
	_timeout_ms = data.get_u16()
	_heard_ms = OS.get_ticks_msec()
	_status = JOINED
	emit_signal("joined", player_id, _code)


func _handle_update(data):
	var low = data.get_u16()
	if _bytes(data, 8) != _session:
		return
	var seq = _newest + ((low - _newest + 32768) & 65535) - 32768
	if seq < 1 or seq <= _newest - WINDOW or _arrived.has(seq):
		return
	var ack = data.get_u16()
	var ack_bits = data.get_u32()
	data.get_u8()  # ack_delay
	var flags = data.get_u8()
	var tick = data.get_u32()
	data.seek(UPDATE_BYTES)
	var sections = _read_sections(data)
	if sections == null or not _do_pages_fit(sections, tick):
		return  # dropped whole, and not acknowledged
	_accept(seq, not sections.empty())
	if seq == _newest and not flags & NOTHING_RECEIVED:
		_on_acked(ack, ack_bits)
	for section in sections:
		if section[0] == SECTION_PAGE:
			_apply_page(section[1], tick)
		elif section[0] == SECTION_LOG_RANGE:
			_apply_range(section[1])


func _accept(seq, has_sections):
	_heard_ms = OS.get_ticks_msec()
	_arrived[seq] = true
	if seq > _newest:
		_newest = seq
		_newest_ms = _heard_ms
		for old in _arrived.keys():
			if old < _newest - WINDOW:
				_arrived.erase(old)
	_owes_ack = _owes_ack or has_sections


# All DATA since the newest state was set carry it: any of them that arrived will do.
func _on_acked(low, bits):
	var ack = _seq + ((low - _seq + 32768) & 65535) - 32768
	if _state_seq == 0:
		return
	for i in range(33):
		var was_received = i == 0 or bits >> (i - 1) & 1
		if was_received and ack - i >= _state_seq:
			_is_state_acked = true


# [[type, StreamPeerBuffer], ...]; null if a section is longer than the datagram.
func _read_sections(data):
	var sections = []
	while data.get_available_bytes() > 0:
		if data.get_available_bytes() < 3:
			return null
		var type = data.get_u8()
		var length = data.get_u16()
		if data.get_available_bytes() < length:
			return null
		var body = StreamPeerBuffer.new()
		body.data_array = _bytes(data, length)
		sections.append([type, body])
	return sections


func _do_pages_fit(sections, tick):
	for section in sections:
		if section[0] != SECTION_PAGE:
			continue
		if not _is_page_whole(section[1]):
			return false
		section[1].seek(0)
		var page = section[1].get_u16()
		section[1].get_u8()
		var since = section[1].get_u32()
		section[1].seek(0)
		var applied = _page_ticks.get(page, 0)
		if tick > applied and since > applied:
			return false
	return true


# Whether the counts of a page fill it exactly: only then may it be read.
func _is_page_whole(body):
	if body.get_size() < 13:
		return false
	body.seek(11)
	var at = 13 + 2 * body.get_u8()
	var num_groups = body.get_u8()
	for _i in range(num_groups):
		if at + 3 > body.get_size():
			return false
		body.seek(at)
		var encoding = body.get_u8()
		var count = body.get_u8()
		var stride = body.get_u8()
		if encoding != 0 or stride < 1 or stride > max_state_bytes:
			return false
		at += 3 + count * (3 + stride)
	return at == body.get_size()


func _apply_page(body, tick):
	var page = body.get_u16()
	if tick <= _page_ticks.get(page, 0):
		return
	_page_ticks[page] = tick
	body.get_u8()  # layer
	var since = body.get_u32()
	body.get_u32()  # log_index
	var removed_count = body.get_u8()
	var group_count = body.get_u8()
	var gone = {}
	for _i in range(removed_count):
		gone[body.get_u16()] = true
	var changed = {}
	for _i in range(group_count):
		_read_group(body, changed)
	if since == 0:
		for entity_id in range(page * _page_ids, (page + 1) * _page_ids):
			if not changed.has(entity_id):
				gone[entity_id] = true
	_tell(gone, changed)


func _read_group(body, changed):
	body.get_u8()  # encoding
	var count = body.get_u8()
	var stride = body.get_u8()
	var ids = []
	for _i in range(count):
		ids.append(body.get_u16())
	_bytes(body, count)  # ages
	for entity_id in ids:
		changed[entity_id] = _bytes(body, stride)


func _tell(gone, changed):
	for entity_id in gone:
		if _states.erase(entity_id) and entity_id % _player_slots != player_id:
			emit_signal("entity_removed", entity_id)
	for entity_id in changed:
		if _states.get(entity_id) != changed[entity_id]:
			_states[entity_id] = changed[entity_id]
			if entity_id % _player_slots != player_id:
				emit_signal("state_received", entity_id, changed[entity_id])


# The least that is correct: a range that begins beyond the cursor is ignored and comes again.
func _apply_range(body):
	if body.get_size() < 12:
		return
	var first = body.get_u32()
	var last = body.get_u32()
	if first <= _log_cursor + 1 and last > _log_cursor:
		_log_cursor = last


func _fail(text):
	_status = CLOSED
	emit_signal("failed", text)


func _datagram(kind):
	var data = StreamPeerBuffer.new()
	data.put_u8(kind)
	data.put_u8(_shard())
	return data


func _shard():
	var shard = 0
	for byte in _code.to_ascii():
		shard = (shard * 31 + byte) & 255
	return shard


func _padded(text, size):
	var bytes = text.to_utf8()
	bytes.resize(size)
	for i in range(text.to_utf8().size(), size):
		bytes[i] = 0
	return bytes


func _bytes(data, size):
	return data.get_data(size)[1] if size > 0 else PoolByteArray()
