extends RefCounted
## Games, versions, tags and properties as options of JOIN and LIST (SPEC 4).

const RelayText := preload("relay_text.gd")
const RelayValues := preload("relay_values.gd")
const RelayWire := preload("generated_wire.gd")

## One byte holds the length of an option's value.
const MAX_OPTION_BYTES := 255


## Tells whether a text is a label: at most [param limit] bytes of UTF-8 without control characters,
## or empty.
static func is_label(text: String, limit: int) -> bool:
	return text.to_utf8_buffer().size() <= limit and RelayText.printable(text) == text


## Tells whether texts are at most [param most] labels, none empty, that fit an option.
static func are_labels(texts: PackedStringArray, most: int, limit: int) -> bool:
	for text in texts:
		if text.is_empty() or not is_label(text, limit):
			return false
	return texts.size() <= most and encode_texts(texts).size() <= MAX_OPTION_BYTES


## Tells whether a room can begin with these properties, or be looked for by them.
static func are_properties(properties: Dictionary) -> bool:
	for key: Variant in properties:
		var is_key: bool = (key is String or key is StringName) and RelayValues.is_key(key)
		if not is_key or properties[key] == null or not RelayValues.is_value(properties[key]):
			return false
	var fits := properties.size() <= RelayWire.MAX_SHOWN
	return fits and encode_properties(properties).size() <= MAX_OPTION_BYTES


## Writes texts, each behind its length.
static func encode_texts(texts: PackedStringArray) -> PackedByteArray:
	var bytes := PackedByteArray()
	for text in texts:
		_append_counted(bytes, text.to_utf8_buffer())
	return bytes


## Writes properties: key behind its length, type, value behind its length.
static func encode_properties(properties: Dictionary) -> PackedByteArray:
	var bytes := PackedByteArray()
	for key: String in properties:
		var value := RelayValues.encode(properties[key])
		_append_counted(bytes, key.to_utf8_buffer())
		bytes.append(value[0])
		_append_counted(bytes, value.slice(1))
	return bytes


## Appends an option to a JOIN or LIST, unless it is empty.
static func add_option(data: PackedByteArray, key: int, value: PackedByteArray) -> void:
	if not value.is_empty():
		data.append(key)
		_append_counted(data, value)


static func _append_counted(data: PackedByteArray, bytes: PackedByteArray) -> void:
	data.append(bytes.size())
	data.append_array(bytes)
