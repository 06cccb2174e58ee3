"""The buttons below an incident on Slack, the modal that asks for reason and ticket, and what whoever presses is told.

Pure. Limits: https://docs.slack.dev/reference/block-kit/block-elements/button-element . A button carries which incident
of which deployment it is about, and how many moves its message knew.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rootwatch.alert import addresses, says_something, shown, standing, story
from rootwatch.channels.forms import escaped, fitting, units
from rootwatch.incident import LONGEST_REASON, LONGEST_TICKET, Incident, TriageState

PREFIX: Final = "rootwatch:"
TIMELINE: Final = "timeline"
FORM: Final = "resolve_form"
"""The button of the form that stands in for the modal where there is no bot token."""
CANCEL: Final = "cancel"
REASON: Final = "reason"
TICKET: Final = "ticket"
LONGEST_TEXT: Final = 2900

_BUTTONS: Final[Mapping[str, tuple[str, str | None]]] = {
    "acknowledge": ("I'm on it", "primary"),
    "resolve": ("It was expected…", None),
    "confirm": ("Confirm: it was expected", "primary"),
    "suspect": ("Suspicious", "danger"),
    "contain": ("It is contained", "primary"),
    "close": ("Close", "primary"),
    TIMELINE: ("Timeline", None),
}
_OFFERED: Final[Mapping[TriageState, tuple[str, ...]]] = {
    TriageState.OPEN: ("acknowledge", "resolve", "suspect"),
    TriageState.ACKNOWLEDGED: ("resolve", "suspect"),
    TriageState.SUSPICIOUS: ("contain", "resolve"),
    TriageState.CONTAINED: ("close",),
    TriageState.EXPECTED: ("suspect",),
    TriageState.CLOSED: (),
}
_LISTED: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
_VALUE: Final = re.compile(
    r"(?P<deployment>[A-Za-z][A-Za-z0-9-]{0,127}) (?P<incident>[0-9]{8}-[0-9a-f]{10}) (?P<moves>[0-9]{1,6})"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a button is about: an incident of a deployment, and how many moves its message knew.

    `listed` is how much stood on the incident then (`Incident.listed`); None on what an older version sent.
    """

    deployment: str
    incident_id: str
    moves: int
    listed: int | None = None

    @property
    def value(self) -> str:
        """Return what a button carries."""
        value = f"{self.deployment} {self.incident_id} {self.moves}"
        return value if self.listed is None else f"{value} {self.listed}"


def subject_of(value: str) -> Subject | None:
    """Read what a button carried; None for what is none of ours."""
    *first, last = value.split(" ")
    is_whole = len(first) == 3  # noqa: PLR2004 - deployment, incident and moves; an older version sent nothing more
    found = _VALUE.fullmatch(" ".join(first) if is_whole else value)
    if found is None or (is_whole and not _LISTED.fullmatch(last)):
        return None
    listed = int(last) if is_whole else None
    return Subject(found["deployment"], found["incident"], int(found["moves"]), listed)


def buttons(incident: Incident, deployment: str) -> list[dict[str, Any]]:
    """Return the block of buttons below an incident, as it stands now."""
    names = [*_OFFERED[incident.triage.state], TIMELINE]
    if incident.triage.proposal is not None:
        names[names.index("resolve")] = "confirm"
    value = Subject(deployment, incident.id, incident.triage.moves, incident.listed).value
    return [{"type": "actions", "elements": [_button(name, value) for name in names]}]


def _button(name: str, value: str) -> dict[str, Any]:
    label, style = _BUTTONS[name]
    button = {"type": "button", "action_id": f"{PREFIX}{name}", "value": value, "text": _plain(label)}
    return button | ({"style": style} if style else {})


_COVERS: Final = "This covers the addresses and sessions that stand on the incident, and nothing else."


def modal(incident: Incident, subject: Subject) -> dict[str, Any]:
    """Return the modal that asks why an incident was expected."""
    return {
        "type": "modal",
        "callback_id": f"{PREFIX}resolve",
        "private_metadata": subject.value,
        "title": _plain("It was expected"),
        "submit": _plain("Resolve"),
        "close": _plain("Cancel"),
        "blocks": [_section(_about(incident)), *_inputs()],
    }


def form(incident: Incident, subject: Subject) -> dict[str, Any]:
    """Return the message that asks the same where no modal can be opened: only who pressed sees it."""
    elements: list[dict[str, Any]] = [
        {"type": "button", "action_id": f"{PREFIX}{FORM}", "value": subject.value, "text": _plain("Resolve"),
         "style": "primary"},
        {"type": "button", "action_id": f"{PREFIX}{CANCEL}", "value": subject.value, "text": _plain("Cancel")},
    ]  # fmt: skip
    about = _about(incident)
    blocks = [_section(about), *_inputs(), {"type": "actions", "elements": elements}]
    return {
        "response_type": "ephemeral",
        "replace_original": False,
        "text": escaped(about, LONGEST_TEXT),
        "blocks": blocks,
    }


def _about(incident: Incident) -> str:
    sources = addresses(incident.sources) or "no address that is stated"
    where = f"Incident {incident.id}, account {shown(incident.account_id, 40)}, root from {sources}."
    return f"{where} So far: {story(incident)}. {_COVERS}"


def _inputs() -> list[dict[str, Any]]:
    def ask(block_id: str, label: str, hint: str) -> dict[str, Any]:
        element = {
            "type": "plain_text_input",
            "action_id": block_id,
            "max_length": _LONGEST_TYPED[block_id],
            "placeholder": _plain(hint),
        }
        return {"type": "input", "block_id": block_id, "label": _plain(label), "element": element}

    return [
        ask(REASON, "What was root needed for?", "replaced the MFA device"),
        ask(TICKET, "Ticket", "OPS-1234"),
    ]


_LONGEST_TYPED: Final[Mapping[str, int]] = {REASON: LONGEST_REASON, TICKET: LONGEST_TICKET}


def to_mend(typed: Mapping[str, str]) -> dict[str, str]:
    """Return what is missing or too long of reason and ticket, with words for whoever typed it."""
    words = {REASON: "Say what root was needed for.", TICKET: "Name the ticket."}
    missing = {name: text for name, text in words.items() if not says_something(typed.get(name, ""))}
    too_long = {
        name: f"At most {longest} characters."
        for name, longest in _LONGEST_TYPED.items()
        if len(typed.get(name, "")) > longest
    }
    return missing | too_long


def told(words: str, blocks: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Return a message that only whoever pressed sees, with blocks of buttons where there is something to press."""
    return {
        "response_type": "ephemeral",
        "replace_original": False,
        "text": escaped(words, LONGEST_TEXT),
        "blocks": [_section(words), *blocks],
    }


def told_in_modal(words: str) -> dict[str, Any]:
    """Return what a submitted modal shows instead of closing."""
    view = {"type": "modal", "title": _plain("Not resolved"), "close": _plain("Close"), "blocks": [_section(words)]}
    return {"response_action": "update", "view": view}


def step_message(words: str, incident: Incident, deployment: str | None, mark: str = "") -> dict[str, Any]:
    """Return the message that tells a channel of a step.

    Args:
        words: what the step was.
        incident: its incident, as it stands now.
        deployment: the stack's name; None where there are no buttons.
        mark: the step's number and the beginning of its chain value, by which it can be checked later.

    """
    blocks = [_section(words)]
    where = f"Incident {incident.id}, account {shown(incident.account_id, 40)}: {standing(incident)}"
    where += f" · {mark}" if mark else ""
    blocks.append({"type": "context", "elements": [_plain(where)]})
    blocks += buttons(incident, deployment) if deployment else []
    text = f"{words} (account {shown(incident.account_id, 40)})"
    return {"text": escaped(text, LONGEST_TEXT), "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def timeline_words(incident: Incident, lines: Sequence[str]) -> str:
    """Return an incident's timeline as far as it fits one message, the latest lines kept."""
    head = f"Incident {incident.id}, account {shown(incident.account_id, 40)}. {standing(incident)}."
    kept: list[str] = []
    room = LONGEST_TEXT - units(head) - 120
    for line in reversed(lines):
        room -= units(line) + 1
        if room < 0:
            kept.append(f"({len(lines) - len(kept)} earlier lines: rootwatch show {incident.id})")
            break
        kept.append(line)
    return "\n".join([head, *reversed(kept)])


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _plain(text)}


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": fitting(text, LONGEST_TEXT) or "not stated", "emoji": False}
