extends RefCounted
## Turns a host name into addresses without holding up the game.

enum RelayProgress { WAITING, DONE, FAILED }

## Addresses of one host that are asked at the same time.
const MAX_ADDRESSES := 4
## Not every system has a hosts file that knows this name, and it may mean either family.
const LOCALHOST: Array[String] = ["127.0.0.1", "::1"]

## IP addresses, once DONE.
var addresses: Array[String] = []
var _item := IP.RESOLVER_INVALID_ID
var _status := RelayProgress.WAITING


func _init(host: String) -> void:
	if host.is_valid_ip_address():
		_finish([host])
	elif host.to_lower() == "localhost":
		_finish(LOCALHOST)
	elif host.is_empty():
		_status = RelayProgress.FAILED
	else:
		_item = IP.resolve_hostname_queue_item(host)
		if _item == IP.RESOLVER_INVALID_ID:
			_status = RelayProgress.FAILED


## Looks whether the system has answered.
func poll() -> RelayProgress:
	if _status != RelayProgress.WAITING:
		return _status
	match IP.get_resolve_item_status(_item):
		IP.RESOLVER_STATUS_DONE:
			var found: Array[String] = []
			found.assign(IP.get_resolve_item_addresses(_item))
			_finish(found)
		IP.RESOLVER_STATUS_ERROR, IP.RESOLVER_STATUS_NONE:
			_status = RelayProgress.FAILED
	if _status != RelayProgress.WAITING:
		_erase()
	return _status


func _notification(what: int) -> void:
	# A RefCounted that is being freed cannot call its own methods.
	if what == NOTIFICATION_PREDELETE and _item != IP.RESOLVER_INVALID_ID:
		IP.erase_resolve_item(_item)


func _erase() -> void:
	if _item != IP.RESOLVER_INVALID_ID:
		IP.erase_resolve_item(_item)
		_item = IP.RESOLVER_INVALID_ID


func _finish(found: Array[String]) -> void:
	addresses = found.slice(0, MAX_ADDRESSES)
	_status = RelayProgress.FAILED if addresses.is_empty() else RelayProgress.DONE
