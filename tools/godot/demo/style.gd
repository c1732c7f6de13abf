extends RefCounted
## Colours and the theme of the demo: everything is drawn, nothing is loaded.

const NIGHT := Color("0e101c")
const PANEL := Color("191d30")
const EDGE := Color("2b3150")
const FIELD := Color("10131f")
const TEXT := Color("e6e9f5")
const QUIET := Color("8d94b3")
const ACCENT := Color("8da5f3")
const WARM := Color("f3b48d")
## Colours of players, told apart easily.
const PLAYERS: Array[Color] = [
	Color("8da5f3"),
	Color("f38d8d"),
	Color("8df3b0"),
	Color("f3d98d"),
	Color("d48df3"),
	Color("8de6f3"),
	Color("f3a6cf"),
	Color("b9f38d"),
]
const NAMES: Array[String] = [
	"Otter", "Heron", "Lynx", "Robin", "Badger", "Marten", "Finch", "Hare", "Osprey", "Vole"
]

const _CORNER := 8
const _FONT_SIZE := 16


## The theme of all controls.
static func theme() -> Theme:
	var result := Theme.new()
	result.default_font_size = _FONT_SIZE
	result.set_color("font_color", "Label", TEXT)
	result.set_stylebox("panel", "PanelContainer", box(PANEL, EDGE, 24))
	result.set_stylebox("normal", "LineEdit", box(FIELD, EDGE, 10))
	result.set_stylebox("focus", "LineEdit", box(Color(0, 0, 0, 0), ACCENT, 10))
	result.set_color("font_color", "LineEdit", TEXT)
	result.set_color("font_placeholder_color", "LineEdit", QUIET)
	result.set_color("caret_color", "LineEdit", ACCENT)
	result.set_stylebox("normal", "Button", box(EDGE, EDGE, 10))
	result.set_stylebox("hover", "Button", box(EDGE.lightened(0.12), ACCENT, 10))
	result.set_stylebox("pressed", "Button", box(FIELD, ACCENT, 10))
	result.set_stylebox("disabled", "Button", box(PANEL, EDGE, 10))
	result.set_stylebox("focus", "Button", box(Color(0, 0, 0, 0), ACCENT, 10))
	result.set_color("font_color", "Button", TEXT)
	return result


## A box with round corners.
static func box(fill: Color, edge: Color, padding: int) -> StyleBoxFlat:
	var result := StyleBoxFlat.new()
	result.bg_color = fill
	result.border_color = edge
	result.set_border_width_all(1)
	result.set_corner_radius_all(_CORNER)
	result.set_content_margin_all(padding)
	result.content_margin_top = padding * 0.7
	result.content_margin_bottom = padding * 0.7
	return result


## A line of text.
static func label(text: String, size: int = _FONT_SIZE, colour: Color = TEXT) -> Label:
	var result := Label.new()
	result.text = text
	result.add_theme_font_size_override("font_size", size)
	result.add_theme_color_override("font_color", colour)
	return result
