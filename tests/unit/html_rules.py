"""The rules of HTML that the report's page has to keep, beyond what a strict parser finds: which element may stand in
which, which attributes it may have, that ids are unique and references lead somewhere, that headings skip no level.

Only the elements that the page uses are known; any other one is a fault until its rule is written here.
https://html.spec.whatwg.org/multipage/indices.html#elements-3
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import html5lib

PHRASING: Final = frozenset({"a", "b", "code", "span", "svg"})
FLOW: Final = PHRASING | {
    "article", "div", "dl", "figure", "footer", "h1", "h2", "h3", "header", "main", "nav", "ol", "p", "pre", "section",
    "table", "ul",
}  # fmt: skip
CONTENT: Final = {
    "html": frozenset({"head", "body"}), "head": frozenset({"meta", "title", "style"}), "body": FLOW,
    **dict.fromkeys(("article", "div", "footer", "header", "main", "nav", "section", "li", "dd", "td"), FLOW),
    **dict.fromkeys(("a", "b", "code", "span", "p", "pre", "h1", "h2", "h3", "caption", "dt"), PHRASING),
    "th": PHRASING, "figcaption": FLOW, "figure": FLOW | {"figcaption"}, "dl": frozenset({"dt", "dd"}),
    **dict.fromkeys(("ol", "ul"), frozenset({"li"})), "table": frozenset({"caption", "thead", "tbody"}),
    **dict.fromkeys(("thead", "tbody"), frozenset({"tr"})), "tr": frozenset({"th", "td"}),
    **dict.fromkeys(("meta", "title", "style"), frozenset[str]()),
    "svg": frozenset({"title", "desc", "defs", "rect", "line", "text"}), "defs": frozenset({"pattern"}),
    "pattern": frozenset({"rect", "line", "circle"}),
    **dict.fromkeys(("rect", "line", "circle", "text", "desc"), frozenset[str]()),
}  # fmt: skip
"""Which elements may be children of which. https://html.spec.whatwg.org/multipage/dom.html#content-models"""
TEXTLESS: Final = frozenset({"html", "head", "ol", "ul", "dl", "table", "thead", "tbody", "tr", "svg", "defs"})
EVERYWHERE: Final = frozenset({"class", "id", "role", "aria-labelledby", "aria-label", "data-label"})
_SHAPE: Final = frozenset({"x", "y", "width", "height", "fill"})
ATTRIBUTES: Final = {
    "html": {"lang"}, "meta": {"charset", "name", "content", "http-equiv"}, "a": {"href"}, "th": {"scope"},
    "svg": {"viewBox"}, "rect": _SHAPE, "text": {"x", "y", "text-anchor"}, "circle": {"cx", "cy", "r"},
    "line": {"x1", "x2", "y1", "y2", "stroke-width"},
    "pattern": {"width", "height", "patternUnits", "patternTransform"},
}  # fmt: skip
_LEVELS: Final = {"h1": 1, "h2": 2, "h3": 3}


def faults(text: str) -> list[str]:
    """Return what is wrong with a page, in words; a parse error is raised by the parser."""
    root = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    elements = [element for element in root.iter() if isinstance(element.tag, str)]
    return [
        *(fault for element in elements for fault in _of_element(element)),
        *_of_references(elements),
        *_of_headings(elements),
    ]


def _name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]  # SVG's elements have a namespace


def _of_element(element: Any) -> Iterator[str]:
    name = _name(element)
    if name not in CONTENT:
        yield f"<{name}> is unknown"
        return
    children = [_name(child) for child in element if isinstance(child.tag, str)]
    yield from (f"<{child}> in <{name}>" for child in children if child not in CONTENT[name])
    yield from (f"{name} has {each}" for each in element.attrib if each not in EVERYWHERE | ATTRIBUTES.get(name, set()))
    texts = [element.text, *(child.tail for child in element)]
    if name in TEXTLESS and any(each and each.strip() for each in texts):
        yield f"text in <{name}>"
    yield from _of_order(element, name, children)


def _of_order(element: Any, name: str, children: list[str]) -> Iterator[str]:
    first = {"figure": "figcaption", "svg": "title"}.get(name)
    if first and (children[:1] != [first] or children.count(first) != 1):
        yield f"a {name} that does not begin with its {first}"
    if name in {"ol", "ul", "tbody", "thead", "tr"} and not children:
        yield f"an empty {name}"
    if name == "dl" and not re.fullmatch(r"(?:(?:dt )+(?:dd )+)+", "".join(f"{child} " for child in children)):
        yield f"a dl of {children}"
    if name == "th" and element.get("scope") not in {"col", "row"}:
        yield "a th without scope"
    if name == "section" and not any(_name(each) in _LEVELS for each in element.iter()):
        yield "a section without a heading"
    if name == "table":
        yield from _of_table(element, children)


def _of_table(table: Any, children: list[str]) -> Iterator[str]:
    if children[-2:] != ["thead", "tbody"] or children[:-2] not in ([], ["caption"]):
        yield f"a table of {children}"
    widths = {len(row) for row in table.iter() if _name(row) == "tr"}
    if len(widths) != 1:
        yield f"a table with rows of {sorted(widths)} cells"


def _of_references(elements: list[Any]) -> Iterator[str]:
    ids = Counter(element.get("id") for element in elements if element.get("id") is not None)
    yield from (f"the id {each} {times} times" for each, times in ids.items() if times > 1 or not each or " " in each)
    for element in elements:
        wanted = (element.get("aria-labelledby") or "").split()
        if (address := element.get("href")) is not None:
            wanted.append(address[1:] if address.startswith("#") else f"no part of the page: {address}")
        if found := re.fullmatch(r"url\(#(.+)\)", element.get("fill") or ""):
            wanted.append(found[1])
        yield from (f"{_name(element)} refers to {each}, which is not there" for each in wanted if each not in ids)


def _of_headings(elements: list[Any]) -> Iterator[str]:
    level = 0
    for element in elements:
        if (found := _LEVELS.get(_name(element))) is not None:
            if found > level + 1:
                yield f"an h{found} behind an h{level}"
            level = found
    if Counter(map(_name, elements))["h1"] != 1:
        yield "not one h1"
