"""`rootwatch coverage`: which accounts and regions are heard, and which are not."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rootwatch.alert import shown, visible
from rootwatch.audit.items import moment_text
from rootwatch.audit.store import AuditStore
from rootwatch.coverage import Place
from rootwatch.errors import DamagedItemError
from rootwatch_cli.deployed import TROUBLE, DeployedStack, Where, on_stack
from rootwatch_cli.incidents import counted

OF_OTHERS: Final = "Another region's or account's heartbeat proves the way to the hub, not that a trail logs there."
_STYLES: Final = {"quiet": "bold red", "heard": "green", "waiting": "yellow", "retired": "dim"}


def run_coverage(where: Where, retire: Sequence[str], *, as_json: bool) -> int:
    """Print every account and region, or retire some; return 1 where one is quiet or damaged, 2 for one unknown."""

    def do(stack: DeployedStack) -> int:
        if retire:
            return _retire(stack.store, retire, as_json=as_json)
        now = datetime.now(UTC)
        places: list[Place] = []
        status = 0
        for found in stack.store.places():
            if isinstance(found, DamagedItemError):
                sys.stderr.write(f"{found}\n")
                status = 1
            else:
                places.append(found)
        if as_json:
            for place in places:
                sys.stdout.write(json.dumps(place_document(place, now)) + "\n")
        else:
            _print_table(places, now)
        return 1 if status or any(state_of(place, now) == "quiet" for place in places) else 0

    return on_stack(where, do)


def state_of(place: Place, now: datetime) -> str:
    """Return how it stands with a place in a word: heard, quiet, retired; waiting for its first heartbeat."""
    if place.retired_at is not None:
        return "retired"
    if place.is_quiet(now):
        return "quiet"
    return "heard" if place.heartbeat_at is not None else "waiting"


def place_document(place: Place, now: datetime) -> dict[str, object]:
    """Return a place as `--json` prints it."""
    moments = {name: getattr(place, name) for name in ("heartbeat_at", "canary_at", "record_at", "retired_at")}
    return {
        "account_id": place.account_id,
        "region": place.region,
        "state": state_of(place, now),
        "first_at": moment_text(place.first_at),
        **{name: moment_text(moment) if moment is not None else None for name, moment in moments.items()},
    }


def _retire(store: AuditStore, named: Sequence[str], *, as_json: bool) -> int:
    """Wait for these places no longer, until they are heard again; say of each what became of it."""
    status, now = 0, datetime.now(UTC)
    for each in named:
        account_id, _, region = each.partition("/")
        changed = store.change_place(
            account_id, region, lambda place: replace(place, retired_at=now) if place is not None else None
        )
        if as_json:
            document = {"account_id": account_id, "region": region, "state": "retired" if changed else "unknown"}
            sys.stdout.write(json.dumps(document) + "\n")
        elif changed:
            print(f"{account_id} {region} is not waited for until it is heard again.")
        if changed:
            continue
        sys.stderr.write(
            f"{visible(each, 60)} was never heard. Expected is an account and a region of the list that "
            "rootwatch coverage prints, such as 444455556666/eu-west-1.\n"
        )
        status = TROUBLE
    return status


def _print_table(places: Sequence[Place], now: datetime) -> None:
    console = Console()
    if not places:
        console.print(Text("Nothing was heard yet: the watchdog's first run makes the hub's own region known."))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("account", "region", "state", "heartbeat", "canary", "record"):
        table.add_column(heading, no_wrap=True)
    for place in places:
        state = state_of(place, now)
        ages = [_ago(moment, now) for moment in (place.heartbeat_at, place.canary_at, place.record_at)]
        where = shown(place.account_id, 20), shown(place.region, 20)
        table.add_row(*where, Text(state, style=_STYLES[state]), *ages)
    console.print(table)
    console.print()
    quiet = sum(state_of(place, now) == "quiet" for place in places)
    accounts = len({place.account_id for place in places})
    words = f"{counted(len(places), 'region')} of {counted(accounts, 'account')}, {quiet} quiet."
    console.print(Text(words, style="bold"))
    if any(place.canary_at is None for place in places):  # not the hub's own region
        console.print(Text(OF_OTHERS))


def _ago(moment: datetime | None, now: datetime) -> str:
    """Return how long ago something was, as people say it."""
    if moment is None:
        return "never"
    minutes = max(0, int((now - moment) / timedelta(minutes=1)))
    if minutes < 120:  # noqa: PLR2004 - two hours are the limit that matters here
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days ago"
