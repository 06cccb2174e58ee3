"""Whose network an address is in: every registry's way of saying it, every database's, and nobody else's."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rootwatch.context.network_owner import (
    LONGEST_COUNTRY,
    LONGEST_NAME,
    REGISTRIES,
    Owner,
    first_question,
    hosts,
    next_question,
    of_databases,
    of_registry,
)
from tests.builders.databases import FIVE_NETWORKS
from tests.unit.workbench import check_item

ADDRESS = "203.0.113.7"
ORIGIN = REGISTRIES[0]


def entity(role: str, name: str, kind: str | None = "org", *more: Any) -> dict[str, Any]:
    """An entity of a registry's answer, with its vCard."""
    card = [["version", {}, "text", "4.0"], ["fn", {}, "text", name], *more]
    card += [["kind", {}, "text", kind]] if kind else []
    return {"objectClassName": "entity", "roles": [role], "vcardArray": ["vcard", card]}


def network(*entities: Any, **fields: Any) -> dict[str, Any]:
    """A registry's answer: the network of `ADDRESS`."""
    answer = {
        "objectClassName": "ip network",
        "startAddress": "203.0.113.0",
        "endAddress": "203.0.113.255",
        "name": "EXAMPLE-NET",
        "entities": list(entities),
    }
    return {name: value for name, value in (answer | fields).items() if value is not None}


EMPTY_ADDRESS = ["", "", "", "", "", "", ""]
ARIN = network(
    entity("registrant", "Example Hosting", "org",
           ["adr", {"label": "1 Example Street\nExampletown\nCA\n90000\nUnited States"}, "text", EMPTY_ADDRESS]),
)  # fmt: skip
RIPE = network(
    entity("administrative", "A Person", "individual"),
    entity("registrant", "EXAMPLE-MNT", "individual"),
    entity("registrant", "Example Hosting", "org"),
    country="NL",
)
APNIC = network(entity("technical", "Example Operations", "group"), country="AU", name="EXAMPLE-AP")
LACNIC = network(
    entity("registrant", "Example Hosting", "org", ["adr", {"cc": "UY"}, "text", EMPTY_ADDRESS]), name=None
)
AFRINIC = network(
    entity(
        "registrant", "Example Hosting", "group", ["adr", {}, "text", ["", "", "1 Street", "City", "", "", "Kenya"]]
    ),
)
BARE = network({"handle": "ORG-EX1", "roles": ["registrant"], "objectClassName": "entity"}, country="FR")


@pytest.mark.parametrize(
    ("answer", "owner"),
    [
        pytest.param(ARIN, Owner("Example Hosting", "United States"), id="arin"),
        pytest.param(RIPE, Owner("Example Hosting", "NL"), id="ripe"),
        pytest.param(APNIC, Owner("EXAMPLE-AP", "AU"), id="apnic"),
        pytest.param(LACNIC, Owner("Example Hosting", "UY"), id="lacnic"),
        pytest.param(AFRINIC, Owner("Example Hosting", "Kenya"), id="afrinic"),
        pytest.param(BARE, Owner("EXAMPLE-NET", "FR"), id="entities without a card"),
        pytest.param(network(name=None, country="FR"), Owner(None, "FR"), id="country only"),
        pytest.param({"name": "EXAMPLE-NET"}, Owner("EXAMPLE-NET", None), id="no addresses stated"),
        pytest.param(network(entity("registrant", "Jo Doe", "individual")), Owner("EXAMPLE-NET", None), id="a person"),
        pytest.param(network(entity("registrant", "No Kind", None)), Owner("No Kind", None), id="no kind"),
        pytest.param(network(entity("abuse", "Abuse Desk", "org")), Owner("EXAMPLE-NET", None), id="an abuse desk"),
        pytest.param(network(name=None), None, id="nothing"),
        pytest.param(network() | {"errorCode": 404}, None, id="an error"),
        pytest.param(network(startAddress="203.0.114.0", endAddress="203.0.114.255"), None, id="another network"),
        pytest.param(network(startAddress="2001:db8::", endAddress="2001:db8::ff"), None, id="another version"),
        pytest.param(network(startAddress="x", endAddress=7), Owner("EXAMPLE-NET", None), id="addresses are rubbish"),
        pytest.param([], None, id="a list"),
        pytest.param(None, None, id="null"),
    ],
)  # fmt: skip
def test_what_registries_say(answer: Any, owner: Owner | None) -> None:
    """Each registry's way of naming the registrant is understood; an answer about another network is none."""
    assert of_registry(answer, ADDRESS) == owner


def test_what_is_written_there_is_one_short_line() -> None:
    """However long and broken a registrant's name is, one bounded line is kept that the table can hold."""
    owner = of_registry(network(entity("registrant", "A\n\tB \ud800" + "x" * 70_000), country=" N\r\nL " * 99), ADDRESS)
    assert owner is not None
    assert owner.name is not None
    assert owner.country is not None
    assert owner.name.startswith("A B ?xxx")
    assert len(owner.name) <= LONGEST_NAME
    assert len(owner.country) <= LONGEST_COUNTRY
    assert "\n" not in owner.name + owner.country


@pytest.mark.parametrize(
    ("records", "owner"),
    [
        ([FIVE_NETWORKS["192.0.2.0/26"]], Owner("Example Telecom", "DE")),
        ([FIVE_NETWORKS["192.0.2.64/26"]], Owner("Example Cloud", None)),
        ([FIVE_NETWORKS["192.0.2.128/26"]], Owner("Example Broadband", "JP")),
        ([FIVE_NETWORKS["192.0.2.192/26"]], Owner("Example Networks", "CA")),
        ([FIVE_NETWORKS["2001:db8::/32"]], Owner(None, "SE")),
        ([{"country": "SE", "name": "Example ASN"}], Owner("Example ASN", "SE")),
        ([{"registered_country": {"iso_code": "NO"}}], Owner(None, "NO")),
        ([{"isp": "Example ISP", "organization": "Example Company"}], Owner("Example Company", None)),
        ([None, {"country": {"iso_code": "SE"}}, {"as_name": "B", "country_code": "NO"}], Owner("B", "SE")),
        ([{"country": {"iso_code": "a very long code"}, "as_name": 7, "traits": []}], None),
        ([{"country": "Sweden"}], None),
        ([None, 7, "x", [], {}], None),
        ([], None),
    ],
)
def test_what_databases_say(records: list[Any], owner: Owner | None) -> None:
    """The records of the common products are understood; of several databases the first that says something counts."""
    assert of_databases(records) == owner


# --- who may be asked ----------------------------------------------------------------------------------------------

ASKED = f"{ORIGIN}/registry/ip/{ADDRESS}"


@pytest.mark.parametrize(
    ("referral", "question"),
    [
        ("https://rdap.db.ripe.net/ip/203.0.113.7", "https://rdap.db.ripe.net/ip/203.0.113.7"),
        ("https://rdap.apnic.net/ip/203.0.113.7", "https://rdap.apnic.net/ip/203.0.113.7"),
        ("https://rdap.lacnic.net/rdap/ip/203.0.113.7", "https://rdap.lacnic.net/rdap/ip/203.0.113.7"),
        ("https://rdap.afrinic.net/rdap/ip/2001:db8::7", "https://rdap.afrinic.net/rdap/ip/2001:db8::7"),
        ("/registry/ip/203.0.113.0/24", f"{ORIGIN}/registry/ip/203.0.113.0/24"),
        ("//rdap.db.ripe.net/ip/203.0.113.7", "https://rdap.db.ripe.net/ip/203.0.113.7"),
        ("http://rdap.db.ripe.net/ip/203.0.113.7", None),
        ("https://rdap.db.ripe.net.example.com/ip/203.0.113.7", None),
        ("https://rdap.db.ripe.net@example.com/ip/203.0.113.7", None),
        ("https://example.com/https://rdap.db.ripe.net/", None),
        ("https://example.com\\@rdap.db.ripe.net/ip/", None),
        ("https://rdap.db.ripe.net\\@example.com/", None),
        ("https://rdap.db.ripe.net:8443/ip/203.0.113.7", None),
        ("https://rdap.db.ripe.net", None),
        ("https://rdap.db.ripe.net/ip/203.0.113.7?to=https://example.com", None),
        ("https://rdap.db.ripe.net/ip/203.0.113.7#x", None),
        ("https://rdap.db.ripe.net/ip/\r\nHost: example.com", None),
        ("https://RDAP.DB.RIPE.NET/ip/203.0.113.7", None),
        ("https://rdap.registro.br/ip/203.0.113.7", None),
        ("http://169.254.169.254/latest/meta-data/", None),
        ("http://127.0.0.1:8080/ip/203.0.113.7", None),
        ("file:///etc/passwd", None),
        ("https://[", None),
        ("https://rdap.db.ripe.net/" + "x" * 100_000 + "?", "https://rdap.db.ripe.net/" + "x" * 487),
    ],
)
def test_only_registries_are_asked(referral: str, question: str | None) -> None:
    """A referral leads to one of the five registries over HTTPS, or nowhere."""
    assert next_question(referral, ASKED, ORIGIN) == question


def test_without_a_referral_nobody_is_asked_next() -> None:
    """An answer that refers on without saying whereto leads back to nothing but the registry itself."""
    assert next_question(None, ASKED, ORIGIN) == ASKED


def test_a_stand_in_may_refer_to_itself() -> None:
    """A stand-in on this machine is asked ARIN's way, and may refer within itself, but not to another port."""
    origin = "http://127.0.0.1:8089"
    asked = first_question(origin, ADDRESS)
    assert asked == f"{origin}/registry/ip/{ADDRESS}"
    assert next_question("/ip/203.0.113.7", asked, origin) == f"{origin}/ip/203.0.113.7"
    assert next_question("http://127.0.0.1:80890/ip/203.0.113.7", asked, origin) is None
    assert next_question("http://127.0.0.1:80/ip/203.0.113.7", asked, origin) is None
    assert hosts(origin)[0] == "127.0.0.1:8089"
    assert len(hosts(ORIGIN)) == 5


# --- whatever is answered ------------------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "\ud800", "x" * 100_000, "\u202e://", "\n" * 9_999, "registrant", "org", "US", "203.0.113.0"]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=10,
)
NAMES = ("objectClassName", "startAddress", "endAddress", "name", "country", "entities", "roles", "vcardArray")


@st.composite
def broken_answers(draw: st.DrawFn) -> Any:
    """A registry's answer with something in it, at any depth, replaced by anything."""
    answer = json.loads(json.dumps(draw(st.sampled_from([ARIN, RIPE, APNIC, LACNIC, AFRINIC, BARE]))))
    for _ in range(draw(st.integers(1, 4))):
        holder: Any = answer
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if draw(st.booleans()) or not isinstance(holder[key], dict | list):
                holder[key] = draw(VALUES)
                break
            holder = holder[key]
    return answer


def check(owner: Owner | None) -> None:
    """An owner is nothing at all, or short lines that the table holds."""
    if owner is None:
        return
    assert owner.name or owner.country
    for text, longest in ((owner.name, LONGEST_NAME), (owner.country, LONGEST_COUNTRY)):
        assert text is None or 0 < len(text) <= longest
        assert text is None or len(text.split("\n")) == 1
    check_item({"pk": "CACHE#owner", "sk": "x", "name": owner.name, "country": owner.country})


@settings(max_examples=500)
@given(st.one_of(VALUES, broken_answers(), st.dictionaries(st.sampled_from(NAMES), VALUES)), TEXTS)
def test_any_answer_of_a_registry_is_an_owner_or_none(answer: Any, address: str) -> None:
    """Whatever a registry answers, about whatever it was asked: an owner that can be kept, or none, and no error."""
    check(of_registry(answer, ADDRESS))
    check(of_registry(answer, address))


FIELDS = ("country", "country_code", "registered_country", "traits", "iso_code", "as_name", "name", "isp",
          "organization", "autonomous_system_organization")  # fmt: skip


@settings(max_examples=300)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(FIELDS), st.one_of(VALUES, st.dictionaries(st.sampled_from(FIELDS), VALUES)), max_size=6
        )
        | VALUES,
        max_size=4,
    )
)
def test_any_record_of_a_database_is_an_owner_or_none(records: list[Any]) -> None:
    """Whatever stands in a database: an owner that can be kept, or none, and no error."""
    check(of_databases(records))


@settings(max_examples=500)
@given(
    st.one_of(
        st.text(max_size=60),
        st.builds(
            lambda base, sign, rest: base + sign + rest,
            st.sampled_from(REGISTRIES),
            st.sampled_from(["", "/", "@", ":", "\\", ".", "?", "#", "%2f", "/../", "\t", " "]),
            st.text(max_size=30),
        ),
    ),
    st.sampled_from([ORIGIN, "http://127.0.0.1:8089"]),
)
@example("https://rdap.arin.net\\@example.com/", ORIGIN)
def test_any_referral_leads_to_a_registry_or_nowhere(referral: str, origin: str) -> None:
    """Whatever stands in Location, the next question goes to a registry over HTTPS or to the stand-in, or to nobody."""
    question = next_question(referral, first_question(origin, ADDRESS), origin)
    if question is not None:
        parts = urlsplit(question)
        assert f"{parts.scheme}://{parts.netloc}" in {origin, *REGISTRIES}
        assert question.isascii()
        assert question.isprintable()
        assert not parts.query
        assert not parts.fragment
