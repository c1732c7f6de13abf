extends RefCounted
## The room's clock as a client sees it (SPEC 5, Clock).
##
## A tick is seen late by its way through the network, never early: the sample with the largest
## `tick / tick_rate - arrival` is the least delayed.

## The best sample of the last one to two windows counts, seconds. Long enough for a lucky packet,
## short enough to follow a drift of 50 ppm (0.4 ms in 8 s). Chosen, not measured.
const WINDOW_S := 4.0

var _tick_rate: int
var _best_s := -INF
var _previous_best_s := -INF
var _window_ends_at: float


func _init(tick_rate: int, now: float) -> void:
	_tick_rate = tick_rate
	_window_ends_at = now + WINDOW_S


## Takes the tick of a datagram that arrived [param now].
func add(tick: int, now: float) -> void:
	if now >= _window_ends_at:
		_previous_best_s = _best_s
		_best_s = -INF
		_window_ends_at = now + WINDOW_S
	_best_s = maxf(_best_s, float(tick) / _tick_rate - now)


## Estimates the server's time, seconds. It may step back by a few ms when the path changes.
func server_time(now: float, rtt_s: float) -> float:
	return now + maxf(_best_s, _previous_best_s) + rtt_s / 2
