"""What people answer in `rootwatch demo`: by Slack's buttons and by the command, until each incident is explained."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.text import Text

from rootwatch.channels.slack_buttons import PREFIX, REASON, TICKET
from rootwatch.incident import Incident
from rootwatch_cli.demo import PERSON_ON_SLACK, SECONDS_PER_ALERT, STACK_NAME, Stage, slack_message, step
from rootwatch_cli.local_stack import ACCOUNT_ID, REGION, LocalStackError

PERSON: Final = (PERSON_ON_SLACK, "dana")
"""Whose presses these are: the one Slack user who may resolve."""
SECONDS_PER_COMMAND: Final = 60
_WIDTH: Final = 100
_LINES: Final = 60


def press(console: Console, stage: Stage, incident: Incident, action: str, label: str) -> None:
    """Press a button below an incident as a person on Slack does, and show what the channel then gets."""
    subject = f"{STACK_NAME} {incident.id} {incident.triage.moves}"
    step(console, f"{PERSON[1]} presses “{label}” on Slack:")
    before = len(stage.slack.alerts)
    _sent(stage, stage.slack.pressed(subject, f"{PREFIX}{action}", *PERSON))
    _show_next(console, stage, before)


def explain(console: Console, stage: Stage, incident: Incident, reason: str, ticket: str) -> None:
    """Press “It was expected…”, fill in what is asked, and show what the channel then gets.

    A bot asks in a modal; a webhook in a message that only whoever pressed sees.
    """
    subject = f"{STACK_NAME} {incident.id} {incident.triage.moves}"
    step(console, f"{PERSON[1]} presses “It was expected…”, and types why: {reason}, {ticket}")
    before, modals, told = len(stage.slack.alerts), len(stage.slack.modals), len(stage.slack.told)
    typed = {REASON: reason, TICKET: ticket}
    _sent(stage, stage.slack.pressed(subject, f"{PREFIX}resolve", *PERSON))
    if len(stage.slack.modals) > modals:
        body = stage.slack.submitted(stage.slack.modals[-1], *PERSON, typed)
    elif len(stage.slack.told) > told:
        body = stage.slack.pressed(subject, f"{PREFIX}resolve_form", *PERSON, typed)
    else:
        message = "nobody was asked why it was expected"
        raise LocalStackError(message, stage.stack.log_tail())
    _sent(stage, body)
    _show_next(console, stage, before)


def by_command(console: Console, stage: Stage, *arguments: str) -> None:
    """Run the command as a person with a role of the account does, and show what it prints.

    Raises LocalStackError when it fails.
    """
    console.print(Text(f"$ rootwatch {' '.join(_quoted(each) for each in arguments)}", style="bold"))
    role = f"arn:aws:iam::{ACCOUNT_ID}:role/Responder"
    session = stage.stack.client("sts").assume_role(RoleArn=role, RoleSessionName=PERSON[1])["Credentials"]
    environment = {
        "PATH": os.defpath,
        "COLUMNS": str(min(console.width, _WIDTH)),
        "PYTHONIOENCODING": "utf-8",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }
    where = ("--endpoint-url", stage.stack.endpoint_url, "--region", REGION)
    done = subprocess.run(  # noqa: S603 - this very program
        [sys.executable, "-m", "rootwatch_cli", *arguments, *where],
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=SECONDS_PER_COMMAND,
    )
    if done.returncode:
        message = f"rootwatch {arguments[0]} failed"
        raise LocalStackError(message, f"{done.stdout}{done.stderr}")
    lines = [line.rstrip() for line in done.stdout.rstrip().splitlines()]
    # Nothing a terminal would obey: the command has cleaned it, and this is text.
    console.print(Text("\n".join(lines[:_LINES])))
    if len(lines) > _LINES:
        console.print(Text(f"… {len(lines) - _LINES} further lines", style="dim"))


def wait_for(look: Callable[[], bool], what: str, stage: Stage) -> None:
    """Wait until something is so.

    Raises LocalStackError when it does not come.
    """
    deadline = time.monotonic() + SECONDS_PER_ALERT
    while not look():
        if time.monotonic() > deadline:
            message = f"{what} did not happen within {SECONDS_PER_ALERT:.0f} seconds"
            raise LocalStackError(message, stage.stack.log_tail())
        time.sleep(0.1)


def _sent(stage: Stage, body: bytes) -> None:
    status, answer = stage.answer(body)
    if status != 200 or answer:  # noqa: PLR2004 - an empty 200 closes a modal, and is what a press gets
        message = f"the function triage answered {status} {answer[:200]}"
        raise LocalStackError(message, stage.stack.log_tail())


def _show_next(console: Console, stage: Stage, before: int) -> None:
    messages = stage.slack.wait_for(before + 1, SECONDS_PER_ALERT)[before:]
    if not messages:
        message = f"Slack was not told of the answer within {SECONDS_PER_ALERT:.0f} seconds"
        raise LocalStackError(message, stage.stack.log_tail())
    console.print(slack_message(messages[0].payload, ", in the thread" if messages[0].thread_ts else ""))


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text
