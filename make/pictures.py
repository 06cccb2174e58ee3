"""Draws what people see, for the README: an alert on Slack and by mail, on a phone of 390 x 844, and a monthly report.

`make pictures` runs it; it needs Chromium and is part of no test. Slack itself is not involved: the page draws the few
blocks of Block Kit that we send, in Slack's sizes as far as they are known. The report is a whole one, of a year that
the specimens play in four accounts; it is drawn on a phone, a tablet, a desk and on paper, and must be wider than none.
"""

import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from rootwatch.alert import Alert, compose
from rootwatch.audit.items import DeliveryState, Proof
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.channels import slack, sns
from rootwatch.context.declared_use import DeclaredUse
from rootwatch.context.network_owner import Owner
from rootwatch.context.observation import observe
from rootwatch.context.surroundings import Found
from rootwatch.delivery import Sent, deliver
from rootwatch.detections.detection import OwnResources
from rootwatch.incident import AccountState, fold
from rootwatch.pipeline import Message, Recorder, detect_messages, run_timers
from rootwatch.probe import ProbeKind, make_probe
from rootwatch.record import read_envelope
from rootwatch.report.aggregate import Reading
from rootwatch.report.files import write_report
from rootwatch.report.model import Origin, period_of
from rootwatch.report.posture import Postures, read_credential_report
from rootwatch.settings import CHANNELS
from rootwatch.triage import Action, Desk, Person, Request, answer
from rootwatch_cli.demo import REPORT_FOLDER
from rootwatch_cli.specimen import load_specimen

FOLDER: Final = Path(__file__).resolve().parents[1] / "docs" / "pictures"
WIDTH: Final = 390
HEIGHT: Final = 844
CUSTODIANS: Final = "root custodian on duty +1 555 0100; on-call: security@example.com"
DELAY: Final = timedelta(seconds=40)

_STYLE: Final = """
* { box-sizing: border-box; margin: 0; padding: 0 }
html, body { width: 390px; height: 844px; overflow: hidden; background: #fff }
body { font: 15px/21px "Liberation Sans", Arial, sans-serif, "Noto Color Emoji"; color: #1d1c1d }
.time { height: 44px; padding: 14px 32px; font-weight: bold }
.bar { height: 44px; padding: 11px 16px; border-bottom: 1px solid #ddd; font-weight: bold }
.write { position: absolute; bottom: 0; width: 390px; height: 48px; padding: 13px 16px; background: #fff;
  border-top: 1px solid #ddd; color: #868686 }
.message { padding: 8px 16px 0 60px; position: relative }
.face { position: absolute; left: 16px; top: 10px; width: 36px; height: 36px; border-radius: 6px; background: #1d1c1d;
  color: #fff; font: bold 20px/36px "Liberation Sans", Arial; text-align: center }
.app { background: #eee; color: #616061; font-size: 10px; padding: 1px 3px; border-radius: 2px }
h1 { font-size: 18px; line-height: 23px; padding: 2px 0 4px }
ol { padding-left: 22px }
.block { padding: 4px 0 }
.context { color: #616061; font-size: 12px; line-height: 16px; padding: 4px 0 }
hr { border: 0; border-top: 1px solid #ddd; margin: 8px 0 }
.subject { padding: 10px 16px; font-weight: bold; font-size: 18px; line-height: 22px }
.mail { padding: 0 16px; white-space: pre-wrap; overflow-wrap: anywhere }
"""


def alerts_of(names: Sequence[str]) -> Iterator[Alert]:
    """Yield the alerts that these specimens make due in one account, each record arriving `DELAY` after its time."""
    state = AccountState("111122223333")
    for name in names:
        document = load_specimen(name)
        for envelope in document if isinstance(document, list) else [document]:
            record = read_envelope(envelope)
            time = record.event_time
            observation = observe(record, OwnResources(), sent_at=time + DELAY if time else None)
            outcome = fold(state, observation, observation.time + DELAY)
            state = outcome.state
            yield from (compose(due, CUSTODIANS) for due in outcome.alerts)


def slack_page(payload: Mapping[str, Any]) -> str:
    """Return the page that shows a message as Slack draws it on a phone."""
    blocks = "".join(map(_block, payload["blocks"]))
    return _page(
        f'<div class="bar">&lt; &nbsp;#root-alerts</div><div class="message"><div class="face">R</div>'
        f'<b>Rootwatch</b> <span class="app">APP</span>{blocks}</div><div class="write">Message #root-alerts</div>'
    )


def mail_page(subject: str, text: str) -> str:
    """Return the page that shows a mail as a phone's mail program does."""
    return _page(
        f'<div class="bar">&lt; &nbsp;Inbox</div><div class="subject">{html.escape(subject)}</div>'
        f'<div class="mail">{html.escape(text)}</div>'
    )


def _page(body: str) -> str:
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><style>{_STYLE}</style>'
    return f'{head}<body><div class="time">02:14</div>{body}</body></html>'


def _block(block: Mapping[str, Any]) -> str:
    match block["type"]:
        case "header":
            return f"<h1>{html.escape(block['text']['text'])}</h1>"
        case "section":
            return f"<div>{html.escape(block['text']['text'].partition('|')[2].rstrip('>'))}</div>"
        case "context":
            return "".join(f'<div class="context">{_text(element)}</div>' for element in block["elements"])
        case "rich_text":
            return '<div class="block">' + "".join(map(_element, block["elements"])) + "</div>"
        case _:
            return "<hr>"


def _element(element: Mapping[str, Any]) -> str:
    if element["type"] == "rich_text_list":
        return "<ol>" + "".join(f"<li>{_element(each)}</li>" for each in element["elements"]) + "</ol>"
    return "<div>" + "".join(map(_text, element["elements"])) + "</div>"


def _text(element: Mapping[str, Any]) -> str:
    text = html.escape(element["text"]).replace("\n", "<br>")
    return f"<b>{text}</b>" if element.get("style", {}).get("bold") else text


def photograph(page: str, path: Path) -> None:
    """Draw a page into a PNG of 390 x 844 points at `path`.

    Raises:
        FileNotFoundError: there is no Chromium; install it, or leave the pictures as they are.
        subprocess.SubprocessError: Chromium failed; its words are on standard error.

    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(page, encoding="utf-8")
        _chromium(source, f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={path}")


# --- the report ----------------------------------------------------------------------------------------------------

MONTH: Final = "2026-11"
MADE_AT: Final = datetime(2026, 12, 1, 0, 15, tzinfo=UTC)
WIDTHS: Final = {320: 6000, 768: 5000, 1440: 2300}
"""Widths in which the report is drawn, each with how much of its height."""
ACCOUNTS: Final = {
    "111122223333": "Production",
    "222233334444": "Payments",
    "333344445555": "Audit",
    "444455556666": "Sandbox",
}
OWNERS: Final = {
    "203.0.113.7": Owner("Example Hosting", "NL"),
    "198.51.100.24": Owner("Example University", "US"),
    "192.0.2.10": Owner("Example Telecom", "DE"),
}
_OFFICE: Final = "198.51.100.24"
_ROOTS_WORK: Final = ("console_login", "read", "read", "mfa_added")
_UNNEEDED: Final = ("console_login", "read", "write", "write", "secret_read")
_NIGHT: Final = ("console_login_failed", "console_login_failed", "console_login_without_mfa", "access_key_created",
                 "logging_tampered", "read", "read", "read")  # fmt: skip
YEAR: Final = (
    *(("111122223333", f"2025-{month:02d}-12T09:00:00Z", _OFFICE, _ROOTS_WORK) for month in (11, 12)),
    *(("111122223333", f"2026-{month:02d}-07T10:00:00Z", _OFFICE, _UNNEEDED) for month in (1, 2, 3, 5, 6, 9)),
    *(("222233334444", f"2026-{month:02d}-19T15:00:00Z", _OFFICE, _ROOTS_WORK) for month in (2, 3, 8, 10)),
    ("444455556666", "2026-03-21T22:00:00Z", "192.0.2.10", ("console_login_without_mfa", "write")),
    ("111122223333", "2026-11-03T02:10:00Z", "203.0.113.7", _NIGHT),
    ("111122223333", "2026-11-10T09:05:00Z", _OFFICE, _ROOTS_WORK),
    ("222233334444", "2026-11-12T14:00:00Z", _OFFICE, _UNNEEDED),
    ("444455556666", "2026-11-18T23:40:00Z", "192.0.2.10", ("console_login_failed", "console_login_failed")),
    ("333344445555", "2026-11-20T00:00:00Z", "", ("service_acted",)),
    ("444455556666", "2026-11-24T08:00:00Z", "192.0.2.10", ("console_login", "read", "write")),
)
"""Account, beginning, address and specimens, by time within each account."""
CREDENTIALS: Final = """user,arn,mfa_active,password_last_used,access_key_1_active,access_key_2_active,access_key_1_last_used_date
<root_account>,arn:aws:iam::111122223333:root,true,2026-11-10T09:05:00+00:00,true,false,2026-11-03T04:31:00+00:00
"""  # noqa: E501 - a credential report
_ALEX: Final = Person("slack:T0123456789/U0123456789", "Alex", "slack")
_RESPONDER: Final = Person("slack:T0123456789/U9876543210", "on-duty", "slack")
ANSWERS: Final[Mapping[str, Sequence[tuple[int, Action, Person]]]] = {
    "2026-11-03T02:10:00Z": (
        (13, Action.ACKNOWLEDGE, _ALEX), (25, Action.SUSPECT, _ALEX), (70, Action.CONTAIN, _RESPONDER),
        (26 * 60, Action.CLOSE, _RESPONDER),
    ),
    "2026-11-10T09:05:00Z": ((9, Action.ACKNOWLEDGE, _ALEX), (130, Action.RESOLVE, _RESPONDER)),
    "2026-11-12T14:00:00Z": ((40, Action.ACKNOWLEDGE, _ALEX),),
}  # fmt: skip
"""What people answered, by the beginning of the story: after how many minutes, what, and who."""
RULE: Final = "arn:aws:events:us-east-1:333344445555:rule/rootwatch-root"
NOT_PROVEN: Final = 22
"""The day of the month on which CloudTrail's heartbeat did not come back."""


class _Known:
    """What is known around the story's records."""

    def look_up(self, account_id: str, addresses: Mapping[str, bool]) -> Found:
        """Return whose the addresses are, and what the account is called."""
        return Found({each: OWNERS[each] for each in addresses if each in OWNERS}, ACCOUNTS.get(account_id))

    def end_batch(self) -> None:
        """Keep nothing."""


def played_year() -> AuditStore:
    """Return the audit store after a year of the story, with every alert delivered within seconds."""
    table = MemoryTable()
    store = AuditStore(table)
    moment = {"now": datetime(2025, 11, 1, tzinfo=UTC)}
    recorder = Recorder(
        store, OwnResources(), timedelta(minutes=60), lambda: moment["now"], lambda _n: None, surroundings=_Known()
    )
    store.declare(
        DeclaredUse(
            account_id="111122223333", from_at=datetime(2026, 11, 10, 9, tzinfo=UTC),
            to_at=datetime(2026, 11, 10, 11, tzinfo=UTC), reason="replace the MFA device", ticket="OPS-1234",
            approver="head of security", declared_by="arn:aws:sts::333344445555:assumed-role/RootCustodian/on-duty",
            declared_at=datetime(2026, 11, 9, 16, 20, tzinfo=UTC), addresses=(ip_network("198.51.100.0/24"),),
            tasks=("mfa_added",),
        )
    )  # fmt: skip
    number = 0
    for account_id, begins, address, specimens in sorted(YEAR, key=lambda part: part[1]):
        moment["now"] = began = datetime.fromisoformat(begins)
        for position, name in enumerate(specimens):
            number += 1
            moment["now"] = began + timedelta(seconds=100 * position + 6)
            envelope = _of_story(name, account_id, began + timedelta(seconds=100 * position), address, number)
            detect_messages([Message("one", envelope, moment["now"])], recorder)
            _deliver(store, moment["now"] + timedelta(seconds=3))
        answers = ANSWERS.get(begins, ())
        over = moment["now"] + timedelta(minutes=61)
        for minutes, action, person in answers:
            moment["now"] = began + timedelta(minutes=minutes)
            if moment["now"] > over:
                run_timers(account_id, recorder)
            _answer(store, moment["now"], action, person)
            _deliver(store, moment["now"] + timedelta(seconds=3))
        moment["now"] = max(moment["now"], over)
        run_timers(account_id, recorder)
        _deliver(store, moment["now"] + timedelta(seconds=3))
    _prove(store)
    return store


def _answer(store: AuditStore, at: datetime, action: Action, person: Person) -> None:
    """Answer the newest incident of the month, as somebody does on Slack."""
    *_, incident_id = store.incidents_of(MONTH)
    desk = Desk(store, lambda: at, lambda _attempt: None)
    is_explained = action is Action.RESOLVE
    reason, ticket = ("the MFA device was replaced as announced", "OPS-1234") if is_explained else ("", "")
    answered = answer(desk, Request(incident_id, action, person, reason, ticket))
    if not answered.done:
        raise ValueError(answered.words)


def _prove(store: AuditStore) -> None:
    """Let a canary and each heartbeat have come through in every hour of the month, but for one day."""
    first = datetime.fromisoformat(f"{MONTH}-01T00:00:00+00:00")
    places = [place for place in store.places() if not isinstance(place, Exception)]
    for hour in range(30 * 24):
        at = first + timedelta(hours=hour)
        for place in places:
            store.add_heard_hour(place.account_id, place.region, at)
        for kind in ProbeKind:
            probe = make_probe(kind, RULE, at, f"{hour:032x}")
            store.add_probe(probe)
            if kind is ProbeKind.HEARTBEAT and at.day == NOT_PROVEN:
                continue
            channels = CHANNELS if kind is ProbeKind.CANARY else ()
            store.write_probe_arrival(replace(probe, revision=1), at + timedelta(seconds=9), "0" * 64, channels)
            for channel in channels:
                store.write_proof(Proof(probe.nonce, channel, DeliveryState.SENT, at + timedelta(seconds=12), "ok"))


def _of_story(name: str, account_id: str, at: datetime, address: str, number: int) -> str:
    loaded = load_specimen(name)
    envelope = json.loads(json.dumps(loaded[0] if isinstance(loaded, list) else loaded))
    detail = envelope["detail"]
    detail |= {
        "eventTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "eventID": f"{number:08x}-0000-4000-8000-000000000000",
        "recipientAccountId": account_id,
        "sourceIPAddress": address or detail["sourceIPAddress"],
    }
    envelope["account"] = detail["userIdentity"]["accountId"] = account_id
    session = detail["userIdentity"].get("sessionContext", {}).get("attributes")
    if session:
        session["creationDate"] = f"{at:%Y-%m-%dT%H}:00:00Z"
        session["mfaAuthenticated"] = "false" if address == "203.0.113.7" or at.month == 3 else "true"  # noqa: PLR2004
    return json.dumps(envelope)


def _deliver(store: AuditStore, at: datetime) -> None:
    for channel in CHANNELS:
        for entry in list(store.undelivered(channel)):
            deliver(store, entry.key, lambda _alert: Sent("receipt"), lambda: at, lambda _reason: None)


def draw_report(folder: Path) -> None:
    """Make the story's report in `folder`, draw it there in every width and on paper; the README has its first page.

    Raises:
        ValueError: it is wider than a window, or the console had something to say.
        OSError, subprocess.SubprocessError: there is no Chromium, or it failed.

    """
    folder.mkdir(parents=True, exist_ok=True)
    credentials = read_credential_report(CREDENTIALS)
    reading = Reading(
        played_year(), Origin.TABLE, ACCOUNTS, Postures({credentials.account_id: credentials}, "not read")
    )
    page = write_report(reading, period_of(MONTH, MADE_AT), folder, MADE_AT).page
    for width, height in WIDTHS.items():
        _chromium(page, f"--window-size={width},{height}", f"--screenshot={folder / f'report-{width}.png'}")
        _check_width(page, width)
    _chromium(page, "--no-pdf-header-footer", f"--print-to-pdf={folder / 'report.pdf'}")
    _chromium(page, "--window-size=1200,1180", f"--screenshot={FOLDER / 'report.png'}")


def _check_width(page: Path, width: int) -> None:
    """Measure the page in a frame of this width: a window of Chromium's is never narrower than 500."""
    frame = html.escape(page.read_text(encoding="utf-8"))
    measure = "document.title = document.querySelector('iframe').contentDocument.documentElement.scrollWidth"
    wrapper = f'<!doctype html><body><iframe width="{width}" height="900" style="border:0" srcdoc="{frame}"></iframe>'
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "frame.html"
        copy.write_text(f"{wrapper}<script>onload = () => {{ {measure} }}</script>", encoding="utf-8")
        found = re.search(r"<title>(\d+)</title>", _chromium(copy, "--window-size=1600,1000", "--dump-dom"))
    if found is None or int(found[1]) > width:
        message = f"The report is {found and found[1]} wide in a frame of {width}."
        raise ValueError(message)


def _chromium(page: Path, *arguments: str) -> str:
    """Run Chromium on a page, with nothing of this machine's, and return what it prints."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise FileNotFoundError("Chromium is needed to draw the pictures, and none is installed.")
    with tempfile.TemporaryDirectory() as profile:
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                   "--disable-background-networking", "--disable-component-update", "--disable-sync",
                   "--hide-scrollbars", "--enable-logging=stderr", f"--user-data-dir={profile}", *arguments,
                   page.as_uri()]  # fmt: skip
        done = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    if said:
        message = f"The console says: {said[0]}"
        raise ValueError(message)
    return done.stdout


if __name__ == "__main__":
    *_, signed_in = alerts_of(["console_login_failed", "console_login_without_mfa"])
    *_, key_created = alerts_of(["console_login_without_mfa", "access_key_created"])
    FOLDER.mkdir(exist_ok=True)
    try:
        photograph(slack_page(slack.payload(signed_in)), FOLDER / "slack.png")
        photograph(mail_page(sns.subject(key_created), sns.email_text(key_created)), FOLDER / "mail.png")
        draw_report(REPORT_FOLDER / "story")
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        sys.exit(f"The pictures were not drawn: {error}")
