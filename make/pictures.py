"""Draws what people see, for the README: an alert on Slack and by mail, on a phone of 390 x 844.

`make pictures` runs it; it needs Chromium and is part of no test. Slack itself is not involved: the page draws the few
blocks of Block Kit that we send, in Slack's sizes as far as they are known.
"""

import html
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from rootwatch.alert import Alert, compose
from rootwatch.channels import slack, sns
from rootwatch.context.observation import observe
from rootwatch.detections.detection import OwnResources
from rootwatch.incident import AccountState, fold
from rootwatch.record import read_envelope
from rootwatch_cli.specimen import load_specimen

FOLDER: Final = Path(__file__).resolve().parents[1] / "docs" / "pictures"
WIDTH: Final = 390
HEIGHT: Final = 844
CUSTODIANS: Final = "Dana, +1 555 0100; on-call: security@example.com"
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
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise FileNotFoundError("Chromium is needed to draw the pictures, and none is installed.")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(page, encoding="utf-8")
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={path}", source.as_uri()]  # fmt: skip
        subprocess.run(command, check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    *_, signed_in = alerts_of(["console_login_failed", "console_login_without_mfa"])
    *_, key_created = alerts_of(["console_login_without_mfa", "access_key_created"])
    FOLDER.mkdir(exist_ok=True)
    try:
        photograph(slack_page(slack.payload(signed_in)), FOLDER / "slack.png")
        photograph(mail_page(sns.subject(key_created), sns.email_text(key_created)), FOLDER / "mail.png")
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"The pictures were not drawn: {error}")
