extends RefCounted
## Our own entities on their way up (SPEC 7).
##
## No history: an entity has one newest state with a version number. Each DATA carries what is not
## acknowledged and remembers which versions it carried; an acknowledgement of any datagram with the
## newest version settles the entity. A removal is a state of no bytes. What is published after a
## removal is held back until the removal is acknowledged: else a receiver could not tell the new
## life from the old.

const RelayParcel := preload("relay_parcel.gd")
const RelayWire := preload("generated_wire.gd")

const _ID_BYTES := 2
const _SECTION_BYTES := RelayWire.RelaySectionHeader.SIZE + RelayWire.RelayStateHeader.SIZE
## `count` of a STATE section is a u8.
const _MAX_COUNT := 255

var _entities := {}  # entity id -> Entity
var _unacked := {}  # entity id -> Entity, in the order in which they became so
var _version := 0


class RelayEntity:
	extends RefCounted
	var entity_id := 0
	## Newest bytes; empty = removed.
	var state := PackedByteArray()
	## Server time of the sample, whole ms.
	var sample_ms := 0
	## Unique over all entities and states of this session: no late ack can mean another state.
	var version := 0
	## Newest DATA that carried this entity, in any version; 0 = none.
	var sent_seq := 0
	## Published after a removal that is not acknowledged; empty = nothing.
	var held_state := PackedByteArray()
	var held_sample_ms := 0
	## Place among those that are due, for a sort that keeps the order of equals.
	var order := 0


## Entities whose newest state or removal is not acknowledged.
func num_unacked() -> int:
	return _unacked.size()


## Tells whether an entity was published by us, or its removal is under way.
func has(entity_id: int) -> bool:
	return _entities.has(entity_id)


## Another player publishes an entity from now on: what of it is under way is void.
func forget(entity_id: int) -> void:
	_entities.erase(entity_id)
	_unacked.erase(entity_id)


## Ids of all that is published or being removed.
func ids() -> Array:
	return _entities.keys()


## A new session begins: the newest state of all entities is sent again.
func repeat_all() -> void:
	_unacked.clear()
	for entity: RelayEntity in _entities.values():
		_renew(entity, entity.state)
		entity.sent_seq = 0


## Takes an entity's new state. The same bytes again cost nothing once acknowledged.
func publish(entity_id: int, state: PackedByteArray, sample_ms: int) -> void:
	var entity: RelayEntity = _entities.get(entity_id)
	if entity == null:
		entity = RelayEntity.new()
		entity.entity_id = entity_id
		_entities[entity_id] = entity
	elif entity.state.is_empty():
		entity.held_state = state
		entity.held_sample_ms = sample_ms
		return
	if entity.state != state:
		_renew(entity, state)
	entity.sample_ms = sample_ms


## Takes an entity away; one that was never published, or is removed already, stays so.
## [param is_in_table]: somebody has published it, before it was ours.
func remove(entity_id: int, is_in_table: bool = false) -> void:
	var entity: RelayEntity = _entities.get(entity_id)
	if entity == null:
		if not is_in_table:
			return
		entity = RelayEntity.new()
		entity.entity_id = entity_id
		_entities[entity_id] = entity
		_renew(entity, PackedByteArray())
	entity.held_state = PackedByteArray()
	if not entity.state.is_empty():
		_renew(entity, PackedByteArray())


## The server has taken these versions; an older one than the newest settles nothing.
func on_acked(datagrams: Array[Dictionary]) -> void:
	for versions in datagrams:
		for entity_id: int in versions:
			var entity: RelayEntity = _unacked.get(entity_id)
			if entity != null and entity.version == versions[entity_id]:
				_settle(entity)


## Lists what one tick has to send, longest unsent first.
func due() -> Array[RelayEntity]:
	var todo: Array[RelayEntity] = []
	todo.assign(_unacked.values())
	if todo.size() > 1:
		for i in todo.size():
			todo[i].order = i
		todo.sort_custom(_is_longer_unsent)
	return todo


## Puts as many of [param todo] as fit into the DATA with number [param seq], one section per
## stride. Returns those that did not fit.
func pack(todo: Array[RelayEntity], parcel: RelayParcel, seq: int) -> Array[RelayEntity]:
	var groups := {}  # stride -> Array[RelayEntity]
	var rest: Array[RelayEntity] = []
	var room := parcel.room
	for entity in todo:
		var stride := entity.state.size()
		var is_new := not groups.has(stride)
		var cost := _ID_BYTES + stride + (_SECTION_BYTES if is_new else 0)
		var is_full: bool
		if is_new:
			is_full = groups.size() == parcel.sections_left
		else:
			is_full = groups[stride].size() == _MAX_COUNT
		if cost > room or is_full:
			rest.append(entity)
			continue
		if is_new:
			groups[stride] = []
		groups[stride].append(entity)
		room -= cost
	for stride: int in groups:
		_add_section(groups[stride], stride, parcel, seq)
	return rest


func _add_section(group: Array, stride: int, parcel: RelayParcel, seq: int) -> void:
	var header := RelayWire.RelayStateHeader.new()
	var newest_ms := 0
	for entity: RelayEntity in group:
		newest_ms = maxi(newest_ms, entity.sample_ms)  # an unchanged older state is true then too
	header.sample_ms = newest_ms & 0xFFFF
	header.count = group.size()
	header.stride = stride
	var section := header.encode()
	for entity: RelayEntity in group:
		var at := section.size()
		section.resize(at + _ID_BYTES)
		section.encode_u16(at, entity.entity_id)
		section.append_array(entity.state)
		entity.sent_seq = seq
		parcel.states[entity.entity_id] = entity.version
	parcel.add(RelayWire.DataSection.STATE, section)


func _settle(entity: RelayEntity) -> void:
	_unacked.erase(entity.entity_id)
	if not entity.state.is_empty():
		return
	if entity.held_state.is_empty():
		_entities.erase(entity.entity_id)
		return
	entity.sample_ms = entity.held_sample_ms
	_renew(entity, entity.held_state)
	entity.held_state = PackedByteArray()


func _renew(entity: RelayEntity, state: PackedByteArray) -> void:
	_version += 1
	entity.version = _version
	entity.state = state
	_unacked[entity.entity_id] = entity


static func _is_longer_unsent(a: RelayEntity, b: RelayEntity) -> bool:
	return a.sent_seq < b.sent_seq or (a.sent_seq == b.sent_seq and a.order < b.order)
