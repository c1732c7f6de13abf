extends SceneTree
## Holds the add-on against the shared vectors: for each group tells how many cases passed, and
## names those that did not. Argument: the path of the vectors.

const Acks := preload("res://addons/tickrelay/relay_acks.gd")
const Clock := preload("res://addons/tickrelay/relay_clock.gd")
const Codec := preload("vector_codec.gd")
const Log := preload("res://addons/tickrelay/relay_log.gd")
const Outbox := preload("res://addons/tickrelay/relay_outbox.gd")
const Proofs := preload("res://addons/tickrelay/relay_proofs.gd")
const Records := preload("res://addons/tickrelay/relay_records.gd")
const RelayText := preload("res://addons/tickrelay/relay_text.gd")
const Sequence := preload("res://addons/tickrelay/relay_sequence.gd")
const Signals := preload("res://addons/tickrelay/relay_signals.gd")
const States := preload("res://addons/tickrelay/relay_states.gd")
const Table := preload("res://addons/tickrelay/relay_table.gd")
const Wire := preload("res://addons/tickrelay/generated_wire.gd")

const CLIENT_RULES: Array[String] = [
	"datagrams",
	"refused_datagrams",
	"sequence_extend",
	"receive_windows",
	"ack_bits",
	"acked",
	"ack_delays",
	"message_bits",
	"log_bits",
	"versions",
	"shards",
	"room_keys",
	"join_proofs",
	"path_proofs",
	"resume_proofs",
	"entity_ids",
	"page_of",
	"ages",
	"parts",
	"signal_fragments",
	"newest_first",
	"signal_positions",
	"pages",
	"logs",
]
## Rules of the server alone: page_ids and num_pages come in WELCOME, ages are made by the server,
## sample times are clamped by it.
const SERVER_RULES: Array[String] = ["page_ids", "num_pages", "age_of_delay", "sample_times"]


func _initialize() -> void:
	var path := OS.get_cmdline_user_args()[0]
	var vectors: Dictionary = JSON.parse_string(FileAccess.get_file_as_string(path))
	for group: String in vectors:
		if not vectors[group] is Array or SERVER_RULES.has(group):
			continue
		var failed := []
		for i in vectors[group].size():
			var case: Dictionary = vectors[group][i]
			if not CLIENT_RULES.has(group) or not call("_check_" + group, case):
				failed.append(case.get("name", str(i)))
		print(
			"@", JSON.stringify({"event": group, "cases": vectors[group].size(), "failed": failed})
		)
	quit()


func _shape(
	page_ids: int = 27, slots: int = 32, entities: int = 4, most: int = 32
) -> Records.RelayRoomShape:
	var shape := Records.RelayRoomShape.new()
	shape.player_slots = slots
	shape.num_ids = slots * entities
	shape.page_ids = page_ids
	shape.max_state_bytes = most
	return shape


## An UPDATE with one section, whose header does not matter.
func _sections_of(type: Wire.UpdateSection, body: PackedByteArray) -> Records.RelaySections:
	var data := Wire.RelayUpdateHeader.new().encode()
	var header := Wire.RelaySectionHeader.new()
	header.type = type
	header.length = body.size()
	data.append_array(header.encode())
	data.append_array(body)
	return Records.read_sections(data, _shape())


func _check_datagrams(case: Dictionary) -> bool:
	var data: PackedByteArray = case.hex.hex_decode()
	if not Codec.equals(Codec.decode(data), case.value):
		return false
	if Codec.encode(case.kind, case.value) != data:
		return false
	return case.kind != "UPDATE" or _reads_as(data, case.value)


## What the client reads of an UPDATE is what the vector says.
func _reads_as(data: PackedByteArray, value: Dictionary) -> bool:
	var sections := Records.read_sections(data, _shape())
	if sections == null:  # a case of a page beyond those of the usual room
		sections = Records.read_sections(data, _shape(4, 512, 128, 255))
	if sections == null:
		return false
	var found := []
	for page: Records.RelayPage in sections.pages:
		for group: Records.RelayGroup in page.groups:
			for row in group.ids.size():
				var at := row * group.stride
				var state := group.states.slice(at, at + group.stride).hex_encode()
				found.append([group.ids[row], group.ages[row], state])
	for part: Records.RelayLogRange in sections.ranges:
		for entry: Records.RelayEntry in part.entries:
			found.append([entry.log_index & 0xFFFF, entry.kind, entry.payload.hex_encode()])
	for part: Records.RelaySignalPart in sections.signal_parts:
		found.append([part.sequence, part.flags, part.payload.hex_encode()])
	return Codec.equals(found, _expected_reading(value))


func _expected_reading(value: Dictionary) -> Array:
	var pages := []
	var entries := []
	var signals := []
	for section: Dictionary in value.sections:
		if section.body is String:
			continue
		for group: Dictionary in section.body.get("groups", []):
			for row in group.ids.size():
				pages.append([group.ids[row], group.ages[row], group.states[row]])
		for entry: Dictionary in section.body.get("entries", []):
			entries.append([entry.header.index, entry.header.kind, entry.payload])
		if section.body.has("payload"):
			var header: Dictionary = section.body.header
			signals.append([header.sequence, header.flags, section.body.payload])
	return pages + entries + signals


func _check_refused_datagrams(case: Dictionary) -> bool:
	var data: PackedByteArray = case.hex.hex_decode()
	var result: Variant = Codec.decode(data)
	if not result is int or Wire.DropReason.find_key(result) != case.reason:
		return false
	var is_update := data.size() >= Wire.RelayUpdateHeader.SIZE and data[0] == Wire.Kind.UPDATE
	return not is_update or Records.read_sections(data, _shape()) == null


func _check_sequence_extend(case: Dictionary) -> bool:
	return Sequence.extend(int(case.low), int(case.near)) == int(case.whole)


func _check_receive_windows(case: Dictionary) -> bool:
	var window := Sequence.RelayReceiveWindow.new()
	for arrival: Dictionary in case.arrivals:
		var verdict := window.check(int(arrival.seq))
		if Sequence.RelayReceiveWindow.RelayVerdict.find_key(verdict).to_lower() != arrival.result:
			return false
		if verdict == Sequence.RelayReceiveWindow.RelayVerdict.NEW:
			window.accept(int(arrival.seq))
	return window.newest == int(case.ack_whole) and window.ack_bits() == int(case.ack_bits)


func _check_ack_bits(case: Dictionary) -> bool:
	var receipts := Acks.RelayReceipts.new()
	for seq: float in case.received:
		receipts.accept(int(seq), 0.0, false)
	var header := Wire.RelayDataHeader.new()
	receipts.report(header, 0.0)
	return header.ack == int(case.ack) and header.ack_bits == int(case.ack_bits)


func _check_acked(case: Dictionary) -> bool:
	var flight := Acks.RelayFlight.new()
	flight.newest = maxi(0, int(case.newest_sent) - 40)
	while flight.newest < case.newest_sent:
		flight.add(0.0, {flight.newest + 1: 1})
	var header := Wire.RelayUpdateHeader.new()
	header.ack = int(case.ack)
	header.ack_bits = int(case.ack_bits)
	var found := []
	for versions in flight.on_acked(header, 0.0):
		found.append(versions.keys()[0])
	found.reverse()
	return Codec.equals(found, case.acked_whole)


func _check_ack_delays(case: Dictionary) -> bool:
	var flight := Acks.RelayFlight.new()
	flight.add(case.sent_ms / 1000.0, {})
	var header := Wire.RelayUpdateHeader.new()
	header.ack = 1
	header.ack_delay = int(case.ack_delay)
	flight.on_acked(header, case.ack_arrived_ms / 1000.0)
	if case.round_trip_ms == null:
		return flight.rtt_s == Acks.UNKNOWN_S
	return is_equal_approx(flight.rtt_s * 1000.0, case.round_trip_ms)


func _check_message_bits(case: Dictionary) -> bool:
	var outbox := Outbox.new(0, 64, 200)
	for _i in 40:
		outbox.queue(PackedByteArray(), 1, 0, 0, PackedInt32Array())
	var before := Array(outbox._waiting.keys())
	outbox._sent_id = 40
	outbox.on_acked(int(case.message_ack), int(case.message_bits), 64)
	var settled := before.filter(
		func(id: int) -> bool: return id > case.message_ack and not outbox._waiting.has(id)
	)
	return Codec.equals(settled, case.arrived)


func _check_log_bits(case: Dictionary) -> bool:
	var inbox := Log.new(int(case.cursor))
	for index: float in case.complete:
		var part := Records.RelayLogRange.new()
		part.first = int(index)
		part.last = int(index)
		part.after = int(index) - 1
		inbox.take(part)
	var bits := inbox.log_bits()
	# Index cursor + 1 cannot be beyond a hole: taking it moves the cursor.
	if case.complete[0] == case.cursor + 1:
		return inbox.cursor > int(case.cursor)
	return bits == Codec._encode_u32s(case.words)


func _check_versions(case: Dictionary) -> bool:
	var is_ours := int(case.client_min) == Wire.REVISION_MIN
	if not is_ours or int(case.client_max) != Wire.REVISION_MAX or case.update == null:
		return true
	var words := "Update the game" if case.update == "game" else "update of the server"
	return RelayText.version_text(int(case.server_min), int(case.server_max)).contains(words)


func _check_shards(case: Dictionary) -> bool:
	return Proofs.shard_of(case.code) == int(case.shard)


func _check_room_keys(case: Dictionary) -> bool:
	return Proofs.room_key(case.password).hex_encode() == case.room_key


func _check_join_proofs(case: Dictionary) -> bool:
	var nonce: int = case.nonce.bytes.hex_decode().decode_u64(0)
	var key := Proofs.room_key(case.password)
	return Proofs.join_proof(key, case.cookie.hex_decode(), nonce).hex_encode() == case.proof


func _check_path_proofs(case: Dictionary) -> bool:
	var challenge: int = case.challenge.bytes.hex_decode().decode_u64(0)
	var session: int = case.session.bytes.hex_decode().decode_u64(0)
	var proof := Proofs.path_proof(case.secret.hex_decode(), challenge, session)
	return proof.hex_encode() == case.proof


func _check_resume_proofs(case: Dictionary) -> bool:
	var nonce: int = case.nonce.bytes.hex_decode().decode_u64(0)
	var session: int = case.session.bytes.hex_decode().decode_u64(0)
	var secret: PackedByteArray = case.secret.hex_decode()
	var proof := Proofs.resume_proof(secret, case.cookie.hex_decode(), nonce, session)
	return proof.hex_encode() == case.proof


func _check_entity_ids(case: Dictionary) -> bool:
	var states := States.new()
	states.player_slots = int(case.player_slots)
	states.ids = PackedInt32Array([int(case.entity_id)])
	return (
		states.player_id(0) == int(case.player_id)
		and states.local_index(0) == int(case.local_index)
	)


## An id is read in the page that it belongs to, and in no other.
func _check_page_of(case: Dictionary) -> bool:
	for offset in [0, 1]:
		var header := Wire.RelayPageHeader.new()
		header.page = int(case.page) + offset
		header.removed_count = 1
		var body := header.encode()
		body.append_array(Codec._encode_u16s([case.entity_id]))
		var shape := _shape(int(case.page_ids), 512, 128)
		if (Records._read_page(body, shape) != null) != (offset == 0):
			return false
	return true


func _check_ages(case: Dictionary) -> bool:
	var states := States.new()
	states.tick = int(case.tick)
	states.tick_rate = int(case.tick_rate)
	states.ages = PackedByteArray([int(case.age)])
	return is_equal_approx(states.sample_time(0) * 1000.0, case.sample_ms)


func _check_parts(case: Dictionary) -> bool:
	var part := int(case.part)
	return part & ~Wire.PART_MORE == int(case.number) and bool(part & Wire.PART_MORE) == case.more


func _check_signal_fragments(case: Dictionary) -> bool:
	var header := Wire.RelaySignalDownHeader.new()
	header.fragment = int(case.fragment)
	var sections := _sections_of(Wire.UpdateSection.SIGNAL, header.encode())
	if (sections != null) != case.valid:
		return false
	if sections == null:
		return true
	var part: Records.RelaySignalPart = sections.signal_parts[0]
	return part.number == int(case.number) and part.last == int(case.last)


func _signal(
	sender: int, channel: int, sequence: int, flags: int, position: int
) -> Records.RelaySignalPart:
	var part := Records.RelaySignalPart.new()
	part.sender = sender
	part.channel = channel
	part.sequence = sequence
	part.flags = flags
	part.position = position
	return part


func _check_newest_first(case: Dictionary) -> bool:
	var signals := Signals.RelayIncoming.new({}, {1: "", 2: ""})
	for arrival: Dictionary in case.arrivals:
		var events := []
		var part := _signal(
			int(arrival.sender), int(arrival.channel), int(arrival.sequence), int(arrival.flags), 0
		)
		signals.take(part, 0, 0.0, events)
		if events.is_empty() == arrival.handed_over:
			return false
	return true


func _check_signal_positions(case: Dictionary) -> bool:
	var signals := Signals.RelayIncoming.new({}, {1: ""})
	var events := []
	var part := _signal(1, 0, 1, int(case.flags), int(case.position))
	signals.take(part, int(case.done), 0.0, events)
	return events.is_empty() != case.handed_over


func _check_pages(case: Dictionary) -> bool:
	var pages := _sections_of(Wire.UpdateSection.PAGE, case.section.hex_decode()).pages
	var is_known := func(_entity_id: int) -> bool: return true
	var table := Table.new(_shape(int(case.page_ids)), 30, is_known)
	if case.applied_tick > 0:
		table._page_ticks[pages[0].page] = int(case.applied_tick)
	for id: String in case.table:
		table._states[int(id)] = case.table[id].hex_decode()
	var fits := table.fits(int(case.tick), pages)
	if fits == (case.result == "dropped"):
		return false
	if fits:
		table.apply(int(case.tick), pages, [])
	var after := {}
	var states := table.states()
	for id: int in states:
		after[str(id)] = states[id].hex_encode()
	var applied: int = table._page_ticks.get(pages[0].page, 0)
	return Codec.equals(after, case.table_after) and applied == int(case.applied_tick_after)


func _check_logs(case: Dictionary) -> bool:
	var inbox := Log.new(int(case.log_index))
	for step: Dictionary in case.steps:
		var sections := _sections_of(Wire.UpdateSection.LOG_RANGE, step.section.hex_decode())
		var part: Records.RelayLogRange = sections.ranges[0]
		var handed := inbox.take(part).map(
			func(entry: Records.RelayEntry) -> Dictionary:
				return {"index": entry.log_index, "payload": entry.payload.hex_encode()}
		)
		if not Codec.equals(handed, step.handed_over) or inbox.cursor != int(step.cursor):
			return false
		if inbox.log_bits() != Codec._encode_u32s(step.log_bits):
			return false
		if step.done != null and inbox.done != int(step.done):
			return false
	return inbox.num_discarded == 0
