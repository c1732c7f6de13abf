extends RefCounted
## ROOMS as the vectors write it, both ways.

const Codec := preload("vector_codec.gd")
const Listing := preload("res://addons/tickrelay/relay_listing.gd")
const Wire := preload("res://addons/tickrelay/generated_wire.gd")


## Reads a ROOMS. Returns its value, or the number of a Wire.DropReason.
static func decode(data: PackedByteArray) -> Variant:
	var fields := Wire.RelayRoomsFields.decode(data)
	if fields == null:
		return Wire.DropReason.MALFORMED
	var reader := Listing.RelayReader.new(data, Wire.RelayRoomsFields.SIZE)
	var value := {"fields": Codec.to_value(fields), "region": reader.counted().hex_encode()}
	value["rooms"] = []
	while reader.is_good and not reader.is_at_end():
		value["rooms"].append(_read_room(reader))
	return value if reader.is_good else Wire.DropReason.MALFORMED


## Writes a ROOMS from the value of a vector.
static func encode(value: Dictionary) -> PackedByteArray:
	var data: PackedByteArray = Codec.from_value(Wire.RelayRoomsFields, value.fields).encode()
	data.append_array(_counted(value.region.hex_decode()))
	for room: Dictionary in value.rooms:
		data.append_array(Codec.from_value(Wire.RelayListedRoomFields, room.fields).encode())
		var body: Dictionary = room.body
		data.append_array(_counted(body.name.hex_decode()))
		data.append_array(_counted(body.version.hex_decode()))
		var tags := PackedByteArray()
		for tag: String in body.tags.texts:
			tags.append_array(_counted(tag.hex_decode()))
		data.append_array(_counted(tags))
		var properties := PackedByteArray()
		for one: Dictionary in body.properties.properties:
			properties.append_array(_counted(one.key.hex_decode()))
			properties.append(int(one.type))
			properties.append_array(_counted(one.value.hex_decode()))
		data.append_array(PackedByteArray([properties.size() & 255, properties.size() >> 8]))
		data.append_array(properties)
	return data


static func _read_room(reader: Listing.RelayReader) -> Dictionary:
	var fields := Wire.RelayListedRoomFields.decode(reader.take(Wire.RelayListedRoomFields.SIZE))
	if fields == null:
		return {}
	var body := {
		"name": reader.counted().hex_encode(),
		"version": reader.counted().hex_encode(),
		"tags": {"texts": []},
		"properties": {"properties": []},
	}
	var tags := reader.inner(reader.number(1))
	while tags.is_good and not tags.is_at_end():
		body.tags.texts.append(tags.counted().hex_encode())
	var shown := reader.inner(reader.number(2))
	while shown.is_good and not shown.is_at_end():
		var key := shown.counted().hex_encode()
		var type := shown.number(1)
		var one := {"key": key, "type": type, "value": shown.counted().hex_encode()}
		body.properties.properties.append(one)
	reader.is_good = reader.is_good and tags.is_good and shown.is_good
	return {"fields": Codec.to_value(fields), "body": body}


static func _counted(bytes: PackedByteArray) -> PackedByteArray:
	var data := PackedByteArray([bytes.size()])
	data.append_array(bytes)
	return data
