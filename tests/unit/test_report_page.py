"""The page can be read by everybody: contrast by WCAG 2.2, computed from the colours of the style sheet itself."""

import re
from typing import Final

import pytest

from rootwatch.report.html import STYLE

TEXT: Final = (
    ("text", "page"), ("muted", "page"), ("accent", "page"), ("text", "panel"), ("muted", "panel"),
    ("alarm", "alarm-panel"), ("good", "good-panel"), ("warn", "warn-panel"),
)  # fmt: skip
"""Text and what it stands on: 4.5 to 1 at least. https://www.w3.org/TR/WCAG22/#contrast-minimum"""
GRAPHICS: Final = (("fill", "page"), ("fill", "empty"), ("text", "hatch"), ("text", "dots"), ("text", "page"))
"""Parts of pictures that mean something, and what is beside them: 3 to 1. A hatching is read by its strokes."""
_STYLE: Final = STYLE.read_text(encoding="utf-8")


def palettes() -> dict[str, dict[str, str]]:
    """The colours of the light, the dark and the printed page; each says only what it changes."""
    blocks = re.findall(r":root \{(.*?)\}", _STYLE, re.DOTALL)
    light, dark, printed = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)) for block in blocks)
    return {"light": light, "dark": {**light, **dark}, "print": {**light, **printed}}


def luminance(colour: str) -> float:
    """The relative luminance of a colour. https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_formula_is_that_of_the_standard() -> None:
    """Black on white is 21 to 1, a colour on itself 1 to 1, and a grey known to fail AA fails."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#0b5cad", "#0b5cad") == 1


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_text_has_contrast(scheme: str) -> None:
    """Every text is at least 4.5 to 1 against what it stands on."""
    colours = palettes()[scheme]

    assert not [pair for pair in TEXT if contrast(*(colours[name] for name in pair)) < 4.5]


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_pictures_have_contrast(scheme: str) -> None:
    """What a picture says is at least 3 to 1 against what is beside it."""
    colours = palettes()[scheme]

    assert not [pair for pair in GRAPHICS if contrast(*(colours[name] for name in pair)) < 3]


def test_every_colour_is_one_of_the_palette() -> None:
    """No rule has a colour of its own that these tests would not see."""
    without_palettes = re.sub(r":root \{.*?\}", "", _STYLE, flags=re.DOTALL)

    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|rgb|hsl|(?<=[ :])(?:white|black|gr[ae]y|red)\b(?!-)", without_palettes)
    named = set(re.findall(r"var\(--([a-z-]+)\)", without_palettes))
    assert named == set(palettes()["light"])
