"""`rootwatch declare`, `declared list` and `declared end`: root use that is announced beforehand."""

import difflib
import ipaddress
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rootwatch.alert import clock, duration, visible
from rootwatch.audit.items import moment_text
from rootwatch.audit.store import AuditStore
from rootwatch.context.declared_use import LONGEST_PERIOD, DeclaredUse
from rootwatch.context.source import Network
from rootwatch.detections.catalogue import CATALOGUE
from rootwatch.errors import DeclarationError, StoreConflictError
from rootwatch_cli.deployed import DeployedStack, Where, on_stack

_AHEAD: Final = LONGEST_PERIOD
"""A declaration that begins later than this would not be read for the list, and is forgotten by then anyway."""

_EVENT: Final = re.compile(r"[A-Z][A-Za-z0-9]{1,63}")
_SPAN: Final = re.compile(r"\+(?:(?P<days>[0-9]{1,2})d)?(?:(?P<hours>[0-9]{1,3})h)?(?:(?P<minutes>[0-9]{1,5})m)?")


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a person typed."""

    account: str
    begins: str
    ends: str
    reason: str
    ticket: str
    approver: str
    addresses: Sequence[str]
    tasks: Sequence[str]


def moment_of(text: str, base: datetime, now: datetime) -> datetime:
    """Read a moment as a person types it: `now`, `+2h` (or `+90m`, `+1d12h`) after `base`, or ISO 8601 with a zone.

    Raises:
        DeclarationError: it is none of these; no retry helps.

    """
    word = text.strip()
    if word.casefold() == "now":
        return now
    span = _SPAN.fullmatch(word)
    if span and any(span.groups()):
        return base + timedelta(**{unit: int(count) for unit, count in span.groupdict().items() if count})
    try:
        moment = datetime.fromisoformat(word)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        moment = None
    zone = " It needs a time zone: Z for UTC." if moment is not None else ""
    message = f"{visible(text, 40)} is no moment. Expected is now, +2h, +90m or 2026-11-03T10:00Z.{zone}"
    raise DeclarationError(message)


def address_of(text: str) -> Network:
    """Read an address or a network as a person types it: `203.0.113.7`, `203.0.113.0/24`, `2001:db8::/32`.

    Raises:
        DeclarationError: it is neither, or covers every address; no retry helps.

    """
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        message = "An address is one such as 203.0.113.7, or a network such as 203.0.113.0/24."
        raise DeclarationError(message) from None
    if network.prefixlen == 0:
        message = f"{network} is every address there is: leave it away."
        raise DeclarationError(message)
    return network


def task_of(text: str) -> str:
    """Read a task as a person types it: a detection's name, with or without `root.`, or the name of an event.

    Raises:
        DeclarationError: it is in lower case, as detections are, and there is none of this name; no retry helps.

    """
    task = text.strip().removeprefix("root.")
    stems = [detection.stem for detection in CATALOGUE]
    if task in stems or (_EVENT.fullmatch(task)):
        return task
    near = difflib.get_close_matches(task, stems, n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    message = f"A task is a detection's name (mfa_added) or an event's (EnableMFADevice).{hint}"
    raise DeclarationError(message)


def run_declare(where: Where, declaration: Declaration, *, as_json: bool) -> int:
    """Store a declaration and say what it covers; return 2 where it cannot be, in words."""

    def do(stack: DeployedStack) -> int:
        now = datetime.now(UTC).replace(microsecond=0)
        begins = moment_of(declaration.begins, now, now)
        declared = DeclaredUse(
            account_id=declaration.account,
            from_at=begins,
            to_at=moment_of(declaration.ends, begins, now),
            reason=declaration.reason.strip(),
            ticket=declaration.ticket.strip(),
            approver=declaration.approver.strip(),
            declared_by=stack.caller(),
            declared_at=now,
            addresses=tuple(dict.fromkeys(map(address_of, declaration.addresses))),
            tasks=tuple(dict.fromkeys(map(task_of, declaration.tasks))),
        )
        if declared.from_at - now > _AHEAD:
            message = f"A declared use begins within {_AHEAD.days} days from now."
            raise DeclarationError(message)
        try:
            stack.store.declare(declared)
        except StoreConflictError:
            message = "Exactly this was declared a moment ago: rootwatch declared list"
            raise DeclarationError(message) from None
        if as_json:
            _print_json([declared], now)
            return 0
        console = Console()
        console.print(Text("Declared.", style="bold green"))
        console.print(_table([declared], now))
        if declared.is_late:
            late = duration(now - declared.from_at)
            console.print(Text(f"It began {late} ago: alerts say that it was declared afterwards.", style="yellow"))
        console.print(
            Text("Alerts still come: one step lower for what matches this, higher for what contradicts or overruns it.")
        )
        return 0

    return on_stack(where, do)


def run_declared_list(where: Where, account: str | None, *, as_json: bool) -> int:
    """Print the declared uses of the last and the next 31 days; return 1 if one of them was altered."""

    def do(stack: DeployedStack) -> int:
        now = datetime.now(UTC)
        accounts = [account] if account else sorted(stack.store.accounts())
        found = [stack.store.declared_uses(account_id, now) for account_id in accounts]
        uses = sorted((use for each in found for use in each.uses), key=lambda use: (use.from_at, use.id))
        if as_json:
            _print_json(uses, now)
        else:
            _print_list(uses, now)
        damaged = [(account_id, sk) for account_id, each in zip(accounts, found, strict=True) for sk in each.damaged]
        for account_id, sk in damaged:
            what = f"{visible(sk)} of account {visible(account_id, 40)}"
            sys.stderr.write(f"{what} was altered after it was declared, and counts as not declared.\n")
        return 1 if damaged else 0

    return on_stack(where, do)


def run_declared_end(where: Where, prefix: str, account: str | None, *, as_json: bool) -> int:
    """End a declared use now; return 1 if there is none of this id, or it is over."""

    def do(stack: DeployedStack) -> int:
        now = datetime.now(UTC).replace(microsecond=0)
        found = _of_id(stack.store, prefix, account, now)
        if isinstance(found, str):
            sys.stderr.write(f"{found}\n")
            return 1
        if found.until <= now:
            how = f"{_who(found.ended_by)} ended it" if found.ended_by else "It ended by itself"
            sys.stderr.write(f"{how} at {clock(found.until)}.\n")
            return 1
        try:
            ended = stack.store.end_declared_use(found, by=stack.caller(), at=now)
        except StoreConflictError:
            sys.stderr.write("Somebody else ended it a moment ago: rootwatch declared list\n")
            return 1
        if as_json:
            _print_json([ended], now)
        else:
            console = Console()
            console.print(Text("Ended. What root does from now on is not announced.", style="bold green"))
            console.print(_table([ended], now))
        return 0

    return on_stack(where, do)


def _of_id(store: AuditStore, prefix: str, account: str | None, now: datetime) -> DeclaredUse | str:
    """Return the one declared use whose id begins so, or what to say where there is none or more than one."""
    accounts = [account] if account else sorted(store.accounts())
    uses = [use for account_id in accounts for use in store.declared_uses(account_id, now).uses]
    found = [use for use in uses if prefix and use.id.startswith(prefix.strip().lower())]
    if len(found) == 1:
        return found[0]
    if found:
        return f"{len(found)} declared uses begin with {visible(prefix, 40)}: write more of the id."
    return f"No declared use of the last or next 31 days begins with {visible(prefix, 40)}: rootwatch declared list"


# --- how it is shown -----------------------------------------------------------------------------------------------


def _state(declared: DeclaredUse, now: datetime) -> str:
    if declared.ended_at is not None and declared.ended_at < declared.to_at:
        return "ended"
    if now < declared.from_at:
        return "planned"
    return "in force" if now < declared.until else "over"


_STYLES: Final = {"in force": "bold green", "planned": "cyan", "ended": "dim", "over": "dim"}
"""How each state looks, in the order in which they are listed."""


def _print_list(uses: Sequence[DeclaredUse], now: datetime) -> None:
    """Print what is in force first, then what is planned, then what is over, the latest first."""
    console = Console()
    if not uses:
        console.print(Text("No root use was declared within 31 days of now. Any that happens is not announced."))
        return
    order = list(_STYLES)
    latest_first = sorted(uses, key=lambda use: use.from_at, reverse=True)
    console.print(_table(sorted(latest_first, key=lambda use: order.index(_state(use, now))), now))


def _table(uses: Sequence[DeclaredUse], now: datetime) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for position, use in enumerate(uses):
        if position:
            table.add_row()
        state = _state(use, now)
        table.add_row(Text(state, style=_STYLES[state]), _words(use))
    return table


def _words(declared: DeclaredUse) -> Text:
    addresses = ", ".join(map(str, declared.addresses)) or "any address"
    afterwards = ", afterwards" if declared.is_late else ""
    rows = [
        f"{clock(declared.from_at)} to {clock(declared.to_at)} ({duration(declared.to_at - declared.from_at)})",
        f'{declared.ticket} "{visible(declared.reason, 200)}", approved by {visible(declared.approver, 80)}',
        f"from {addresses} · for {', '.join(declared.tasks) or 'any task'}",
        f"declared by {_who(declared.declared_by)} at {clock(declared.declared_at)}{afterwards}",
    ]
    if declared.ended_at is not None and declared.ended_by is not None:
        rows.append(f"ended by {_who(declared.ended_by)} at {clock(declared.ended_at)}")
    return Text.assemble((declared.id, "bold"), f"  account {declared.account_id}", *(f"\n{row}" for row in rows))


def _who(arn: str) -> str:
    """Return an ARN as people read it: assumed-role/RootCustodian/alice of 444455556666."""
    account, _, name = arn.removeprefix("arn:").rpartition(":")
    return f"{visible(name, 200)} of {account.rpartition(':')[2]}"


def _print_json(uses: Iterable[DeclaredUse], now: datetime) -> None:
    for use in uses:
        document = {
            "id": use.id,
            "account_id": use.account_id,
            "state": _state(use, now),
            "from": moment_text(use.from_at),
            "to": moment_text(use.to_at),
            "reason": use.reason,
            "ticket": use.ticket,
            "approver": use.approver,
            "addresses": [str(network) for network in use.addresses],
            "tasks": list(use.tasks),
            "declared_by": use.declared_by,
            "declared_at": moment_text(use.declared_at),
            "declared_afterwards": use.is_late,
            "ended_by": use.ended_by,
            "ended_at": moment_text(use.ended_at) if use.ended_at else None,
        }
        sys.stdout.write(json.dumps(document, ensure_ascii=True) + "\n")
    sys.stdout.flush()
