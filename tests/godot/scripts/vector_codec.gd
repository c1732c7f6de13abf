extends RefCounted
## Whole datagrams as the vectors write them, both ways, from the generated classes of all headers.

const Rooms := preload("vector_rooms.gd")
const Wire := preload("res://addons/tickrelay/generated_wire.gd")

const FLAT := {
	"CHALLENGE": Wire.RelayChallenge,
	"REFUSE": Wire.RelayRefuse,
	"REDIRECT": Wire.RelayRedirect,
	"PONG": Wire.RelayPong,
	"BYE": Wire.RelayBye,
	"RESET": Wire.RelayReset,
	"PATH_CHALLENGE": Wire.RelayPathChallenge,
	"PATH_RESPONSE": Wire.RelayPathResponse,
}
const PADDED := {"HELLO": Wire.RelayHelloFields, "PING": Wire.RelayPingFields}
const PADDED_BYTES := {"HELLO": Wire.HELLO_BYTES, "PING": Wire.PING_BYTES}
const WITH_OPTIONS := {
	"JOIN": Wire.RelayJoinFields,
	"LIST": Wire.RelayListFields,
	"WELCOME": Wire.RelayWelcomeFields,
}
const WITH_SECTIONS := {"DATA": Wire.RelayDataHeader, "UPDATE": Wire.RelayUpdateHeader}


## Reads a datagram. Returns its value, or the number of a Wire.DropReason.
static func decode(data: PackedByteArray) -> Variant:
	if data.size() < 2 or data.size() > Wire.MAX_DATAGRAM_BYTES:
		return Wire.DropReason.TOO_SHORT if data.size() < 2 else Wire.DropReason.TOO_LONG
	var kind: Variant = Wire.Kind.find_key(data[0])
	if kind == null:
		return Wire.DropReason.UNKNOWN_KIND
	if PADDED.has(kind):
		return _decode_padded(data, kind)
	if WITH_SECTIONS.has(kind):
		return _decode_with_sections(data, kind)
	if kind == "ROOMS":
		return Rooms.decode(data)
	if FLAT.has(kind):
		var header: RefCounted = FLAT[kind].decode(data)
		return Wire.DropReason.MALFORMED if header == null else to_value(header)
	var fields: RefCounted = WITH_OPTIONS[kind].decode(data)
	var options: Variant = null
	if fields != null:
		options = _decode_options(data.slice(fields.SIZE))
	if options == null:
		return Wire.DropReason.MALFORMED
	return {"fields": to_value(fields), "options": options}


## Writes a datagram from the value of a vector.
static func encode(kind: String, value: Dictionary) -> PackedByteArray:
	if kind == "ROOMS":
		return Rooms.encode(value)
	if FLAT.has(kind):
		return from_value(FLAT[kind], value).encode()
	if PADDED.has(kind):
		var data: PackedByteArray = from_value(PADDED[kind], value).encode()
		data.resize(PADDED_BYTES[kind])
		return data
	if WITH_OPTIONS.has(kind):
		var data: PackedByteArray = from_value(WITH_OPTIONS[kind], value.fields).encode()
		for option: Dictionary in value.options:
			var bytes: PackedByteArray = option.value.hex_decode()
			data.append_array(PackedByteArray([int(option.key), bytes.size()]))
			data.append_array(bytes)
		return data
	var data: PackedByteArray = from_value(WITH_SECTIONS[kind], value.header).encode()
	for section: Dictionary in value.sections:
		var header := Wire.RelaySectionHeader.new()
		header.type = int(section.type)
		var body := encode_section(kind == "DATA", header.type, section.body)
		header.length = body.size()
		data.append_array(header.encode())
		data.append_array(body)
	return data


## Turns a header into a Dictionary; a u64 stays a number, bytes become hex.
static func to_value(header: RefCounted) -> Dictionary:
	var value := {}
	for property in header.get_property_list():
		if property.usage & PROPERTY_USAGE_SCRIPT_VARIABLE:
			var field: Variant = header.get(property.name)
			value[property.name] = field.hex_encode() if field is PackedByteArray else field
	return value


## Makes a header of a class from the value of a vector.
static func from_value(type: GDScript, value: Dictionary) -> RefCounted:
	var header: RefCounted = type.new()
	for name: String in value:
		var field: Variant = value[name]
		if field is Dictionary:
			field = field.bytes.hex_decode().decode_u64(0)
		elif field is String:
			field = field.hex_decode()
		else:
			field = int(field)
		header.set(name, field)
	return header


## Compares a value with that of a vector: JSON has floats, and a u64 is written as an object.
static func equals(value: Variant, expected: Variant) -> bool:
	if expected is Dictionary and expected.has("u64"):
		var bytes := PackedByteArray()
		bytes.resize(8)
		bytes.encode_u64(0, value)
		return bytes.hex_encode() == expected.bytes
	if expected is Dictionary:
		if not value is Dictionary or value.size() != expected.size():
			return false
		return expected.keys().all(
			func(key: Variant) -> bool: return value.has(key) and equals(value[key], expected[key])
		)
	if expected is Array:
		if not value is Array or value.size() != expected.size():
			return false
		return range(expected.size()).all(
			func(i: int) -> bool: return equals(value[i], expected[i])
		)
	if expected is float and value is int:
		return value == int(expected)
	return typeof(value) == typeof(expected) and value == expected


static func _decode_padded(data: PackedByteArray, kind: String) -> Variant:
	if data.size() < PADDED_BYTES[kind]:
		return Wire.DropReason.TOO_SHORT
	var header: RefCounted = PADDED[kind].decode(data)
	if header.magic != Wire.MAGIC.to_ascii_buffer():
		return Wire.DropReason.BAD_MAGIC
	return to_value(header)


static func _decode_options(data: PackedByteArray) -> Variant:
	var options := []
	while not data.is_empty():
		if data.size() < 2 or data.size() - 2 < data[1]:
			return null
		options.append({"key": data[0], "value": data.slice(2, 2 + data[1]).hex_encode()})
		data = data.slice(2 + data[1])
	return options


static func _decode_with_sections(data: PackedByteArray, kind: String) -> Variant:
	var header: RefCounted = WITH_SECTIONS[kind].decode(data)
	if header == null:
		return Wire.DropReason.TOO_SHORT
	var sections := []
	var at: int = header.SIZE
	while at < data.size():
		var section := Wire.RelaySectionHeader.decode(data, at)
		if section == null or data.size() - at - Wire.RelaySectionHeader.SIZE < section.length:
			return Wire.DropReason.BAD_SECTION
		at += Wire.RelaySectionHeader.SIZE
		var body: Variant = decode_section(
			kind == "DATA", section.type, data.slice(at, at + section.length)
		)
		if body == null:
			return Wire.DropReason.BAD_SECTION
		sections.append({"type": section.type, "body": body})
		at += section.length
	if kind == "DATA" and sections.size() > Wire.MAX_SECTIONS:
		return Wire.DropReason.BAD_SECTION
	return {"header": to_value(header), "sections": sections}


## Reads the body of a section; null if it is bad.
static func decode_section(is_data: bool, type: int, body: PackedByteArray) -> Variant:
	if is_data:
		match type:
			Wire.DataSection.STATE:
				return _decode_states(body)
			Wire.DataSection.LOG_BITS:
				return _decode_words(body)
			Wire.DataSection.MESSAGE:
				return _decode_targeted(Wire.RelayMessageHeader.decode(body), body)
			Wire.DataSection.SIGNAL:
				return _decode_targeted(Wire.RelaySignalUpHeader.decode(body), body)
		return body.hex_encode()
	match type:
		Wire.UpdateSection.PAGE:
			return _decode_page(body)
		Wire.UpdateSection.LOG_RANGE:
			return _decode_range(body)
		Wire.UpdateSection.SIGNAL:
			var header := Wire.RelaySignalDownHeader.decode(body)
			var payload := body.slice(Wire.RelaySignalDownHeader.SIZE).hex_encode()
			return null if header == null else {"header": to_value(header), "payload": payload}
	return body.hex_encode()


static func _decode_states(body: PackedByteArray) -> Variant:
	var header := Wire.RelayStateHeader.decode(body)
	if header == null:
		return null
	var size := 2 + header.stride
	if body.size() != Wire.RelayStateHeader.SIZE + header.count * size:
		return null
	var states := []
	for i in header.count:
		var at := Wire.RelayStateHeader.SIZE + i * size
		var state := body.slice(at + 2, at + size).hex_encode()
		states.append({"entity_id": body.decode_u16(at), "state": state})
	return {"header": to_value(header), "states": states}


static func _decode_words(body: PackedByteArray) -> Variant:
	if body.size() % 4 != 0:
		return null
	var words := []
	for at in range(0, body.size(), 4):
		words.append(body.decode_u32(at))
	return {"words": words}


static func _decode_targeted(header: RefCounted, body: PackedByteArray) -> Variant:
	if header == null or body.size() < header.SIZE + 2 * header.target_count:
		return null
	return {
		"header": to_value(header),
		"targets": _decode_u16s(body, header.SIZE, header.target_count),
		"payload": body.slice(header.SIZE + 2 * header.target_count).hex_encode(),
	}


static func _decode_page(body: PackedByteArray) -> Variant:
	var header := Wire.RelayPageHeader.decode(body)
	if header == null or body.size() < Wire.RelayPageHeader.SIZE + 2 * header.removed_count:
		return null
	var removed := _decode_u16s(body, Wire.RelayPageHeader.SIZE, header.removed_count)
	var at := Wire.RelayPageHeader.SIZE + 2 * header.removed_count
	var groups := []
	for _i in header.group_count:
		var group := Wire.RelayGroupHeader.decode(body, at)
		if group == null:
			return null
		at += Wire.RelayGroupHeader.SIZE
		var end := at + group.count * (3 + group.stride)
		if end > body.size():
			return null
		var ages_at := at + 2 * group.count
		var states := []
		for i in group.count:
			var state_at := ages_at + group.count + i * group.stride
			states.append(body.slice(state_at, state_at + group.stride).hex_encode())
		(
			groups
			. append(
				{
					"header": to_value(group),
					"ids": _decode_u16s(body, at, group.count),
					"ages": Array(body.slice(ages_at, ages_at + group.count)),
					"states": states,
				}
			)
		)
		at = end
	if at != body.size():
		return null
	return {"header": to_value(header), "removed": removed, "groups": groups}


static func _decode_range(body: PackedByteArray) -> Variant:
	var header := Wire.RelayRangeHeader.decode(body)
	if header == null:
		return null
	var entries := []
	var at := Wire.RelayRangeHeader.SIZE
	while at < body.size():
		var entry := Wire.RelayEntryHeader.decode(body, at)
		if entry == null or body.size() - at - Wire.RelayEntryHeader.SIZE < entry.length:
			return null
		at += Wire.RelayEntryHeader.SIZE
		var payload := body.slice(at, at + entry.length).hex_encode()
		entries.append({"header": to_value(entry), "payload": payload})
		at += entry.length
	return {"header": to_value(header), "entries": entries}


static func _decode_u16s(body: PackedByteArray, at: int, count: int) -> Array:
	return range(count).map(func(i: int) -> int: return body.decode_u16(at + 2 * i))


## Writes the body of a section from the value of a vector.
static func encode_section(is_data: bool, type: int, value: Variant) -> PackedByteArray:
	if value is String:
		return value.hex_decode()
	if value.has("words"):
		return _encode_u32s(value.words)
	var body: PackedByteArray = from_value(_header_class(is_data, type), value.header).encode()
	for entity: Dictionary in value.get("states", []):
		body.append_array(_encode_u16s([entity.entity_id]))
		body.append_array(entity.state.hex_decode())
	body.append_array(_encode_u16s(value.get("targets", [])))
	body.append_array(_encode_u16s(value.get("removed", [])))
	for group: Dictionary in value.get("groups", []):
		body.append_array(from_value(Wire.RelayGroupHeader, group.header).encode())
		body.append_array(_encode_u16s(group.ids))
		body.append_array(PackedByteArray(group.ages))
		for state: String in group.states:
			body.append_array(state.hex_decode())
	for entry: Dictionary in value.get("entries", []):
		body.append_array(from_value(Wire.RelayEntryHeader, entry.header).encode())
		body.append_array(entry.payload.hex_decode())
	body.append_array(value.get("payload", "").hex_decode())
	return body


static func _header_class(is_data: bool, type: int) -> GDScript:
	if is_data:
		match type:
			Wire.DataSection.STATE:
				return Wire.RelayStateHeader
			Wire.DataSection.MESSAGE:
				return Wire.RelayMessageHeader
		return Wire.RelaySignalUpHeader
	match type:
		Wire.UpdateSection.PAGE:
			return Wire.RelayPageHeader
		Wire.UpdateSection.LOG_RANGE:
			return Wire.RelayRangeHeader
	return Wire.RelaySignalDownHeader


static func _encode_u16s(numbers: Array) -> PackedByteArray:
	var bytes := PackedByteArray()
	bytes.resize(2 * numbers.size())
	for i in numbers.size():
		bytes.encode_u16(2 * i, int(numbers[i]))
	return bytes


static func _encode_u32s(numbers: Array) -> PackedByteArray:
	var bytes := PackedByteArray()
	bytes.resize(4 * numbers.size())
	for i in numbers.size():
		bytes.encode_u32(4 * i, int(numbers[i]))
	return bytes
