"""Whose network an address is in, out of a registry's answer or a database's record; and which registry may be asked.

No I/O. Whoever registers a network writes its name: every text here is hostile, and is bounded before it is kept.

Registries: RFC 9082 (the question), RFC 9083 (the answer), RFC 7095 (the vCard in it), RFC 8605 (its country code).
Databases: https://dev.maxmind.com/geoip/docs/databases/ , https://db-ip.com/db/format/ip-to-isp/mmdb.html and
https://ipinfo.io/developers/ipinfo-lite-database
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin

LONGEST_NAME: Final = 120
LONGEST_COUNTRY: Final = 56
"""Characters; the longest name of a country that ISO 3166 lists fits."""

REGISTRIES: Final = (
    "https://rdap.arin.net",
    "https://rdap.db.ripe.net",
    "https://rdap.apnic.net",
    "https://rdap.lacnic.net",
    "https://rdap.afrinic.net",
)
"""Where the five regional registries answer: https://data.iana.org/rdap/ipv4.json. ARIN refers to the other four."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Under which name and in which country a network is registered; either may be None for "not stated".

    The country is a two-letter code (ISO 3166) or, where a registry states none, its name in the registry's words. It
    says where the network is registered, not where a person sat.
    """

    name: str | None
    country: str | None


def stated(value: object, longest: int) -> str | None:
    """Return text that others wrote on one line and bounded, as it can be stored; None for nothing or no text."""
    if not isinstance(value, str):
        return None
    line = " ".join(value[: longest * 4].split())[:longest].rstrip()
    return line.encode("utf-8", "replace").decode() or None  # a lone surrogate is no character


def owner_of(name: object, country: object) -> Owner | None:
    """Return the owner that a name and a country make, each bounded; None where neither says anything."""
    found = Owner(stated(name, LONGEST_NAME), stated(country, LONGEST_COUNTRY))
    return found if found.name or found.country else None


# --- registries ----------------------------------------------------------------------------------------------------


def hosts(origin: str) -> tuple[str, ...]:
    """Return every host that may be asked where `origin` is asked first."""
    return tuple(dict.fromkeys(host_of(base) for base in (origin, *REGISTRIES)))


def host_of(question: str) -> str:
    """Return the host, with its port where it has one, of an address that may be asked."""
    return question.partition("://")[2].partition("/")[0]


def first_question(origin: str, address: str) -> str:
    """Return what to ask first about an address (in its normal spelling) at `origin`, which is ARIN's."""
    return f"{origin}/registry/ip/{address}"


def next_question(referral: str | None, asked: str, origin: str) -> str | None:
    """Return what to ask after a referral, or None where it leads anywhere but to a registry.

    Args:
        referral: the text of the header Location.
        asked: the address that answered with it.
        origin: what is asked first; a referral within it is good too.

    """
    try:
        address = urljoin(asked, (referral or "")[:_LONGEST_ADDRESS])
    except ValueError:
        return None
    # Compared as text, with nothing but plain characters behind the host, so that no two readers of the address can
    # take different hosts out of it.
    for base in (origin, *REGISTRIES):
        if address.startswith(f"{base}/") and _PATH.fullmatch(address, len(base)):
            return address
    return None


_LONGEST_ADDRESS: Final = 512
_PATH: Final = re.compile(r"[A-Za-z0-9._~:/%-]+")


def of_registry(document: object, address: str) -> Owner | None:
    """Return the owner in a registry's answer about an address; None where it states none, or is about another one.

    The registrant counts where it is an organisation, else the network's own name: persons and the accounts that
    maintain a network are not its owner. Never raises.
    """
    if not isinstance(document, dict) or "errorCode" in document or not _covers(document, address):
        return None
    card = _registrant(document)
    code = stated(document.get("country"), LONGEST_COUNTRY)
    name = stated(_value(card, "fn"), LONGEST_NAME)
    return owner_of(name or document.get("name"), code or _country(card))


def _covers(document: Mapping[str, Any], address: str) -> bool:
    """Return whether the network is the address's, as far as it states its first and last address."""
    ends = document.get("startAddress"), document.get("endAddress")
    if not all(isinstance(end, str) for end in ends):
        return True
    try:
        first, last, one = (ipaddress.ip_address(str(text)) for text in (*ends, address))
    except ValueError:
        return True
    return first.version == one.version == last.version and int(first) <= int(one) <= int(last)


_Card = Mapping[str, Sequence[Any]]
"""The properties of a vCard by name, the first of each: [name, parameters, type, value]."""


def _registrant(document: Mapping[str, Any]) -> _Card:
    cards = [_card(entity) for entity in _list(document.get("entities")) if "registrant" in _roles(entity)]
    organisations = [card for card in cards if _value(card, "kind") == "org"]
    others = [card for card in cards if card and _value(card, "kind") not in {"org", "individual"}]
    return next(iter((*organisations, *others)), {})


def _roles(entity: object) -> Sequence[Any]:
    return _list(entity.get("roles")) if isinstance(entity, dict) else ()


def _card(entity: object) -> _Card:
    card = _list(entity.get("vcardArray")) if isinstance(entity, dict) else ()
    properties: dict[str, Sequence[Any]] = {}
    for each in _list(card[1]) if len(card) > 1 else ():
        if isinstance(each, list) and len(each) > _VALUE and isinstance(each[0], str):
            properties.setdefault(each[0].casefold(), each)
    return properties


def _value(card: _Card, name: str) -> object:
    return card[name][_VALUE] if name in card else None


def _country(card: _Card) -> object:
    if "adr" not in card:
        return None
    parameters, value = card["adr"][1], card["adr"][_VALUE]
    parameters = parameters if isinstance(parameters, dict) else {}
    code = stated(parameters.get("cc"), LONGEST_COUNTRY)
    parts = _list(value)
    # The seventh part of a structured address is the country; ARIN writes all of it into the label, country last.
    part = stated(parts[6], LONGEST_COUNTRY) if len(parts) > 6 else None  # noqa: PLR2004 - RFC 6350, section 6.3.1
    label = parameters.get("label")
    last_line = label[-1024:].strip().rpartition("\n")[2] if isinstance(label, str) else None
    return code or part or last_line


def _list(value: object) -> Sequence[Any]:
    return value[:_MOST_ENTRIES] if isinstance(value, list) else ()


_VALUE: Final = 3
_MOST_ENTRIES: Final = 100


# --- databases -----------------------------------------------------------------------------------------------------


def of_databases(records: Iterable[object]) -> Owner | None:
    """Return the owner that the records of one address in several databases state; the first that states it counts.

    Understands the records of MaxMind (GeoLite2 and GeoIP2: Country, City, ASN, ISP), DB-IP and IPinfo. Never raises.
    """
    name: str | None = None
    country: str | None = None
    for record in records:
        for way in _WAYS_TO_NAME:
            name = name or stated(_at(record, way), LONGEST_NAME)
        for way in _WAYS_TO_COUNTRY:
            code = stated(_at(record, way), LONGEST_COUNTRY)
            country = country or (code if code and len(code) == 2 else None)  # noqa: PLR2004 - ISO 3166-1 alpha-2
    return owner_of(name, country)


def _at(record: object, way: Sequence[str]) -> object:
    for step in way:
        record = record.get(step) if isinstance(record, dict) else None
    return record


_WAYS_TO_NAME: Final = (
    ("traits", "organization"), ("organization",), ("traits", "isp"), ("isp",),
    ("traits", "autonomous_system_organization"), ("autonomous_system_organization",), ("as_name",), ("name",),
)  # fmt: skip
_WAYS_TO_COUNTRY: Final = (
    ("country", "iso_code"), ("country_code",), ("country",), ("registered_country", "iso_code"),
)  # fmt: skip
