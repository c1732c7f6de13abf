extends RefCounted
## One DATA while its sections are being gathered (SPEC 2: sections, and 1,160 bytes at most).

const RelayWire := preload("generated_wire.gd")

## Bytes for all sections of one DATA: 1,160 - 26 = 1,134.
const SECTION_SPACE_BYTES := RelayWire.MAX_BODY_BYTES - RelayWire.RelayDataHeader.SIZE
## The largest LOG_BITS section: 3 + 32.
const LOG_BITS_MAX_BYTES := RelayWire.RelaySectionHeader.SIZE + RelayWire.LOG_WINDOW / 8

## The states in it, entity id -> version: what an acknowledgement of this datagram will settle.
var states := {}
## Holds nothing yet, or nothing but LOG_BITS, which alone is no reason to send.
var is_empty := true
## Bytes left for sections, their headers included.
var room := SECTION_SPACE_BYTES
## All sections, as they follow the header.
var body := PackedByteArray()
## Sections that may still be added.
var sections_left := RelayWire.MAX_SECTIONS


## Payload that a message or signal section may have so that it fits beside the largest LOG_BITS:
## 1,024, or less when more than about 30 players are listed in it.
static func fragment_bytes(header_bytes: int, num_targets: int) -> int:
	var space := SECTION_SPACE_BYTES - LOG_BITS_MAX_BYTES - RelayWire.RelaySectionHeader.SIZE
	return mini(RelayWire.MAX_FRAGMENT_BYTES, space - header_bytes - 2 * num_targets)


## Tells whether one more section with a body of this size may be added.
func fits(body_bytes: int) -> bool:
	return sections_left > 0 and RelayWire.RelaySectionHeader.SIZE + body_bytes <= room


## Adds a section that [method fits].
func add(type: RelayWire.DataSection, section: PackedByteArray) -> void:
	var header := RelayWire.RelaySectionHeader.new()
	header.type = type
	header.length = section.size()
	body.append_array(header.encode())
	body.append_array(section)
	room -= RelayWire.RelaySectionHeader.SIZE + section.size()
	sections_left -= 1
	if type != RelayWire.DataSection.LOG_BITS:
		is_empty = false
