extends RefCounted
## What a player types as an address: "relay.example.org", "relay.example.org:24545", "127.0.0.1",
## "::1" or "[::1]:24545", with or without spaces around it.

const MAX_PORT := 65535

## Name or IP address, without brackets.
var host := ""
## UDP port; 0 if what stands there is none.
var port := 0


## Splits [param text]; without a port in it the port is [param default_port].
func _init(text: String, default_port: int) -> void:
	host = text.strip_edges()
	port = default_port
	var at := host.rfind(":")
	var is_bare_ipv6 := host.count(":") > 1 and not host.contains("]")
	if at > host.rfind("]") and not is_bare_ipv6:
		var digits := host.substr(at + 1)
		port = digits.to_int() if digits.is_valid_int() else 0
		host = host.left(at)
	if port < 1 or port > MAX_PORT:
		port = 0
	host = host.trim_prefix("[").trim_suffix("]")
