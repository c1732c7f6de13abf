"""The style sheet."""

import re

from tools.load.report_style import STYLE


def _contrast(first: str, second: str) -> float:
    """Compute the contrast of two colours as WCAG 2.1 defines it."""

    def luminance(color: str) -> float:
        channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_both_schemes_define_the_same_colors_and_can_be_read() -> None:
    light, dark = (dict(re.findall(r"(--[\w-]+): (#\w{6})", part)) for part in STYLE.split("@media screen"))
    assert set(light) == set(dark)
    for colors in (light, dark):
        for text in ("--text", "--muted", "--good", "--bad", "--warn"):
            assert _contrast(colors[text], colors["--card"]) >= 4.5
        for name in ("good", "bad", "warn"):
            assert _contrast(colors[f"--{name}"], colors[f"--{name}-back"]) >= 4.5
            assert _contrast(colors["--text"], colors[f"--{name}-back"]) >= 4.5
        for line in ("--line-1", "--line-2", "--tick"):
            assert _contrast(colors[line], colors["--card"]) >= 3.0
            assert _contrast(colors[line], colors["--shade"]) >= 3.0


def test_braces_are_balanced_and_nothing_is_fetched() -> None:
    assert STYLE.count("{") == STYLE.count("}")
    assert "url(" not in STYLE and "@import" not in STYLE and "<" not in STYLE
