extends RefCounted
## Samples of one entity and the moment that is shown of them: smooth, a little in the past.
##
## Shown is server time minus a delay. The delay must be so long that the next sample is there when
## it is needed: for each sample we note how old the one before it was when it arrived, which holds
## the interval, the way through the network, its jitter, the loss of one sample, and the frame. The
## delay is what was enough for 97 of the last 100. It follows without a jump: the shown moment
## passes up to a fifth faster or slower than time until it is right.
## [br][br]
## Nothing is ever extrapolated: at the newest sample the shown moment stands still until there is a
## newer one, then goes on from there. So what is shown never jumps, except by a cut (a teleport).
## An entity that rests sends nothing; when it moves again, the pause is filled with its last state.

const RelayStateLayout := preload("relay_state_layout.gd")

## Samples whose arrival counts, and which of their needs is enough: the third largest.
const WINDOW := 100
const _ENOUGH := 3
## Delay until there is a window worth the name, seconds (chosen: what most games use).
const FIRST_DELAY_S := 0.1
const _FIRST_SAMPLES := 10
## A longer silence was a rest, not loss, ticks: at 20 % loss of every sample that is one in 400000.
const REST_TICKS := 8
## The most that silence adds to a need, ticks: it may have been a short rest.
const _NEED_TICKS := 2
## How much faster or slower than time the shown moment passes, at most.
const HURRY := 0.2
## Share of the error that is made up for in a second, before that limit (chosen).
const _PULL := 4.0
## A larger error is jumped over, seconds: the game stood still, or the clock was wrong.
const _RESYNC_S := 0.6
## Samples kept: two seconds at 60 Hz, and the delay is at most one.
const _MAX_SAMPLES := 128

## Delay aimed at, seconds.
var delay_s := FIRST_DELAY_S
## Longest delay, seconds.
var max_delay_s := 0.5
## Server time that is shown.
var shown_at := -INF
var _layout: RelayStateLayout
var _interval_s: float
var _times := PackedFloat64Array()
var _states: Array[PackedFloat32Array] = []
var _is_cut := PackedByteArray()  # 1: nothing lies between the one before and this
var _needs := PackedFloat32Array()  # a ring
var _num_needs := 0


## [param interval_s]: time between samples, a tick.
func _init(layout: RelayStateLayout, interval_s: float) -> void:
	_layout = layout
	_interval_s = interval_s


## Whether there is anything to show.
func is_empty() -> bool:
	return _times.is_empty()


## The newest sample.
func newest() -> PackedFloat32Array:
	return _states[-1]


## Takes a sample of server time [param sample_at] that arrived at server time [param now].
func add(sample_at: float, state: PackedFloat32Array, now: float, is_cut: bool) -> void:
	if _times.is_empty():
		shown_at = minf(now - delay_s, sample_at)
		_append(sample_at, state, true)
		return
	var last_at := _times[-1]
	_note_need(now - maxf(last_at, sample_at - _NEED_TICKS * _interval_s))
	if sample_at - last_at > REST_TICKS * _interval_s:
		_append(sample_at - _interval_s, _states[-1], false)
		shown_at = clampf(now - delay_s, shown_at, sample_at - _interval_s)
	# Times only grow. (Who is more than a second away has samples moved by the relay.)
	_append(maxf(sample_at, _times[-1] + _interval_s / 2), state, is_cut)


## Lets time pass: [param elapsed_s] on the game's clock, to server time [param now]. Returns what
## is to be shown.
func advance(elapsed_s: float, now: float) -> PackedFloat32Array:
	var error := now - delay_s - shown_at - elapsed_s
	if absf(error) > _RESYNC_S:
		shown_at = now - delay_s
	else:
		shown_at += elapsed_s * (1.0 + clampf(error * _PULL, -HURRY, HURRY))
	if shown_at > _times[-1]:
		shown_at = _times[-1]
	_forget()
	return _shown()


func _shown() -> PackedFloat32Array:
	if _times.size() == 1 or shown_at <= _times[0]:
		return _states[0]
	var i := _times.bsearch(shown_at)
	if shown_at >= _times[i]:
		return _states[i]
	if _is_cut[i] == 1:
		return _states[i - 1]
	var weight := (shown_at - _times[i - 1]) / (_times[i] - _times[i - 1])
	return _layout.blend(_states[i - 1], _states[i], weight)


func _append(at: float, state: PackedFloat32Array, is_cut: bool) -> void:
	_times.append(at)
	_states.append(state)
	_is_cut.append(1 if is_cut else 0)


## Drops samples that will not be needed again.
func _forget() -> void:
	var past := 0
	while past + 2 < _times.size() and _times[past + 1] <= shown_at:
		past += 1
	past = maxi(past, _times.size() - _MAX_SAMPLES)
	if past > 0:
		_times = _times.slice(past)
		_states = _states.slice(past)
		_is_cut = _is_cut.slice(past)


func _note_need(need_s: float) -> void:
	if _needs.size() < WINDOW:
		_needs.append(need_s)
	else:
		_needs[_num_needs % WINDOW] = need_s
	_num_needs += 1
	var sorted := _needs.duplicate()
	sorted.sort()
	var enough := sorted[maxi(sorted.size() - _ENOUGH, 0)]
	if _num_needs < _FIRST_SAMPLES:
		enough = maxf(sorted[-1], FIRST_DELAY_S)
	delay_s = clampf(enough, 0.0, max_delay_s)
