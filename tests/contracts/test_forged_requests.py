"""What is not Slack's, or not whole, changes nothing, through the real handler; nothing of it is ever logged."""

import base64
import hmac
import io
import logging
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rootwatch import wiring
from rootwatch.channels.slack_buttons import Subject
from rootwatch.channels.slack_request import MOST_BYTES, SignedRequest, check_signature, is_of_slack, signature_of
from rootwatch.errors import RequestRefusedError
from rootwatch.reception import Reception, receive
from rootwatch_cli.slack_receiver import SIGNING_SECRET, interaction_body, signed_headers
from tests.contracts.front_desk import RESOLVER, Desk
from tests.contracts.world import running_world

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

SECRET_TEXT = "a-text-that-no-log-may-hold"

PUBLISHED_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
    b"channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&"
    b"response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&"
    b"trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
PUBLISHED = SignedRequest(
    PUBLISHED_BODY, "1531420618", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
)


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """One incident that people were told of, for all of these tests, as none of them changes anything."""
    wiring._session.cache_clear()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("SLACK_BUTTONS", "true")
        monkeypatch.setenv("SLACK_RESOLVERS", RESOLVER)
        with running_world(monkeypatch) as world:
            world.store_secret({**world.slack.bot_secret, "signing_secret": SIGNING_SECRET})
            yield Desk(world)
    wiring._session.cache_clear()


# --- what is Slack's -----------------------------------------------------------------------------------------------


def test_the_published_example_verifies() -> None:
    """The example of Slack's documentation has the signature that it says it has."""
    check_signature(PUBLISHED, SIGNING_SECRET)
    assert signature_of(SIGNING_SECRET, PUBLISHED.timestamp, PUBLISHED.body) == PUBLISHED.signature


def test_a_thousand_mutations_of_it_do_not() -> None:
    """A changed, removed or added byte of body, timestamp or signature, or a changed secret, verifies never."""
    chance = random.Random(7)  # noqa: S311 - the same thousand each time
    tried = 0
    while tried < 1000:
        body, timestamp, signature, secret = (
            PUBLISHED.body, PUBLISHED.timestamp.encode(), PUBLISHED.signature.encode(), SIGNING_SECRET.encode()
        )  # fmt: skip
        parts = [body, timestamp, signature, secret]
        which = tried % 4
        part = bytearray(parts[which])
        at = chance.randrange(len(part))
        match chance.randrange(3):
            case 0:
                part[at] ^= 1 << chance.randrange(7)
            case 1:
                del part[at]
            case _:
                part.insert(at, chance.randrange(32, 127))
        if bytes(part) == parts[which]:
            continue  # a byte put in beside its like
        tried += 1
        parts[which] = bytes(part)
        texts = [each.decode("latin-1") for each in parts[1:]]
        with pytest.raises(RequestRefusedError):
            check_signature(SignedRequest(parts[0], texts[0], texts[1].encode("ascii", "replace").decode()), texts[2])


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison is the one of the standard library that takes as long wherever the first difference is."""
    compared: list[bool] = []
    compare = hmac.compare_digest

    def noted(one: str, other: str) -> bool:
        compared.append(compare(one, other))
        return compared[-1]

    monkeypatch.setattr(hmac, "compare_digest", noted)
    check_signature(PUBLISHED, SIGNING_SECRET)
    assert compared == [True]


def forged(desk: Desk, body: bytes) -> dict[str, Any]:
    """Signed with another secret."""
    headers = signed_headers(body, desk.world.clock.now, "0" * 32)
    return desk.event(body, {"x-slack-signature": headers["X-Slack-Signature"]})


def stale(desk: Desk, body: bytes) -> dict[str, Any]:
    """Signed by Slack 301 seconds ago."""
    then = signed_headers(body, desk.world.clock.now - timedelta(seconds=301))
    return desk.event(body, {name.lower(): value for name, value in then.items()})


def from_the_future(desk: Desk, body: bytes) -> dict[str, Any]:
    """Signed for a moment in six minutes."""
    then = signed_headers(body, desk.world.clock.now + timedelta(minutes=6))
    return desk.event(body, {name.lower(): value for name, value in then.items()})


REFUSED: dict[str, Any] = {
    "forged": (401, forged),
    "stale": (401, stale),
    "from the future": (401, from_the_future),
    "unsigned": (401, lambda desk, body: desk.event(body, {"x-slack-signature": ""})),
    "without a time": (401, lambda desk, body: desk.event(body, {"x-slack-request-timestamp": "now"})),
    "truncated": (401, lambda desk, body: desk.event(body) | {"body": base64.b64encode(body[:-9]).decode()}),
    "oversized": (400, lambda desk, body: desk.event(body + b"&x=" + b"x" * MOST_BYTES)),
    "oversized, not even decoded": (400, lambda desk, body: desk.event(body) | {"body": "A" * MOST_BYTES * 2}),
    "wrongly encoded": (400, lambda desk, body: desk.event(body) | {"body": "?" + base64.b64encode(body).decode()}),
    "no base64 although it says so": (400, lambda desk, body: desk.event(body) | {"body": "ä" * 40}),
    "lone surrogates": (400, lambda desk, body: desk.event(body) | {"body": "\ud800", "isBase64Encoded": False}),
    "empty": (400, lambda desk, body: desk.event(body) | {"body": ""}),
    "no body": (400, lambda desk, body: {**desk.event(body), "body": None}),
    "a GET": (400, lambda desk, body: desk.event(body) | {"requestContext": {"http": {"method": "GET"}}}),
    "JSON": (400, lambda desk, body: desk.event(body, {"content-type": "application/json"})),
    "no event at all": (400, lambda _desk, _body: {}),
    "signed, and no form": (400, lambda desk, _body: desk.event(SECRET_TEXT.encode())),
    "signed, and no JSON": (400, lambda desk, _body: desk.event(b"payload=%7Ba")),
    "signed, and not UTF-8": (400, lambda desk, _body: desk.event(b"payload=%ff%fe")),
    "signed, and two payloads": (400, lambda desk, body: desk.event(body + b"&" + body)),
    "signed, deep": (400, lambda desk, _body: desk.event(b"payload=" + b"[" * 60_000)),
    "signed, of another type": (400, lambda desk, _body: desk.event(interaction_body({"type": "shortcut"}))),
    "signed, without a user": (400, lambda desk, _body: desk.event(interaction_body({"type": "block_actions"}))),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_changes_nothing(kind: str, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """A request that is not Slack's, or not whole, is answered 401 or 400; the table stays as it was but for the note
    that a signed request was seen, and no log holds anything of the body.
    """
    out = io.StringIO()
    handlers = [logging.StreamHandler(out)]
    logging.getLogger().addHandler(handlers[0])
    status, make = REFUSED[kind]
    value = Subject("rootwatch", desk.incident.id, 0).value
    body = desk.world.slack.pressed(value, "rootwatch:acknowledge", RESOLVER, SECRET_TEXT)
    before = [item for item in desk.world.items() if not item["pk"]["S"].startswith("REQUEST#")]
    requests = desk.world.slack.requests
    answer = desk.send(make(desk, body))
    logging.getLogger().removeHandler(handlers[0])
    assert (answer["statusCode"], answer["body"]) == (status, "refused")
    assert [item for item in desk.world.items() if not item["pk"]["S"].startswith("REQUEST#")] == before
    assert desk.world.slack.requests == requests
    assert f"A request was refused ({status})" in caplog.text
    assert SECRET_TEXT not in caplog.text + out.getvalue()


def test_size_and_time_come_before_the_secret(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large, too old or unsigned is refused without a call for the secret."""

    def none() -> object:
        pytest.fail("the secret was fetched")

    reception = replace(wiring.reception(), secret=none)
    value = Subject("rootwatch", desk.incident.id, 0).value
    body = desk.world.slack.pressed(value, "rootwatch:acknowledge", RESOLVER, "dana")
    for kind in ("stale", "from the future", "unsigned", "oversized", "wrongly encoded", "empty", "a GET"):
        status, make = REFUSED[kind]
        assert receive(make(desk, body), reception)["statusCode"] == status
    monkeypatch.undo()


class _Nothing:
    """A store and a secret of which nothing may be asked but whether a request is the first of its kind."""

    def is_first(self, _digest: str, _now: datetime) -> bool:
        """Say yes."""
        return True


class _NoDesk:
    deployment = "rootwatch"
    second_person = False
    store = _Nothing()

    @staticmethod
    def now() -> datetime:
        """Noon."""
        return datetime(2026, 11, 3, 12, 0, tzinfo=UTC)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["block_actions", "view_submission", "x"]) | JSON,
        "user": st.fixed_dictionaries({}, optional={"id": st.sampled_from(["U1"]) | JSON, "username": JSON}) | JSON,
        "team": st.just({"id": "T1"}) | JSON,
        "channel": JSON,
        "actions": st.lists(
            st.fixed_dictionaries({"action_id": st.sampled_from(["rootwatch:x"]) | JSON, "value": JSON}), max_size=2
        )
        | JSON,
        "view": st.fixed_dictionaries({}, optional={"callback_id": JSON, "private_metadata": JSON, "state": JSON})
        | JSON,
        "state": JSON,
        "response_url": st.just("https://hooks.slack.com.evil.example/actions/1") | JSON,
        "trigger_id": JSON,
    },
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    payload=PARTS | JSON,
    raw=st.binary(max_size=200),
    choose=st.integers(0, 5),
    headers=st.dictionaries(
        st.sampled_from(["x-slack-signature", "x-slack-request-timestamp", "content-type"]), JSON, max_size=2
    ),
)
def test_whatever_comes_is_answered(payload: Any, raw: bytes, choose: int, headers: dict[str, Any]) -> None:
    """Signed or not, whole or not, whatever comes is answered 200, 400 or 401, asks the table for nothing, and what
    is noted holds nothing of it.
    """  # fmt: skip
    now = _NoDesk.now()
    body = interaction_body(payload) if choose else raw
    signed: dict[str, Any] = {name.lower(): value for name, value in signed_headers(body, now).items()}
    if choose > 3:
        signed |= headers
    event: dict[str, Any] = {
        "headers": signed,
        "requestContext": {"http": {"method": "POST"}},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": choose != 2,
    }
    notes: list[str] = []
    reception = Reception(
        desk=_NoDesk,  # type: ignore[arg-type] # nothing else of it may be asked
        secret=lambda: {"signing_secret": SIGNING_SECRET},
        slack=lambda _secret: pytest.fail("Slack was called"),
        slack_origin="https://hooks.slack.com",
        resolvers=(),
        note=notes.append,
    )
    assert receive(event, reception)["statusCode"] in {200, 400, 401}
    assert all(note.isascii() and len(note) < 200 for note in notes)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://hooks.slack.com/actions/T1/2/abc", True),
        ("https://hooks.slack.com/services/T1/B2/abc", False),
        ("https://hooks.slack.com.evil.example/actions/T1", False),
        ("https://hooks.slack.com@evil.example/actions/T1", False),
        ("https://evil.example/actions/T1?https://hooks.slack.com/actions", False),
        ("http://hooks.slack.com/actions/T1", False),
        ("https://hooks.slack.com:444/actions/T1", False),
        ("//hooks.slack.com/actions/T1", False),
        ("https://[::1/actions/", False),
        ("", False),
        (None, False),
    ],
)
def test_where_answers_go(address: str | None, expected: bool) -> None:  # noqa: FBT001 - a table
    """Only an address of Slack's own, for actions, is called."""
    assert is_of_slack(address, "https://hooks.slack.com") is expected
