"""`rootwatch verify`: the chains of records and of steps computed again, and the declared uses from their content."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.text import Text

from rootwatch.alert import visible
from rootwatch.audit.items import key_part
from rootwatch.audit.steps import StepsReport
from rootwatch.audit.store import AuditStore, ChainReport
from rootwatch.errors import DamagedItemError
from rootwatch_cli.deployed import TROUBLE, DeployedStack, Where, on_stack
from rootwatch_cli.incidents import counted

_TRIES: Final = 3
_MOST_FAULTS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class AccountReport:
    """What was found in one account."""

    chain: ChainReport
    declared_uses: int
    incidents: int
    steps: int
    faults: tuple[str, ...]


def run_verify(where: Where, account: str | None, *, as_json: bool) -> int:
    """Verify one account or all that the table knows; return 1 on any fault, 2 if the account is not known."""

    def do(stack: DeployedStack) -> int:
        errors = Console(stderr=True)
        with errors.status("Looking for every account and month…"):
            accounts = stack.store.accounts()
        if account is not None and account not in accounts:
            who = visible(account, 40)
            sys.stderr.write(f"The table {stack.table_name} holds nothing of account {who}: nothing was verified.\n")
            return TROUBLE
        with errors.status("Looking for every incident…"):
            incidents = _incidents_by_account(stack.store, accounts)
        reports = []
        for account_id in [account] if account else accounts:
            with errors.status(f"Computing the chains of account {visible(account_id, 40)}…"):
                reports.append(verify_account(stack.store, account_id, accounts[account_id], incidents[account_id]))
            if as_json:
                _print_json(reports[-1])
        if not as_json:
            _print_list(reports)
        return 1 if any(report.faults for report in reports) else 0

    return on_stack(where, do)


def _incidents_by_account(store: AuditStore, accounts: Iterable[str]) -> dict[str, list[str]]:
    """Return the ids of every incident by its account; one that cannot be read may be anybody's, and is everybody's."""
    found: dict[str, list[str]] = {account_id: [] for account_id in accounts}
    unreadable = []
    for incident_id, incident in store.incidents(store.every_incident()):
        if isinstance(incident, DamagedItemError):
            unreadable.append(incident_id)
        else:
            found.setdefault(key_part(incident.account_id), []).append(incident_id)
    return {account_id: [*ids, *unreadable] for account_id, ids in found.items()}


def verify_account(
    store: AuditStore, account_id: str, months: Sequence[str], incident_ids: Iterable[str] = ()
) -> AccountReport:
    """Verify an account's chain, its declared uses, and the steps of its incidents.

    Args:
        store: the audit store.
        account_id: whose.
        months: every partition with records of the account.
        incident_ids: the account's incidents; those that its records name are looked for besides.

    """
    chain = verify_records(store, account_id, months)
    reports = [_verify_steps(store, each) for each in sorted({*incident_ids, *chain.incident_ids})]
    declared = store.every_declared_use(account_id)
    altered = tuple(f"{sk}: this declared use was altered, or only its end is left" for sk in declared.damaged)
    faults = (*chain.faults, *altered, *(fault for report in reports for fault in report.faults))
    return AccountReport(chain, len(declared.uses), len(reports), sum(each.steps for each in reports), faults)


def verify_records(store: AuditStore, account_id: str, months: Sequence[str]) -> ChainReport:
    """Verify an account's chain.

    A record that arrives while the events are read moves the head, perhaps into a new month; then what was missing
    proves nothing, and everything is read again, a few times.
    """
    for _ in range(_TRIES):
        before = store.account_head(account_id)
        chain = store.verify_chain(account_id, months)
        if not chain.faults or before == (chain.sequence, chain.chain):
            break
        months = store.accounts().get(account_id, [])
    return chain


def _verify_steps(store: AuditStore, incident_id: str) -> StepsReport:
    """Verify an incident's steps; those that somebody takes while they are read are read again, a few times."""
    report = store.verify_steps(incident_id)
    for _ in range(_TRIES - 1):
        before, report = report, store.verify_steps(incident_id) if report.faults else report
        if before == report:
            break
    return report


def _print_json(report: AccountReport) -> None:
    document = {
        "account_id": report.chain.account_id,
        "records": report.chain.events,
        "sequence": report.chain.sequence,
        "chain": report.chain.chain,
        "declared_uses": report.declared_uses,
        "incidents": report.incidents,
        "steps": report.steps,
        "faults": list(report.faults),
    }
    sys.stdout.write(json.dumps(document, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def _print_list(reports: Sequence[AccountReport]) -> None:
    console = Console()
    for report in reports:
        verdict = ("intact", "green") if not report.faults else (counted(len(report.faults), "fault"), "bold red")
        console.print(
            Text.assemble(
                f"account {visible(report.chain.account_id, 40)}  {counted(report.chain.events, 'record')}, "
                f"{counted(report.declared_uses, 'declared use')}, {counted(report.steps, 'step')} of triage  ",
                verdict,
                f"\n  record {report.chain.sequence} has the chain value\n  {report.chain.chain}",
            )
        )
        for fault in report.faults[:_MOST_FAULTS_SHOWN]:
            console.print(Text(f"  {visible(fault, 400)}", style="red"))
        if len(report.faults) > _MOST_FAULTS_SHOWN:
            more = counted(len(report.faults) - _MOST_FAULTS_SHOWN, "further fault")
            console.print(Text(f"  {more}: rootwatch verify --json", style="red"))
    if not reports:
        console.print(Text("The table holds no account yet: there was nothing to verify."))
        return
    if any(report.faults for report in reports):
        console.print(
            Text("Somebody changed what was recorded. Keep the table as it is, and its backups.", style="bold")
        )
        return
    console.print(Text("What is stored is what was recorded.", style="bold"))
    console.print(
        Text(
            "Whoever can write the table can compute a chain anew. Compare it with the alerts that people hold: each "
            "says at its end with which record and chain it was sent, and each step that Slack was told of likewise."
        )
    )
