"""The report as one page that needs nothing but itself: no script, no address, fonts of the reader's own.

Every value goes through jinja2's autoescape; only the pictures, which `charts` escapes itself, are marked as safe.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from rootwatch.alert import clock, detection_title, duration
from rootwatch.report.charts import figures
from rootwatch.report.controls import CAUTION, CONTROLS
from rootwatch.report.exceptions import WORDS
from rootwatch.report.model import AccountStatement, ForwarderFigures, Policy, Posture, Report, counted
from rootwatch.report.monitoring import proof_words, unwatched_words

FOLDER: Final = Path(__file__).parent
STYLE: Final = FOLDER / "page.css"
MOST_FORWARDERS: Final = 100
"""Accounts and regions whose heartbeats the page lists, those that were heard on the fewest days first."""
MOST_POLICIES: Final = 40
"""Policies that the page shows, those of most acts; equal ones of several accounts are one."""


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": _clock,
        "short": lambda moment: f"{moment:%Y-%m-%d %H:%M}",
        "span": _span,
        "title_of": detection_title,
        "called": lambda kind: WORDS[kind][0],
    }
    environment.globals |= {"counted": counted, "proof_words": proof_words, "unwatched_words": unwatched_words}
    environment.globals |= {"least_heard": _least_heard, "MOST_FORWARDERS": MOST_FORWARDERS}
    environment.globals |= {"stated": stated, "held": held, "replacing": replacing}
    return environment.get_template("page.html.j2")


@dataclass(frozen=True, slots=True)
class Stated:
    """What is stated in the same words of these accounts; `records` are those of all of them."""

    accounts: tuple[str, ...]
    words: tuple[str, ...]
    records: int = 0


def stated(statements: Iterable[AccountStatement]) -> list[Stated]:
    """Return the statements in the order of reading, accounts with use first.

    Those without a record, most of a thousand accounts, come last, and together where the same is stated of them.
    """
    ordered = sorted(statements, key=lambda each: (-each.uses, -each.attempts, -each.records, each.account_id))
    alone = [
        Stated((_called(each.account_id, each.account_name),), (each.statement,), each.records)
        for each in ordered
        if each.records
    ]
    rest = ((_called(each.account_id, each.account_name), (each.statement,)) for each in ordered if not each.records)
    return [*alone, *_together(rest)]


def held(report: Report) -> list[Stated]:
    """Return what is stated of root's credentials, what could not be read first, equal accounts together."""
    unknown = ("not stated",) * 3
    not_read = (
        (_called(each.account_id, each.account_name), (*unknown, each.why)) for each in report.postures_not_read
    )
    read = ((_called(each.account_id, each.account_name), _posture_words(each)) for each in report.postures)
    return [*_together(not_read), *_together(read)]


def _posture_words(posture: Posture) -> tuple[str, str, str, str]:
    mfa = "not stated" if posture.mfa is None else "yes" if posture.mfa else "NO"
    password = "not stated" if posture.password is None else "yes" if posture.password else "none"
    keys = [f"{posture.active_keys}"] if posture.active_keys or not posture.unstated_keys else []
    keys += [f"{posture.unstated_keys} not stated"] if posture.unstated_keys else []
    uses = "; ".join(f"{use.what}: {clock(use.at)}, {use.state}" for use in posture.uses)
    return mfa, password, ", ".join(keys), uses or "none stated"


def replacing(policies: Iterable[Policy]) -> list[tuple[Policy, tuple[str, ...]]]:
    """Return each policy once, with the accounts that it is for and the acts of all of them; most acts first."""
    found: dict[str, tuple[list[str], Counter[str], int, Policy]] = {}
    for each in policies:
        accounts, actions, acts, _ = found.get(each.document, ([], Counter[str](), 0, each))
        accounts.append(_called(each.account_id, each.account_name))
        actions.update(each.actions)
        found[each.document] = (accounts, actions, acts + each.acts, each)
    joined = [
        (replace(policy, acts=acts, actions=dict(sorted(actions.items(), key=lambda one: (-one[1], one[0])))), accounts)
        for accounts, actions, acts, policy in found.values()
    ]
    ordered = sorted(joined, key=lambda entry: (-entry[0].acts, entry[1]))
    return [(policy, tuple(accounts)) for policy, accounts in ordered]


def _called(account_id: str, name: str) -> str:
    return f"{account_id} {name}".strip()


def _together(entries: Iterable[tuple[str, tuple[str, ...]]]) -> list[Stated]:
    found: dict[tuple[str, ...], list[str]] = {}
    for account, words in entries:
        found.setdefault(words, []).append(account)
    return [Stated(tuple(accounts), words) for words, accounts in found.items()]


def _least_heard(forwarders: Iterable[ForwarderFigures]) -> list[ForwarderFigures]:
    ordered = sorted(forwarders, key=lambda each: (-len(each.missing), each.account_id, each.region))
    return ordered[:MOST_FORWARDERS]


def page_parts(report: Report, generated: datetime, files: Iterable[str]) -> Iterable[str]:
    """Return the page in parts; one line of it, which holds `generated` (UTC), is all that another run changes.

    Args:
        report: what to show.
        generated: when the page is made.
        files: the names of the files beside it.

    """
    pictures = figures(report)
    return _template().generate(
        report=report,
        period=report.period,
        generated=clock(generated),
        files=list(files),
        style=Markup(STYLE.read_text(encoding="utf-8")),  # noqa: S704 - our own file
        pictures={name: (figure, Markup(figure.svg)) for name, figure in pictures.items()},  # noqa: S704 - see above
        most_policies=MOST_POLICIES,
        controls=CONTROLS,
        caution=CAUTION,
    )


def _clock(moment: datetime | None) -> str:
    return clock(moment) if moment is not None else "not recorded"


def _span(seconds: float | None) -> str:
    return duration(timedelta(seconds=seconds)) if seconds is not None else "not measured"
