extends Node2D
## Something that the host owns.

var hit_points := 1000
