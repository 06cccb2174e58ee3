"""The page is HTML, and can be read by everybody: contrast by WCAG 2.2, computed from the style sheet's own colours."""

import re
from pathlib import Path
from typing import Final

import pytest
from html5lib.html5parser import ParseError

from rootwatch.report.html import STYLE
from tests.unit import html_rules
from tests.unit.report_world import filled, make

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


def test_a_long_text_widens_no_table() -> None:
    """A cell that holds a text of others breaks it anywhere: a name without blanks would push the page out of sight."""
    assert "tbody th, td { overflow-wrap: anywhere }" in _STYLE


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("<footer", '<p id="timing">x</p><footer', "the id timing 2 times"),
        ('href="#register"', 'href="#regster"', "a refers to regster, which is not there"),
        ('href="#register"', 'href="https://example.com"', "which is not there"),
        ('<th scope="row">', "<th>", "a th without scope"),
        ('<ul class="numbers">', '<ul class="numbers"><span>x</span>', "<span> in <ul>"),
        ("<tbody>", "<tbody><tr><td>x</td></tr>", "a table with rows of"),
        ("<dl>", "<dl><dd>x</dd>", "a dl of"),
        ("<h3>", "<h4>", None),
        ('<p class="muted">', '<p class="muted" style="color: red">', "p has style"),
        ("<footer", "<section><p>x</p></section><footer", "a section without a heading"),
        ("<footer", "<blink>x</blink><footer", "<blink> is unknown"),
        ('fill="url(#trend-hatch)"', 'fill="url(#trend-stripes)"', "refers to trend-stripes"),
        ("<figcaption>", "<p>x</p><figcaption>", "a figure that does not begin with its figcaption"),
        ("<h2 ", "<h1>x</h1><h2 ", "not one h1"),
    ],
)
def test_the_rules_of_html_know_what_is_wrong(tmp_path: Path, old: str, new: str, fault: str | None) -> None:
    """Each rule finds its fault, planted into a whole page; so silence about the page means something."""
    text = make(filled(), tmp_path).page.read_text(encoding="utf-8")
    assert html_rules.faults(text) == []
    assert old in text
    spoilt = text.replace(old, new, 1)

    if fault is None:
        with pytest.raises(ParseError):
            html_rules.faults(spoilt)
    else:
        assert any(fault in each for each in html_rules.faults(spoilt)), html_rules.faults(spoilt)
