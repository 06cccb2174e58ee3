"""What Slack gets: within Block Kit's limits, hostile text that stays text, and an address that nobody sees."""

import dataclasses
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from rootwatch.alert import DO_NOT, Alert, compose
from rootwatch.channels.forms import escaped
from rootwatch.channels.slack import (
    bare_payload,
    parent_payload,
    payload,
    plain_payload,
    post,
    prove,
    webhook_address,
)
from rootwatch.detections.detection import Severity
from rootwatch.errors import DeliveryError, DeliveryFailedError, DeliveryRefusedError
from rootwatch_cli.slack_receiver import problem_with
from tests.builders import all_specimens, load_specimen
from tests.unit.limits import check_slack, check_tame_on_slack
from tests.unit.workbench import fold_all, make_alert, make_observation

RUNBOOK = "https://runbook.example.com/root?a=1&b=<2>"
ORIGIN = "https://hooks.slack.com"
ADDRESS = f"{ORIGIN}/services/T000/B000/hunter2-secret"
HOSTILE = "<!channel> <@U123> <https://evil.example.com|Click here> *bold* `code` & @here :fire:"


def alerts() -> Iterator[Alert]:
    """Every alert of every specimen, each specimen in an account of its own."""
    for name in all_specimens():
        observations = [make_observation(name, position=place) for place in range(len(load_specimen(name)))]
        _, outcomes = fold_all([each for each in observations if each.relevant])
        for outcome in outcomes:
            yield from map(compose, outcome.alerts)


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a message, at any depth."""
    if isinstance(value, dict):
        yield value
        for entry in value.values():
            yield from objects(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from objects(entry)


# --- the message ------------------------------------------------------------------------------------------------------


def test_every_specimen_s_alert_is_one_that_slack_takes() -> None:
    """Each alert of each specimen, with and without a runbook, passes the checks of Block Kit."""
    found = list(alerts())
    assert len(found) > 30
    for alert in found:
        for runbook in ("", RUNBOOK):
            message = payload(alert, runbook)
            assert problem_with(message) is None
            check_slack(message)


def test_the_notification_s_text_is_escaped() -> None:
    """In `text`, which Slack does interpret, no mention and no link of a record's survives."""
    alert = dataclasses.replace(make_alert(), headline=f"Root {HOSTILE}")
    text = payload(alert)["text"]
    assert "<" not in text
    assert ">" not in text
    assert "&lt;!channel&gt;" in text
    assert escaped("a & <b>", 99) == "a &amp; &lt;b&gt;"
    assert escaped("&lt;", 99) == "&amp;lt;"
    assert escaped("a&&b", 9) == "a&amp;…"


@pytest.mark.parametrize("filler", ["x", "<", "&", "🔴", "\u202e", "\n", "*"])
def test_a_message_made_to_be_long_is_within_the_limits(filler: str) -> None:
    """Every text filled to any length is cut to what Slack takes."""
    long = filler * 20_000
    alert = make_alert(
        "write",
        **dict.fromkeys(("eventName", "userAgent", "sourceIPAddress", "errorMessage", "eventID", "awsRegion"), long),
        addendum={"reason": long},
    )
    check_slack(payload(alert, RUNBOOK))
    assert problem_with(payload(alert, RUNBOOK)) is None
    made = dataclasses.replace(
        alert,
        headline=long,
        expected=long,
        reason=long,
        access=long,
        news=long,
        so_far=long,
        contacts=long,
        trust=(long, long),
        marks=(long, long),
        facts=(("x", long),),
    )
    check_slack(payload(made, RUNBOOK))
    assert problem_with(payload(made, RUNBOOK)) is None


def test_a_person_finds_all_that_matters() -> None:
    """The message holds severity, headline, reason, every fact, the steps, the warning and the marks."""
    alert = make_alert("console_login_without_mfa")
    message = payload(alert)
    words = " ".join(each["text"] for each in objects(message["blocks"]) if isinstance(each.get("text"), str))
    assert message["text"].startswith("🔴 CRITICAL: Root signed in to the console WITHOUT MFA")
    briefing, facts = (text for _, text in alert.briefing), (value for _, value in alert.facts)
    for part in (*briefing, *facts, *alert.next_steps, *alert.trust, *alert.marks, DO_NOT):
        assert part in words
    assert "Root signed in without MFA (root.console_login_without_mfa)" in words


def test_nothing_that_must_be_seen_at_once_can_be_folded_away() -> None:
    """Above the details only the link to the runbook is a section, and that is told to stay open."""
    blocks = payload(make_alert("console_login_without_mfa"), RUNBOOK)["blocks"]
    kinds = [block["type"] for block in blocks]
    assert kinds[: kinds.index("divider")] == ["header", "rich_text", "rich_text", "section", "context"]
    assert all(block["expand"] is True for block in blocks if block["type"] == "section")


def test_what_the_header_has_no_room_for_stands_below_it() -> None:
    """A headline's first part is the header; one that is too long for it is shown whole below."""
    alert = make_alert("console_login")
    header, first = payload(alert)["blocks"][:2]
    assert header["text"]["text"] == "🟠 HIGH: Root signed in to the console"
    assert first["elements"][0]["elements"][0]["text"] == alert.headline.partition(" · ")[2]
    long = dataclasses.replace(alert, headline=f"Root {'x' * 200} · account 111122223333")
    header, first = payload(long)["blocks"][:2]
    assert header["text"]["text"].endswith("x…")
    assert first["elements"][0]["elements"][0]["text"] == long.headline


def test_each_severity_has_a_sign_of_its_own() -> None:
    """The severity is seen at a glance."""
    alert = make_alert()
    signs = {payload(dataclasses.replace(alert, severity=severity))["text"][0] for severity in Severity}
    assert len(signs) == len(Severity)


def test_rendering_is_pure() -> None:
    """The same alert always gives the same message."""
    alert = make_alert()
    assert payload(alert, RUNBOOK) == payload(alert, RUNBOOK)


# --- the message that a thread begins with ----------------------------------------------------------------------------


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("filler", ["x", "<!channel> ", "🔴", "evil.example.com "])
def test_the_parent_of_a_full_incident_is_within_the_limits(filler: str, is_open: bool) -> None:  # noqa: FBT001
    """With every set of the incident full, the message is one that Slack takes, and says whether it is over."""
    _, [outcome] = fold_all([make_observation("write", eventName=filler * 5_000)])
    [due] = outcome.alerts
    alert = dataclasses.replace(
        compose(due), headline=filler * 5_000, account_id=filler * 100, incident_id=filler * 100
    )
    incident = dataclasses.replace(due.incident, open=is_open, acts={f"{filler}{number}": 1 for number in range(99)})
    for message in (parent_payload(alert, incident), parent_payload(alert, None)):
        check_slack(message)
        assert problem_with(message) is None
        check_tame_on_slack(message)
    assert ("CLOSED" if not is_open else "OPEN") in parent_payload(alert, incident)["text"]


@pytest.mark.parametrize(
    ("story", "words"),
    [
        ("root", "OPEN: root use in account"),
        ("assume-root:0123456789", "OPEN: AssumeRoot use in account"),
        ("not-from-cloudtrail", "OPEN: records NOT FROM CLOUDTRAIL in account"),
        ("damage", "OPEN: audit data CHANGED by somebody in account"),
    ],
)
def test_the_parent_says_what_kind_of_story_it_is(story: str, words: str) -> None:
    """What anybody may have forged is not called root use, neither in the channel nor in the notification."""
    _, [outcome] = fold_all([make_observation("write")])
    [due] = outcome.alerts
    message = parent_payload(compose(due), dataclasses.replace(due.incident, story=story))
    assert words in message["text"]
    assert words in message["blocks"][0]["text"]["text"]


def test_the_parent_of_every_specimen_is_one_that_slack_takes() -> None:
    """Each alert of each specimen, with and without its incident, begins a thread that Slack takes."""
    for name in all_specimens():
        observations = [make_observation(name, position=place) for place in range(len(load_specimen(name)))]
        _, outcomes = fold_all([each for each in observations if each.relevant])
        for due in [due for outcome in outcomes for due in outcome.alerts]:
            for incident in (due.incident, None):
                message = parent_payload(compose(due), incident)
                assert problem_with(message) is None
                check_slack(message)


# --- plainer forms ----------------------------------------------------------------------------------------------------


def test_the_plain_text_holds_what_matters() -> None:
    """Without blocks a person still finds severity, headline, facts, steps and marks."""
    alert = make_alert("console_login_without_mfa")
    text = plain_payload(alert)["text"]
    assert text.startswith("🔴 CRITICAL: Root signed in to the console WITHOUT MFA")
    for part in (*(value for _, value in alert.facts), *alert.next_steps, *alert.marks):
        assert escaped(part, 3000) in text


@pytest.mark.parametrize("form", [plain_payload, bare_payload])
@pytest.mark.parametrize("text", [HOSTILE, "<" * 100_000, "&" * 100_000, "\u202e\n" * 10_000, "\ud800", ""])
def test_hostile_text_in_a_plainer_form(form: Any, text: str) -> None:
    """No mention, link, forged line or broken limit, whatever stands in the alert; formatting is switched off."""
    alert = dataclasses.replace(
        make_alert(), headline=text, reason=text, facts=((text, text),), marks=(text,), account_id=text
    )
    message = form(alert)
    assert message.keys() == {"text", "mrkdwn", "unfurl_links", "unfurl_media"}
    assert message["mrkdwn"] is False
    assert 0 < len(message["text"]) <= 3000
    assert "<" not in message["text"]
    assert ">" not in message["text"]
    assert "\u202e" not in message["text"]
    assert not message["text"].endswith(("&", "&a", "&am", "&amp", "&l", "&lt", "&g", "&gt"))
    assert "evil.example.com" not in message["text"]
    assert problem_with(message) is None


def test_a_part_that_cannot_be_made_spoils_no_other() -> None:
    """Of an alert that only a fault of ours can make, the parts that can be shown are shown."""
    alert = dataclasses.replace(make_alert(), facts=None, severity=None)  # type: ignore[arg-type] # the fault
    text = plain_payload(alert)["text"]
    assert text.count("(A part of this alert cannot be shown.)") == 2
    assert alert.marks[0] in text


def test_the_bare_text_says_which_alert() -> None:
    """The least that can be said names id, severity, account and time, and nothing out of a record."""
    alert = make_alert("console_login_without_mfa")
    text = bare_payload(alert)["text"]
    for part in (alert.alert_id, "CRITICAL", alert.account_id, "2026-11-03 02:14:07 UTC"):
        assert part in text
    assert "203.0.113" not in text


# --- the address ------------------------------------------------------------------------------------------------------


def test_the_address_is_read_out_of_the_secret() -> None:
    """The webhook's address is taken from the secret; an empty secret is "unconfigured", not an error."""
    assert webhook_address({"webhook_url": f" {ADDRESS} "}, ORIGIN) == ADDRESS
    assert webhook_address({}, ORIGIN) is None
    assert webhook_address({"webhook_url": ""}, ORIGIN) is None
    assert webhook_address({"webhook_url": None}, ORIGIN) is None
    assert webhook_address({"webhook_url": "http://127.0.0.1:8080/services/x"}, "http://127.0.0.1:8080") is not None


@pytest.mark.parametrize(
    "secret",
    [
        {"webhook_url": "https://evil.example.com/services/hunter2"},
        {"webhook_url": "http://hooks.slack.com/services/hunter2"},
        {"webhook_url": "https://hooks.slack.com.evil.example.com/hunter2"},
        {"webhook_url": "https://hooks.slack.com@evil.example.com/hunter2"},
        {"webhook_url": "https://hunter2@hooks.slack.com/services"},
        {"webhook_url": "https://hooks.slack.com:8443/hunter2"},
        {"webhook_url": "//hooks.slack.com/hunter2"},
        {"webhook_url": "hunter2"},
        {"webhook_url": "https://["},
        {"webhook_url": "https://[hunter2]/"},
        {"webhook_url": ["https://hooks.slack.com/hunter2"]},
        {"webhook_url": 7},
        "https://hooks.slack.com/services/hunter2",
        ["hunter2"],
        None,
        7,
    ],
    ids=repr,
)
def test_another_origin_is_refused_without_naming_the_address(secret: object) -> None:
    """An address that is none, or of another origin, is refused for good, in words that hold nothing of it."""
    with pytest.raises(DeliveryRefusedError) as caught:
        webhook_address(secret, ORIGIN)
    assert "hunter2" not in str(caught.value)
    assert "evil" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


# --- posting ----------------------------------------------------------------------------------------------------------


class FakeSession(requests.Session):
    """A session that answers, or fails, as it is told, and remembers what it was asked; the last answer is repeated."""

    def __init__(self, *answers: requests.Response | Exception) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[tuple[Any, dict[str, Any]]] = []

    def post(self, url: Any, data: Any = None, json: Any = None, **kwargs: Any) -> requests.Response:
        """Answer without any network."""
        assert (data is None) or (json is None)
        self.asked.append((url, {"json": json, "data": data, **kwargs}))
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def answer(status: int, text: str = "", **headers: str) -> requests.Response:
    """An answer of Slack's."""
    response = requests.Response()
    response.status_code = status
    response._content = text.encode()
    response.headers.update(headers)
    return response


def test_a_message_that_slack_takes_has_a_receipt() -> None:
    """The answer is the receipt; the post goes to the address once, with a time limit and without redirects."""
    session = FakeSession(answer(200, "ok"))
    assert post(session, ADDRESS, {"text": "x"}) == "ok"
    [(url, arguments)] = session.asked
    assert url == ADDRESS
    assert arguments["json"] == {"text": "x"}
    assert arguments["allow_redirects"] is False
    assert all(0 < seconds <= 30 for seconds in arguments["timeout"])


@pytest.mark.parametrize(
    "text", ["", "<html>log in</html>", '{"ok": true}', '{"ok": false, "error": "no_service"}', "okay", "x" * 10_000]
)
def test_an_answer_that_does_not_say_ok_is_no_receipt(text: str) -> None:
    """A proxy's page or a workflow's trigger takes every message with 200 and shows it to nobody: that is not sent."""
    with pytest.raises(DeliveryFailedError, match="did not say ok"):
        post(FakeSession(answer(200, text)), ADDRESS, {"text": "x"})
    with pytest.raises(DeliveryFailedError, match="did not say ok"):
        prove(FakeSession(answer(200, text)), ADDRESS)


@pytest.mark.parametrize(
    ("response", "error", "words"),
    [
        (answer(403, "invalid_token"), DeliveryRefusedError, "wrong token"),
        (answer(404, "no_service"), DeliveryRefusedError, "removed or switched off"),
        (answer(410, "channel_is_archived"), DeliveryRefusedError, "archived"),
        (answer(400, "invalid_blocks"), DeliveryRefusedError, "blocks"),
        (answer(400, f"<html>{ADDRESS}"), DeliveryRefusedError, "no reason that is known"),
        (answer(500, ADDRESS), DeliveryFailedError, "500"),
        (answer(503), DeliveryFailedError, "503"),
        (answer(302, Location=ADDRESS), DeliveryFailedError, "302"),
        (answer(204), DeliveryFailedError, "204"),
        (answer(408, ADDRESS), DeliveryFailedError, "408"),
        (answer(425), DeliveryFailedError, "425"),
        (answer(429), DeliveryFailedError, "429"),
        (requests.ConnectionError(f"failed: {ADDRESS}"), DeliveryFailedError, "ConnectionError"),
        (requests.Timeout(ADDRESS), DeliveryFailedError, "Timeout"),
        (requests.exceptions.InvalidURL(ADDRESS), DeliveryFailedError, "InvalidURL"),
        (requests.exceptions.SSLError(ADDRESS), DeliveryFailedError, "SSLError"),
    ],
    ids=repr,
)
def test_an_error_says_what_is_wrong_and_never_the_address(
    response: requests.Response | Exception, error: type[DeliveryError], words: str
) -> None:
    """What a retry can mend is told apart from what a person must; no error, nor its cause, holds the address."""
    with pytest.raises(error, match=words) as caught:
        post(FakeSession(response), ADDRESS, {})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [("30", 30.0), ("0", 0.0), ("", None), ("soon", None), ("-1", None), ("1e9", None), ("9" * 50, None), ("٣", None)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_that_slack_asks_for(status: int, stated: str, seconds: float | None) -> None:
    """Retry-After is taken in seconds, and only where it is a plain number that makes sense."""
    response = answer(status, **{"Retry-After": stated})
    with pytest.raises(DeliveryFailedError) as caught:
        post(FakeSession(response), ADDRESS, {})
    assert caught.value.retry_after == seconds


# --- asking without posting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [answer(400, "no_text"), answer(400, "invalid_payload"), answer(200, "ok")])
def test_a_webhook_is_proven_by_a_message_that_slack_never_posts(reply: requests.Response) -> None:
    """Slack looks at the webhook before it misses the text: that it misses the text proves the webhook."""
    session = FakeSession(reply)

    assert prove(session, ADDRESS) == "webhook accepted"
    assert [asked["json"] for _, asked in session.asked] == [{}]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(404, "no_service"), DeliveryRefusedError),
        (answer(410, "channel_is_archived"), DeliveryRefusedError),
        (answer(500), DeliveryFailedError),
        (requests.ConnectionError(ADDRESS), DeliveryFailedError),
    ],
)
def test_a_webhook_that_would_take_nothing(reply: requests.Response | Exception, kind: type[DeliveryError]) -> None:
    """A webhook that was removed is refused for good, a Slack that is away proves nothing; nobody sees the address."""
    with pytest.raises(kind) as caught:
        prove(FakeSession(reply), ADDRESS)
    assert ADDRESS not in "".join(traceback.format_exception(caught.value))
