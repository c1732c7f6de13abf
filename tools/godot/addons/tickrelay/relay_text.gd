extends RefCounted
## Texts that cross the wire: checked before they are sent, made harmless when they arrive.

const RelayWire := preload("generated_wire.gd")

const _REPLACEMENT := "?"


## Tells whether a text is a room code: 1 to 16 of A-Z 0-9 - (SPEC 2).
static func is_code(text: String) -> bool:
	if text.is_empty() or text.length() > RelayWire.CODE_BYTES:
		return false
	for letter in text:
		if not RelayWire.CODE_LETTERS.contains(letter):
			return false
	return true


## Tells whether a text is a player's name: 1 to 32 bytes of UTF-8, no control characters.
static func is_name(text: String) -> bool:
	if text.is_empty() or text.to_utf8_buffer().size() > RelayWire.NAME_BYTES:
		return false
	return printable(text) == text


## Removes what is not to be shown: control characters.
static func printable(text: String) -> String:
	var kept := ""
	for i in text.length():
		var code := text.unicode_at(i)
		if code >= 0x20 and (code < 0x7F or code > 0x9F):
			kept += text[i]
	return kept


## Encodes a text into at most so many bytes, and cuts no letter in two.
static func cut(text: String, most_bytes: int) -> PackedByteArray:
	var bytes := text.to_utf8_buffer()
	var size := mini(bytes.size(), most_bytes)
	while size > 0 and size < bytes.size() and bytes[size] & 0xC0 == 0x80:
		size -= 1
	return bytes.slice(0, size)


## Decodes bytes from the network; what is not UTF-8 becomes "?". The engine would log an error.
static func decode(bytes: PackedByteArray) -> String:
	var text := ""
	var at := 0
	while at < bytes.size():
		var size := _letter_size(bytes, at)
		if size > 0:
			text += bytes.slice(at, at + size).get_string_from_utf8()
		else:
			text += _REPLACEMENT
		at += maxi(size, 1)
	return text


## Tells whether bytes are well-formed UTF-8. The engine would log an error if they are not.
static func is_utf8(bytes: PackedByteArray) -> bool:
	var at := 0
	while at < bytes.size():
		var size := 1 if bytes[at] == 0 else _letter_size(bytes, at)
		if size == 0:
			return false
		at += size
	return true


## Cuts off the zeros that pad a fixed text field.
static func unpadded(bytes: PackedByteArray) -> PackedByteArray:
	var size := bytes.size()
	while size > 0 and bytes[size - 1] == 0:
		size -= 1
	return bytes.slice(0, size)


## Says which side to update when a server's revisions and ours have nothing in common.
static func version_text(server_min: int, server_max: int) -> String:
	var game := _range_text(RelayWire.REVISION_MIN, RelayWire.REVISION_MAX)
	var server := _range_text(server_min, server_max)
	var what := "The game speaks protocol %s, the server %s. " % [game, server]
	if RelayWire.REVISION_MAX < server_min:
		return what + "Update the game."
	return what + "Ask for an update of the server."


static func _range_text(low: int, high: int) -> String:
	return str(low) if low == high else "%d to %d" % [low, high]


## Bytes of the letter that begins at [param at], 0 if none that is well-formed does (RFC 3629).
static func _letter_size(bytes: PackedByteArray, at: int) -> int:
	var first := bytes[at]
	if first < 0x80:
		return 1 if first > 0 else 0
	var size := 2 if first < 0xE0 else 3 if first < 0xF0 else 4
	if first < 0xC2 or first > 0xF4 or at + size > bytes.size():
		return 0
	for i in range(at + 1, at + size):
		if bytes[i] & 0xC0 != 0x80:
			return 0
	var second := bytes[at + 1]
	var is_overlong := (first == 0xE0 and second < 0xA0) or (first == 0xF0 and second < 0x90)
	var is_beyond := (first == 0xED and second > 0x9F) or (first == 0xF4 and second > 0x8F)
	return 0 if is_overlong or is_beyond else size
