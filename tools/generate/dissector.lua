-- A reader of layouts. A layout is a tree of nodes, made by the constructors below; `read` walks it along the bytes and
-- adds a tree item for every field. The same walk without a tree (`tree == nil`) is the check of the heuristics.
-- Lua 5.1 to 5.4: no bit operators, which 5.2 lacks, and no `bit` library, which later ones need not have.

local tickrelay = Proto("tickrelay", "tickrelay")
local fields = {}  -- ProtoField by its name without "tickrelay."
local experts = {} -- ProtoExpert by name

local function new_expert(name, text, group, severity)
	experts[name] = ProtoExpert.new("tickrelay." .. name, text, group, severity)
end

-- One per reason of protocol.codec, under its name: a datagram has one of them if and only if the codec drops it.
new_expert("too_short", "Too short", expert.group.MALFORMED, expert.severity.ERROR)
new_expert("too_long", "Too long", expert.group.MALFORMED, expert.severity.ERROR)
new_expert("unknown_kind", "Unknown kind", expert.group.MALFORMED, expert.severity.ERROR)
new_expert("bad_magic", "Bad magic", expert.group.MALFORMED, expert.severity.ERROR)
new_expert("malformed", "Malformed datagram", expert.group.MALFORMED, expert.severity.ERROR)
new_expert("bad_section", "Malformed section", expert.group.MALFORMED, expert.severity.ERROR)
-- What the codec takes, and is worth a look.
new_expert("bad_entry", "Payload is not what the entry's kind says", expert.group.MALFORMED, expert.severity.WARN)
new_expert("bad_request", "Payload is not what the request's kind says", expert.group.MALFORMED, expert.severity.WARN)
new_expert("bad_option", "Value is not what the option's key says", expert.group.MALFORMED, expert.severity.WARN)
new_expert("unknown_section", "Unknown section, skipped", expert.group.UNDECODED, expert.severity.NOTE)
new_expert("unknown_option", "Unknown option, skipped", expert.group.UNDECODED, expert.severity.NOTE)
new_expert("unknown_entry", "Entry of unknown kind, passed over", expert.group.UNDECODED, expert.severity.NOTE)
new_expert("unknown_request", "Request of unknown kind, refused", expert.group.UNDECODED, expert.severity.NOTE)
new_expert("cut_by_capture", "Cut short by the capture's snap length", expert.group.UNDECODED, expert.severity.NOTE)
new_expert("refused", "Join refused", expert.group.RESPONSE_CODE, expert.severity.NOTE)
new_expert("ended", "Session ended", expert.group.RESPONSE_CODE, expert.severity.CHAT)

-- --- Constructors of nodes. `name` is that of a field in `fields`.

local NUMBER_TYPES = { [1] = ProtoField.uint8, [2] = ProtoField.uint16, [4] = ProtoField.uint32, [8] = ProtoField.uint64 }

local function new_field(name, make, ...)
	local last = name:match("[^.]+$")
	local field = make("tickrelay." .. name, last, ...)
	fields[name] = field
	return field
end

local function number(size, name, names)
	local display = (size == 8 or names == "hex") and base.HEX or base.DEC
	local values = type(names) == "table" and names or nil
	return { read = "number", size = size, name = name, values = values,
		field = new_field(name, NUMBER_TYPES[size], display, values) }
end

local function bytes(length, name) -- length: a number, or the path of a number that was read before
	return { read = "bytes", length = length, name = name, field = new_field(name, ProtoField.bytes) }
end

local function text(length, name) -- UTF-8, zero padded
	return { read = "bytes", length = length, name = name, is_text = true,
		field = new_field(name, ProtoField.string, base.UNICODE) }
end

local function prefixed(size, name, inner) -- a length of `size` bytes, then `inner` that fills it
	return { read = "prefixed", size = size, inner = inner, field = new_field(name, NUMBER_TYPES[size], base.DEC) }
end

local function struct(parts, role, names) -- `role`: whose title and remark it has, see `titles` and `remarks`
	return { read = "struct", parts = parts, role = role, names = names }
end

local function branch(name, inner) -- a level of the tree with a name of its own, so that a filter can ask for it
	return { read = "branch", inner = inner, field = new_field(name, ProtoField.none) }
end

local function array(count, label, inner) return { read = "array", count = count, label = label, inner = inner } end

local function range(label, inner) return { read = "range", label = label, inner = inner } end

local function switch(key, cases, otherwise)
	return { read = "switch", key = key, cases = cases, otherwise = otherwise }
end

local REST = -1 -- a length: all that is left

-- --- Bits inside a field, and fields that follow from others

local bits = {}   -- name of a field -> ProtoFields of its parts
local function new_bits(name, part, make, ...)
	bits[name] = bits[name] or {}
	table.insert(bits[name], new_field(name .. "." .. part, make, ...))
end

local generated = {
	kind = new_field("kind", ProtoField.uint8, base.DEC),
	direction = new_field("direction", ProtoField.string),
	session = new_field("session", ProtoField.uint64, base.HEX),
	nonce = new_field("nonce", ProtoField.uint64, base.HEX),
}

-- @LAYOUTS@

tickrelay.fields = fields
tickrelay.experts = experts

-- --- Reading

local function complain(walk, item, name, message)
	if item then item:add_proto_expert_info(experts[name], message) end
	walk.problem = walk.problem or name
end

local function note(item, name, message)
	if item then item:add_proto_expert_info(experts[name], message) end
end

-- A layout did not fit. Returns nil: whoever called stops too.
local function fail(walk, at, message)
	local message_at = string.format("%s at byte %d", message, at)
	if walk.is_cut then
		note(walk.tree, "cut_by_capture", message_at)
	else
		complain(walk, walk.tree, walk.failure, message_at)
	end
	return nil
end

local function find(context, path)
	if type(path) == "number" then return path end
	local value = context
	for _, name in ipairs(path) do value = value[name] end
	return value
end

local titles, remarks = {}, {} -- by the role of a struct: what its branch is called, and what it means beyond its fields

local readers = {}

-- Read one node from `at`, before `limit`. Returns where the next one begins and the value, or nil.
local function read(walk, node, at, limit, tree, context)
	return readers[node.read](walk, node, at, limit, tree, context)
end

function readers.number(walk, node, at, limit, tree)
	if at + node.size > limit then return fail(walk, at, node.name .. " ends too early") end
	local place = walk.buffer(at, node.size)
	local value = node.size == 8 and place:le_uint64() or place:le_uint()
	if tree then
		local item = tree:add_le(node.field, place)
		for _, part in ipairs(bits[node.name] or {}) do item:add_le(part, place) end
	end
	return at + node.size, value
end

function readers.bytes(walk, node, at, limit, tree, context)
	local length = find(context, node.length)
	if length == REST then length = limit - at end
	if at + length > limit then return fail(walk, at, node.name .. " ends too early") end
	local place = walk.buffer(at, length)
	if tree then
		if node.is_text then
			tree:add_packet_field(node.field, place, ENC_UTF_8)
		else
			local item = tree:add(node.field, place)
			if length == 0 then item:set_text(node.name:match("[^.]+$") .. ": (empty)") end
		end
	end
	return at + length, place
end

function readers.prefixed(walk, node, at, limit, tree, context)
	if at + node.size > limit then return fail(walk, at, "a length ends too early") end
	local place = walk.buffer(at, node.size)
	local length = place:le_uint()
	local item = tree and tree:add_le(node.field, place)
	at = at + node.size
	if at + length > limit then
		if item then item:append_text(string.format(" (%d left)", limit - at)) end
		return fail(walk, at, string.format("%d bytes announced, %d left", length, limit - at))
	end
	local stop, value = read(walk, node.inner, at, at + length, tree, context)
	if not stop then return nil end
	return at + length, value
end

function readers.struct(walk, node, at, limit, tree, context)
	local inside = { _ = context }
	for _, part in ipairs(node.parts) do
		if part == "end" then
			if at ~= limit then return fail(walk, at, string.format("%d bytes too many", limit - at)) end
		else
			local value
			at, value = read(walk, part[2], at, limit, tree, inside)
			if not at then return nil end
			inside[part[1]] = value
		end
	end
	if tree and remarks[node.role] then remarks[node.role](walk, tree, inside) end
	return at, inside
end

function readers.branch(walk, node, at, limit, tree, context)
	local inside = tree and tree:add(node.field, walk.buffer(at, limit - at))
	return read(walk, node.inner, at, limit, inside, context)
end

-- One element of an array or range: a struct gets a branch of its own.
local function read_element(walk, node, index, at, limit, tree, context)
	if node.inner.read ~= "struct" or not tree then
		local stop, value = read(walk, node.inner, at, limit, tree, context)
		return stop, value
	end
	local element = tree:add(tickrelay, walk.buffer(at, limit - at), string.format("%s %d", node.label, index))
	local stop, value = read(walk, node.inner, at, limit, element, context)
	if stop then
		element:set_len(stop - at)
		local title = titles[node.inner.role]
		if title then element:set_text(title(index, value, node.inner.names)) end
	end
	return stop, value
end

function readers.array(walk, node, at, limit, tree, context)
	local values = {}
	for index = 1, find(context, node.count) do
		at, values[index] = read_element(walk, node, index, at, limit, tree, context)
		if not at then return nil end
	end
	return at, values
end

function readers.range(walk, node, at, limit, tree, context)
	local values = {}
	while at < limit do -- every element has at least one byte
		local value
		at, value = read_element(walk, node, #values + 1, at, limit, tree, context)
		if not at then return nil end
		table.insert(values, value)
	end
	return at, values
end

function readers.switch(walk, node, at, limit, tree, context)
	local key = find(context, node.key)
	local case = node.cases[key]
	if case then return read(walk, case, at, limit, tree, context) end
	walk.num_unknown = walk.num_unknown + 1
	note(tree, "unknown_section", string.format("Section of unknown type %d", key))
	return read(walk, node.otherwise, at, limit, tree, context)
end

-- --- Titles and remarks

local function name_of(names, key)
	return names[key] or tostring(key)
end

-- A section's type; of a message that asks the relay for something also what for.
local function section_name(names, section)
	local name = name_of(names, section.type)
	local kind = name == "MESSAGE" and section.body.header.kind or 0
	return kind >= FIRST_REQUEST_KIND and name .. " " .. name_of(MESSAGE_KINDS, kind) or name
end

function titles.section(index, value, names)
	return string.format("section %d: %s", index, section_name(names, value))
end

function titles.entry(_, value)
	return string.format("entry %d: %s", value.header.index, name_of(ENTRY_KINDS, value.header.kind))
end

function titles.join_option(_, value)
	return "option: " .. name_of(OPTIONS, value.key)
end

titles.list_option = titles.join_option

-- Read what lies in a field that is bytes to who only passes it on. Another layout than `node` is worth a remark.
local function read_inside(walk, node, place, tree, failure)
	local inner = { buffer = walk.buffer, tree = tree, failure = failure, num_unknown = 0 }
	local limit = place:offset() + place:len()
	local stop = read(inner, node, place:offset(), limit, tree, {})
	if stop and stop ~= limit then fail(inner, stop, string.format("%d bytes too many", limit - stop)) end
end

-- An entry's payload stays bytes to the relay; those that the relay itself writes have a layout.
function remarks.entry(walk, tree, value)
	local kind = value.header.kind
	if PAYLOADS[kind] then
		read_inside(walk, PAYLOADS[kind], value.payload, tree, "bad_entry")
	elseif kind == 0 or kind >= FIRST_REQUEST_KIND then
		note(tree, "unknown_entry", string.format("Entry of unknown kind %d", kind))
	end
end

-- Messages of some kinds are not passed on: they ask the relay for something, in one fragment.
function remarks.message(walk, tree, value)
	local kind = value.header.kind
	if REQUESTS[kind] and value.header.more == 0 then
		read_inside(walk, REQUESTS[kind], value.payload, tree, "bad_request")
	elseif REQUESTS[kind] then
		note(tree, "bad_request", "A request is one fragment; more follow this one")
	elseif kind >= FIRST_REQUEST_KIND and kind <= MAX_PLAYER_KIND then
		note(tree, "unknown_request", string.format("Request of unknown kind %d", kind))
	end
end

local function remark_on_option(layouts)
	return function(walk, tree, value)
		if layouts[value.key] then
			read_inside(walk, layouts[value.key], value.value, tree, "bad_option")
		elseif not OPTIONS[value.key] then
			note(tree, "unknown_option", string.format("Unknown option %d", value.key))
		end
	end
end

remarks.join_option = remark_on_option(JOIN_OPTIONS)
remarks.list_option = remark_on_option(LIST_OPTIONS)

-- --- The datagram

-- Check what comes before the layout, in the order of protocol.codec. Returns the kind's entry in KINDS, or nil.
local function kind_of(walk, length)
	if length < 2 then return complain(walk, walk.tree, "too_short", "A datagram has at least 2 bytes") end
	if length > MAX_DATAGRAM_BYTES then
		return complain(walk, walk.tree, "too_long", string.format("%d bytes; at most %d", length, MAX_DATAGRAM_BYTES))
	end
	local byte = walk.buffer(0, 1):uint()
	local kind = KINDS[byte]
	if not kind then
		return complain(walk, walk.tree, "unknown_kind", string.format("Kind %d is not one of a datagram", byte))
	end
	if length < kind.min_bytes then
		local message = string.format("%s has at least %d bytes, not %d", kind.name, kind.min_bytes, length)
		complain(walk, walk.tree, "too_short", message)
		return nil, kind
	end
	return kind, kind
end

-- Read a datagram. Returns its kind and value (nil where it is malformed) and the walk, whose `problem` says why.
local function read_datagram(buffer, tree)
	local walk = { buffer = buffer, tree = tree, num_unknown = 0, is_cut = buffer:len() < buffer:reported_len() }
	local kind, name_only = kind_of(walk, buffer:reported_len())
	if not kind then return name_only, nil, walk end -- `name_only`: its layout was not tried
	walk.failure = kind.has_sections and "bad_section" or "malformed"
	local stop, value = read(walk, kind.layout, 0, buffer:len(), tree, {})
	if not stop then return kind, nil, walk end
	if kind.has_magic and value.magic:raw() ~= MAGIC then
		complain(walk, tree, "bad_magic", "The four bytes after kind and shard are not " .. MAGIC)
	end
	if kind.name == "DATA" and #value.sections > MAX_SECTIONS then
		complain(walk, tree, "bad_section", string.format("%d sections; at most %d", #value.sections, MAX_SECTIONS))
	end
	return kind, value, walk
end

-- Names of the sections with how often each stands there, in order of first appearance: "PAGE x2, SIGNAL".
local function sections_text(kind, value)
	local order, counts = {}, {}
	for _, section in ipairs(value.sections) do
		local name = section_name(kind.sections, section)
		if not counts[name] then table.insert(order, name) end
		counts[name] = (counts[name] or 0) + 1
	end
	for i, name in ipairs(order) do
		if counts[name] > 1 then order[i] = string.format("%s x%d", name, counts[name]) end
	end
	return #order == 0 and "bare" or table.concat(order, ", ")
end

local function info_text(kind, value)
	if kind.has_sections then
		local header = value.header
		local words = string.format("%s seq=%d ack=%d", kind.name, header.seq, header.ack)
		if header.tick then words = string.format("%s tick=%d", words, header.tick) end
		return words .. " " .. sections_text(kind, value)
	end
	if value.reason then return kind.name .. " " .. name_of(kind.reasons, value.reason) end
	local inner = value.fields or value
	local code = inner.code and inner.code:raw():match("^[A-Z0-9-]+")
	return code and kind.name .. " " .. code or kind.name
end

-- Fields under one name for all kinds, so that a filter finds a whole session, and what is worth a remark.
local function add_generated(kind, value, buffer, tree)
	tree:add(generated.kind, buffer(0, 1)):set_generated():append_text(" (" .. kind.name .. ")")
	tree:add(generated.direction, kind.direction):set_generated()
	for _, name in ipairs({ "nonce", "session" }) do
		local at = kind[name .. "_at"]
		if at and at + 8 <= buffer:len() then tree:add_le(generated[name], buffer(at, 8)):set_generated() end
	end
	if not value then return end
	if kind.name == "REFUSE" then note(tree, "refused", "Refused: " .. name_of(kind.reasons, value.reason)) end
	if kind.name == "BYE" then note(tree, "ended", "Ended: " .. name_of(kind.reasons, value.reason)) end
	if kind.name == "RESET" then note(tree, "ended", "Ended: the server does not know this session") end
end

function tickrelay.dissector(buffer, pinfo, root)
	pinfo.cols.protocol = "tickrelay"
	local tree = root:add(tickrelay, buffer())
	local kind, value, walk = read_datagram(buffer, tree)
	if kind then add_generated(kind, value, buffer, tree) end
	local info = kind and (value and info_text(kind, value) or kind.name) or "unknown"
	if walk.problem then info = string.format("%s [%s]", info, walk.problem) end
	pinfo.cols.info = info
	tree:append_text(", " .. info)
	return buffer:len()
end

-- --- Heuristics: any port, and nobody else's traffic
--
-- A conversation is claimed by a datagram that can hardly be anything else: the magic of HELLO and PING, a WELCOME whose
-- numbers agree with each other, or a DATA or UPDATE whose sections fill it exactly. From then on all of the conversation
-- is ours, malformed datagrams too. Of 2^31 random payloads of 26 bytes one would pass, of other sizes fewer.

local function is_strict_header(header)
	if header.flags > ALL_ACK_FLAGS then return false end
	local has_received = header.flags % 2 == 0 -- bit 0: NOTHING_RECEIVED
	if has_received then return header.ack > 0 end -- 0 only when the number wraps; but zeros are much of the world
	return header.ack == 0 and header.ack_bits == 0 and header.ack_delay == 0
end

local function is_code(place)
	local code = place:raw()
	return code:match("^[A-Z0-9-]+%z*$") ~= nil
end

local claims = {}

function claims.HELLO() return true end -- magic and size were checked

function claims.PING() return true end

function claims.DATA(value)
	return is_strict_header(value.header) and value.header.reserved == 0
end

function claims.UPDATE(value) -- not a bare one: its 32 bytes say too little
	return is_strict_header(value.header) and value.header.tick > 0 and #value.sections > 0
end

function claims.WELCOME(value)
	local f = value.fields
	local page_ids = math.floor(PAGE_SPACE_BYTES / (f.max_state_bytes + MIN_ENTITY_OVERHEAD_BYTES))
	return is_code(f.code) and f.player_id < f.player_slots and f.max_state_bytes > 0 and f.page_ids == page_ids
		and f.tick_rate > 0
end

local function is_ours(buffer)
	if buffer:len() < 2 or not KINDS[buffer(0, 1):uint()] then return false end
	local kind, value, walk = read_datagram(buffer, nil)
	if not value or walk.problem or walk.is_cut or walk.num_unknown > 0 then return false end
	local claim = claims[kind.name]
	return claim ~= nil and claim(value)
end

tickrelay:register_heuristic("udp", function(buffer, pinfo, root)
	if not is_ours(buffer) then return false end
	pinfo.conversation = tickrelay
	tickrelay.dissector(buffer, pinfo, root)
	return true
end)

DissectorTable.get("udp.port"):add(DEFAULT_PORT, tickrelay)
