@icon("icons/relay_room_list.svg")
class_name RelayRoomList
extends Node
## Lists the rooms of a relay that can be found, for players to choose from.
##
## Put it below, or beside, a [RelayClient], or set [member client]: it asks that client's relay for
## rooms of its [member RelayClient.game] and [member RelayClient.game_version]. Rooms are listed if
## their creator set [member RelayClient.listed], or their host lists them with
## [method RelayRoom.show].
## [codeblock]
## $RelayRoomList.listed.connect(func(rooms):
##     for room in rooms:
##         $List.add_item("%s  %d/%d" % [room.room_name, room.num_players, room.max_players])
## )
## $RelayRoomList.refresh()
## # later:
## $RelayClient.join_room($RelayRoomList.rooms[index].code)
## [/codeblock]
## Who does not want to choose calls [method RelayClient.quick_match].

## The list is here, as [member rooms] too: rooms that were opened first come first.
signal listed(rooms: Array[_RelayListedRoomScript])
## There is no list. [param text] is for the player; [param reason] is a Refusal of the relay or a
## RelayClient.Problem.
signal failed(reason: int, text: String)

const _RelayAddress := preload("relay_address.gd")
const _RelayClientScript := preload("relay_client.gd")
const _RelayFinder := preload("relay_finder.gd")
const _RelayLink := preload("relay_link.gd")
const _RelayListedRoomScript := preload("relay_listed_room.gd")
const _RelayListing := preload("relay_listing.gd")
const _RelayProofs := preload("relay_proofs.gd")
const _RelayWire := preload("generated_wire.gd")

const _NO_CLIENT_TEXT := "There is no RelayClient whose relay could be asked."
const _NO_UDP_TEXT := "Browser games cannot send UDP; not supported yet"

## Only rooms with a free place that are not locked.
@export var only_open := true
## Rooms of any version of the game, also those that cannot be joined.
@export var any_version := false
## Only rooms that have all of these.
@export var tags := PackedStringArray()
## Only rooms whose properties have all of these values.
@export var properties: Dictionary = {}
## Lists the rooms again so many seconds after each answer, 0 = only by [method refresh].
@export_range(0.0, 600.0) var refresh_every_s := 0.0
## Fails when no answer came for so many seconds.
@export_range(0.1, 60.0) var timeout_s := 5.0

## Whose relay is asked; null = the nearest one in the scene.
var client: _RelayClientScript = null
## The newest list.
var rooms: Array[_RelayListedRoomScript] = []
## Rooms of the game that are listed, whether or not they suit.
var num_listed := 0
## Where the relay is, in its own words; may be empty.
var region := ""

var _listing: _RelayListing
var _refresh_at := INF


func _process(_delta: float) -> void:
	poll()


func _notification(what: int) -> void:
	if what == NOTIFICATION_PREDELETE and _listing != null:
		_listing.line.close()


## Asks for the list: [signal listed] or [signal failed] comes. While it is being asked for nothing
## happens.
func refresh() -> void:
	if is_asking():
		return
	_refresh_at = INF
	var of: _RelayClientScript = client if client != null else _RelayFinder.find(self)
	var wish := _RelayListing.RelayWish.new()
	var relay := _RelayAddress.new("", 0) if of == null else _RelayAddress.new(of.address, of.port)
	if of != null:
		wish.game = of.game
		wish.version = "" if any_version else of.game_version
	wish.only_open = only_open
	wish.tags = tags
	wish.properties = properties
	wish.deadline_s = timeout_s
	var nonce := _RelayProofs.random_nonce()
	_listing = _RelayListing.new(relay.host, relay.port, wish, nonce, _RelayLink.clock())
	if of == null:
		_listing.fail(_RelayClientScript.Problem.NO_ANSWER, _NO_CLIENT_TEXT)
	elif OS.has_feature("web"):
		_listing.fail(_RelayClientScript.Problem.NO_UDP, _NO_UDP_TEXT)
	elif not wish.is_good():
		var reason := _RelayWire.Refusal.BAD_OPTIONS
		_listing.fail(reason, _RelayWire.REFUSAL_TEXTS[reason])


## Whether an answer is waited for.
func is_asking() -> bool:
	return _listing != null


## Reads the network and emits signals. In the scene tree this happens by itself once a frame.
func poll() -> void:
	var now := _RelayLink.clock()
	if _listing == null:
		if now >= _refresh_at:
			refresh()
		return
	if not _listing.poll(now):
		return
	var listing := _listing
	_listing = null
	listing.line.close()
	_refresh_at = now + refresh_every_s if refresh_every_s > 0.0 else INF
	if not listing.problem.is_empty():
		failed.emit(listing.reason, listing.problem)
		return
	rooms = listing.rooms
	num_listed = listing.num_listed
	region = listing.region
	listed.emit(rooms)
