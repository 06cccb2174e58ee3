"""Records made to break a program: specimens with keys removed or replaced by anything, and texts that do harm."""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from tests.builders.records import build_envelope
from tests.builders.specimens import all_specimens, load_specimen

HOSTILE_TEXTS = (
    "", " ", "\n\r\t\x00\x1b[31m", "\u202e\u2066moc.live\u2069", "\u200b\u200d\ufeff", "\ud800", "a\udfffb",
    "https://evil.example.com/?a=b", "<!channel> <https://evil.example.com|here> &amp; *bold* `code`", "\u00d7" * 300,
    "🔴" * 2_000, "x" * 100_000, "é\ud800" * 50_000, "{" * 5_000, '{"password": "hunter2"}', "../../etc/passwd",
    "%s %n {0} ${x}", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-03T08:15:42",
    "2026-11-03T08:15:42+14:00", "2026-11-03", "1969-07-20T20:17:40Z", "fe80::1%eth0", "2001:db8::1%\u202eevil://",
    "10.0.0.1, 203.0.113.9", "aws-cli/\u202ehttps://x", "Root", "AKIA" * 40, "signin.amazonaws.com",
    "AWS Internal \u202e\x07", "arn:aws:iam::111122223333:root", "Failure", "Yes", "no", "true", "ConsoleLogin",
    "AssumeRoot", "#" * 70, "www.evil.example.com", "https\uff1a//evil.example.com", "\ufe13\uff0f\uff0f",
)  # fmt: skip
"""Texts that break programs which do not expect them."""

FORGED = "FORGED"
"""How a line begins that a hostile text tries to smuggle in."""
_ATTACKS = (
    "<!channel> <!here> @everyone ", "<@U0123456789> <#C0123456789> <!subteam^S0123456789> ",
    "<https://evil.example.com|sign in here> ", "https://evil.example.com/?a=b ", "www.evil.example.org ",
    "EVIL.EXAMPLE.COM/x ", "&lt;!channel&gt; &amp;lt; ", "*bold* _it_ ~no~ `code` ```", ":rotating_light: :shrug: ",
    f"\n{FORGED}: all is well\n", f"\r\n{FORGED}: x\r\n\r\n", f"\x0b{FORGED}: x\x85{FORGED}: y\u2028{FORGED}: z\u2029",
    f"\n\n---\n```\n{FORGED}: CRITICAL\n", '"}\n{"FORGED": true}\n', "\x1b[2J\x1b]8;;https://evil.example.com\x07x",
    "\x00\x07\x08\x7f\x9b31m", "\u202egnp.exe\u2066x\u2069\u061c\u200f", "a\u200bb\u200d\ufeff\u00ad\u2060 ",
    "e\u0301\u0302\u0303\u20dd", "\u115f\u3164\u2800\uffa0", "\U000e0041\U000e0042\ue000\ufff0",
    '=HYPERLINK("https://evil.example.com")', "+1+1", "@SUM(1+1)", "-2+3+cmd|' /C calc'!A0", "\t=1+1",
    "\ud800", "\udfff\ud800", "\U00010000\U0001f534", "\ufdfa\ufb03", "\u2024\uff0ecom evil\u3002example\uff0ecom ",
    "x", "&", "<", ">", "|", "\\", "%s {0} ${x} ", "[bold red]x[/] ", "\u00b7 ", " ",
)  # fmt: skip
_SIZES = (1, 1, 1, 2, 40, 1_000, 10_000, 100_000)


def _grown(parts: list[str], size: int) -> str:
    """A text made of these parts again and again, at least of this many characters."""
    text = "".join(parts)
    return text * (1 + size // max(1, len(text)))


ATTACKS = st.builds(_grown, st.lists(st.sampled_from(_ATTACKS), min_size=1, max_size=4), st.sampled_from(_SIZES))
"""Texts that mention, link, format, forge lines, hide, reorder or break characters, of one character to 100 KB."""

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**15, -(10**18), 10**4_000, 111122223333]),
    st.floats(),
    st.text(max_size=40),
    st.text(st.characters(categories=["Cs", "Cf", "Cc", "Co", "Cn", "Mn", "Zl", "Zp"]), max_size=10),
    st.sampled_from(HOSTILE_TEXTS),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=10), inner, max_size=3)),
    max_leaves=6,
)

SPECIMENS = [(name, place) for name in all_specimens() for place in range(len(load_specimen(name)))]
REMOVED = "removed by the test"


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path to a key, at any depth."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield (*path, name)
            yield from places_in(entry, (*path, name))
    elif isinstance(value, list):
        for place, entry in enumerate(value):
            yield from places_in(entry, (*path, place))


PLACES = {(name, place): list(places_in(build_envelope(name, position=place)["detail"])) for name, place in SPECIMENS}


def changed(specimen: tuple[str, int], changes: list[tuple[int, Any]]) -> dict[str, Any]:
    """The envelope of a specimen with some keys of its record removed or replaced."""
    envelope = build_envelope(specimen[0], position=specimen[1])
    places = PLACES[specimen]
    for number, value in changes:
        *way, last = places[number % len(places)]
        holder: Any = envelope["detail"]
        for step in way:
            holder = holder.get(step) if isinstance(holder, dict) else None
        if not isinstance(holder, dict):
            continue  # an earlier change took the place away
        if value is REMOVED:
            holder.pop(last, None)
        else:
            holder[last] = value
    return envelope


CHANGES = st.lists(st.tuples(st.integers(0, 200), st.one_of(st.just(REMOVED), VALUES)), min_size=1, max_size=3)
ENVELOPES = st.builds(changed, st.sampled_from(SPECIMENS), CHANGES)
