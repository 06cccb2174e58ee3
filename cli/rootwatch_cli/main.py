"""The command's entry point: every sub-command's arguments and help. What they do is in the modules beside this one."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

if TYPE_CHECKING:
    from rootwatch.settings import Network

app: Final = typer.Typer(
    name="rootwatch",
    help="Watches the AWS root user. inspect, replay and specimen work offline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="Files or folders with CloudTrail records in any wrapping, JSON or JSON lines, also .gz; - reads stdin.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON lines and nothing else on standard output.")]
StackName = Annotated[
    str, typer.Option("--stack-name", help="The stack's name: how changes of Rootwatch itself are recognised.")
]
RunbookUrl = Annotated[str, typer.Option("--runbook-url", help="The address that alerts link to; none by default.")]

Custodians = Annotated[
    str, typer.Option("--custodians", help="Whom alerts say to call, as the parameter Custodians has it.")
]
TrustedNetworks = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-network", metavar="CIDR", help="A network of your own, such as 203.0.113.0/24; may be repeated."
    ),
]

AccountNames = Annotated[
    list[str] | None,
    typer.Option(
        "--account-name",
        metavar="ID=NAME",
        help="What an account is called, such as 111122223333=Production; may be repeated.",
    ),
]


Stack = Annotated[str, typer.Option("--stack", envvar="ROOTWATCH_STACK", help="The name of the deployed stack.")]
Table = Annotated[
    str | None, typer.Option("--table", help="The audit table's name, instead of asking the stack for it.")
]
Profile = Annotated[str | None, typer.Option("--profile", help="An AWS profile; none by default.")]
Region = Annotated[str | None, typer.Option("--region", help="The stack's region; by default that of the profile.")]
EndpointUrl = Annotated[
    str | None, typer.Option("--endpoint-url", help="Where an emulator listens, such as http://127.0.0.1:4566.")
]
Account = Annotated[str | None, typer.Option("--account", help="Only this account, twelve digits.")]


class Channel(StrEnum):
    """The channels that an alert can be rendered for."""

    SLACK = "slack"
    SNS = "sns"


class SlackSecret(StrEnum):
    """What Slack's secret can hold."""

    WEBHOOK = "webhook"
    BOT = "bot"


class DeadLetters(StrEnum):
    """The dead-letter queues, by what fills them."""

    INTAKE = "intake"
    RULE = "rule"
    NOTIFY = "notify"


class Severity(StrEnum):
    """How severe an alert is."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


class Consumer(StrEnum):
    """The functions that a specimen can be wrapped for."""

    DETECT = "detect"


def _month(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", text):
        message = "Expected is a month such as 2026-11."
        raise typer.BadParameter(message)
    return text


@app.command()
def inspect(
    files: Files,
    *,
    json: Json = False,
    stack_name: StackName = "rootwatch",
    trusted_network: TrustedNetworks = None,
    account_name: AccountNames = None,
) -> None:
    """Say of each record, in input order, what Rootwatch sees in it. Offline and stateless."""
    from rootwatch_cli.inspect import run_inspect  # noqa: PLC0415 - each command loads only what it needs

    raise typer.Exit(
        run_inspect(
            files,
            as_json=json,
            stack_name=stack_name,
            trusted_networks=_networks(trusted_network or ()),
            account_names=_account_names(account_name or ()),
        )
    )


@app.command()
def replay(  # noqa: PLR0913 - the command's options
    files: Files,
    *,
    json: Json = False,
    render: Annotated[
        Channel | None, typer.Option("--render", help="Print exactly what this channel would be sent, a line each.")
    ] = None,
    stack_name: StackName = "rootwatch",
    idle_minutes: Annotated[
        int, typer.Option("--idle-minutes", min=5, max=1440, help="Minutes without activity after which one ends.")
    ] = 60,
    runbook_url: RunbookUrl = "",
    custodians: Custodians = "",
    trusted_network: TrustedNetworks = None,
    account_name: AccountNames = None,
) -> None:
    """Take the records through the whole pipeline by their own clock, and print each alert. Offline."""
    from rootwatch_cli.replay import run_replay  # noqa: PLC0415 - each command loads only what it needs

    raise typer.Exit(
        run_replay(
            files,
            as_json=json,
            render=str(render) if render else None,
            stack_name=stack_name,
            idle_minutes=idle_minutes,
            runbook_url=runbook_url,
            custodians=custodians,
            trusted_networks=_networks(trusted_network or ()),
            account_names=_account_names(account_name or ()),
        )
    )


@app.command()
def specimen(
    name: Annotated[
        str, typer.Argument(help="A specimen's name, such as console_login, or near_misses/console_login.")
    ],
    *,
    wrapped_for: Annotated[
        Consumer | None, typer.Option("--for", help="Wrap it as the service that invokes this function would.")
    ] = None,
) -> None:
    """Print a specimen out of events/, as it is or as SQS would deliver it to a function."""
    from rootwatch_cli.specimen import run_specimen  # noqa: PLC0415 - each command loads only what it needs

    raise typer.Exit(run_specimen(name, wrapped_for=str(wrapped_for) if wrapped_for else None))


@app.command()
def demo(
    more: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="Further files for --records.")] = None,
    *,
    records: Annotated[
        list[str] | None,
        typer.Option("--records", metavar="FILE...", help="Play these CloudTrail files (or folders, or -) instead."),
    ] = None,
    slack: Annotated[
        SlackSecret, typer.Option("--slack", help="What Slack's secret holds: a bot makes one thread per incident.")
    ] = SlackSecret.WEBHOOK,
) -> None:
    """Play a story of root use, or your own records, through the real stack on an embedded AWS on this machine."""
    if records and slack is SlackSecret.BOT:
        message = "--slack bot is for the story; leave it out with --records"
        raise typer.BadParameter(message)
    if records:
        from rootwatch_cli.demo_records import run_records  # noqa: PLC0415 - each command loads only what it needs

        raise typer.Exit(run_records(Console(), [*records, *(more or [])]))
    if more:
        message = "files come behind --records: rootwatch demo --records FILE..."
        raise typer.BadParameter(message)
    from rootwatch_cli.demo import run_demo  # noqa: PLC0415 - each command loads only what it needs

    raise typer.Exit(run_demo(Console(), bot=slack is SlackSecret.BOT))


@app.command()
def report(  # noqa: PLR0913 - the command's options
    more: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="Further files for --from.")] = None,
    *,
    month: Annotated[str, typer.Option("--month", help="The month, such as 2026-11, from its first day on (UTC).")],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="The folder to write into; made if it is missing.")],
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--from", metavar="FILE...", help="CloudTrail files (or folders, or -) instead of a deployed table."
        ),
    ] = None,
    declared: Annotated[
        str | None,
        typer.Option(
            "--declared", metavar="FILE", help="With --from: declarations, as declared list --json prints them."
        ),
    ] = None,
    credential_report: Annotated[
        list[str] | None,
        typer.Option(
            "--credential-report", metavar="FILE", help="An account's credential report (CSV); again for more."
        ),
    ] = None,
    acknowledge_minutes: Annotated[
        int, typer.Option("--acknowledge-minutes", min=1, max=10080, help="Later acknowledgements are exceptions.")
    ] = 15,
    idle_minutes: Annotated[
        int, typer.Option("--idle-minutes", min=5, max=1440, help="With --from: minutes after which an incident ends.")
    ] = 60,
    stack_name: StackName = "rootwatch",
    trusted_network: TrustedNetworks = None,
    account_name: AccountNames = None,
    json: Json = False,
    stack: Stack = "rootwatch",
    table: Table = None,
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Write the monthly report of root use: a page, the register as CSV, and JSON.

    From a deployed table, or offline from record files with --from.
    """
    if more and not files:
        message = "files come behind --from: rootwatch report --month 2026-11 --out DIR --from FILE..."
        raise typer.BadParameter(message)
    from rootwatch_cli.deployed import Where  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch_cli.report import Wanted, run_report  # noqa: PLC0415

    wanted = Wanted(
        month=month,
        out=out,
        files=[*(files or ()), *(more or ())],
        declared=declared,
        credential_reports=credential_report or (),
        stack_name=stack_name,
        idle_minutes=idle_minutes,
        acknowledge_minutes=acknowledge_minutes,
        trusted_networks=_networks(trusted_network or ()),
        account_names=_account_names(account_name or ()),
        as_json=json,
    )
    raise typer.Exit(run_report(Where(stack, table, profile, region, endpoint_url), wanted))


# --- on a deployed stack -------------------------------------------------------------------------------------------


@app.command()
def incidents(  # noqa: PLR0913 - the command's options
    *,
    months: Annotated[
        int, typer.Option("--months", min=1, max=120, help="Besides what is open, the incidents of so many months.")
    ] = 2,
    month: Annotated[
        str | None, typer.Option("--month", callback=_month, help="Only the incidents of one month, such as 2026-11.")
    ] = None,
    json: Json = False,
    stack: Stack = "rootwatch",
    table: Table = None,
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """List the incidents, open and recent, worst first."""
    from rootwatch_cli.deployed import Where  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch_cli.incidents import run_incidents  # noqa: PLC0415

    where = Where(stack, table, profile, region, endpoint_url)
    raise typer.Exit(run_incidents(where, months=months, month=month, as_json=json))


@app.command()
def show(  # noqa: PLR0913 - the command's options
    incident: Annotated[
        str, typer.Argument(metavar="INCIDENT", help="An incident's id or the beginning of it, or an alert's id.")
    ],
    *,
    json: Json = False,
    stack: Stack = "rootwatch",
    table: Table = None,
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Tell one incident by time.

    Acts in words, alerts, deliveries, and the steps that people took.
    """
    from rootwatch_cli.deployed import Where  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch_cli.show import run_show  # noqa: PLC0415

    where = Where(stack, table, profile, region, endpoint_url)
    raise typer.Exit(run_show(where, incident, as_json=json))


@app.command()
def verify(  # noqa: PLR0913 - the command's options
    *,
    account: Account = None,
    json: Json = False,
    stack: Stack = "rootwatch",
    table: Table = None,
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Compute every chain again from what is stored.

    The exit status is 1 if anything was changed since it was recorded.
    """
    from rootwatch_cli.deployed import Where  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch_cli.verify import run_verify  # noqa: PLC0415

    where = Where(stack, table, profile, region, endpoint_url)
    raise typer.Exit(run_verify(where, account, as_json=json))


@app.command()
def doctor(
    *,
    json: Json = False,
    stack: Stack = "rootwatch",
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Check a deployment: say what is wrong with it, and how to mend it.

    The exit status is 1 for a fault, 3 where something could not be checked, 2 where the stack could not be reached.
    """
    from rootwatch_cli.deployed import Where  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch_cli.doctor.command import run_doctor  # noqa: PLC0415

    raise typer.Exit(run_doctor(Where(stack, None, profile, region, endpoint_url), as_json=json))


@app.command()
def redrive(  # noqa: PLR0913 - the command's options
    *,
    move: Annotated[
        bool, typer.Option("--move", help="Move back what can be; without it nothing is changed, only listed.")
    ] = False,
    queue: Annotated[
        DeadLetters | None, typer.Option("--queue", help="Only this dead-letter queue; all three by default.")
    ] = None,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Also what detect rejected, after detect itself was mended.")
    ] = False,
    most: Annotated[int, typer.Option("--most", min=1, max=10_000, help="Messages of one queue, at the most.")] = 1000,
    json: Json = False,
    stack: Stack = "rootwatch",
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """List what lies on the dead-letter queues, and why; with --move, move it back to where it belongs.

    The exit status is 0 where no dead letter is left, 1 where some are or may be, 2 where something was out of reach.
    """
    from rootwatch_cli.deployed import Where  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch_cli.redrive import Options, run_redrive  # noqa: PLC0415

    where = Where(stack, None, profile, region, endpoint_url)
    options = Options(str(queue) if queue else None, most, move, rejected)
    raise typer.Exit(run_redrive(where, options, as_json=json))


# --- triage --------------------------------------------------------------------------------------------------------

IncidentId = Annotated[
    str, typer.Argument(metavar="INCIDENT", help="An incident's id or the beginning of it, or an alert's id.")
]
Note = Annotated[str, typer.Option("--note", help="What else belongs into the timeline.")]


def _moving(name: str, action: str, words: str) -> None:
    """Add a command that makes one move, which needs no more than the incident."""

    def move(  # noqa: PLR0913 - the command's options
        incident: IncidentId,
        *,
        note: Note = "",
        json: Json = False,
        stack: Stack = "rootwatch",
        profile: Profile = None,
        region: Region = None,
        endpoint_url: EndpointUrl = None,
    ) -> None:
        from rootwatch_cli.answer import Given, run_answer  # noqa: PLC0415 - each command loads only what it needs
        from rootwatch_cli.deployed import Where  # noqa: PLC0415

        where = Where(stack, None, profile, region, endpoint_url)
        raise typer.Exit(run_answer(where, incident, Given(action, note=note), as_json=json))

    app.command(name, help=words)(move)


_moving("ack", "acknowledge", "Say that you have an incident: its escalation stops.")
_moving("suspicious", "suspect", "Say that nobody can explain an incident.")
_moving("contain", "contain", "Say that a suspicious incident is contained.")
_moving("close", "close", "Close an incident that is contained.")


@app.command()
def resolve(  # noqa: PLR0913 - the command's options
    incident: IncidentId,
    *,
    reason: Annotated[str, typer.Option("--reason", help="What root was needed for, in a few words.")] = "",
    ticket: Annotated[str, typer.Option("--ticket", help="The ticket's number.")] = "",
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Agree, as a second person, with what somebody else proposed.")
    ] = False,
    note: Note = "",
    json: Json = False,
    stack: Stack = "rootwatch",
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Resolve an incident as expected.

    A reason and a ticket are required. It covers the addresses and sessions listed on the incident, nothing else.
    """
    from rootwatch_cli.answer import Given, run_answer  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch_cli.deployed import Where  # noqa: PLC0415

    if not confirm and not (reason.strip() and ticket.strip()):
        message = "--reason and --ticket are required, or --confirm for what somebody else proposed"
        raise typer.BadParameter(message)
    if confirm and (reason or ticket):
        message = "--confirm agrees with the reason and the ticket of the proposal: leave --reason and --ticket out"
        raise typer.BadParameter(message)
    where = Where(stack, None, profile, region, endpoint_url)
    given = Given("confirm" if confirm else "resolve", reason, ticket, note)
    raise typer.Exit(run_answer(where, incident, given, as_json=json))


@app.command()
def note(  # noqa: PLR0913 - the command's options
    incident: IncidentId,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The note.")],
    *,
    json: Json = False,
    stack: Stack = "rootwatch",
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Put a note into an incident's timeline."""
    from rootwatch_cli.answer import Given, run_answer  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch_cli.deployed import Where  # noqa: PLC0415

    where = Where(stack, None, profile, region, endpoint_url)
    raise typer.Exit(run_answer(where, incident, Given("note", note=text), as_json=json))


@app.command()
def evidence(  # noqa: PLR0913 - the command's options
    incident: IncidentId,
    *,
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="The folder to write to; made if it is not there.")],
    json: Json = False,
    stack: Stack = "rootwatch",
    table: Table = None,
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Write one incident as a zip that can be handed over, and checked without us.

    Records, chain, timeline, alerts with their receipts, steps, checksums, and one page for people.
    """
    from pathlib import Path  # noqa: PLC0415 - each command loads only what it needs

    from rootwatch_cli.deployed import Where  # noqa: PLC0415
    from rootwatch_cli.evidence import run_evidence  # noqa: PLC0415

    where = Where(stack, table, profile, region, endpoint_url)
    raise typer.Exit(run_evidence(where, incident, Path(out), as_json=json))


# --- is it heard ----------------------------------------------------------------------------------------------------


@app.command("test-alert")
def send_test_alert(  # noqa: PLR0913 - the command's options
    *,
    severity: Annotated[
        Severity, typer.Option("--severity", help="As a pager's filter lets it through.")
    ] = Severity.HIGH,
    wait: Annotated[
        int, typer.Option("--wait", min=0, max=600, help="Seconds to wait until every channel has taken it.")
    ] = 90,
    json: Json = False,
    stack: Stack = "rootwatch",
    table: Table = None,
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Send an alert on every channel that says that it is a test.

    It takes the way of a real one, from the table on; the exit status is 1 if a channel did not take it.
    """
    from rootwatch_cli.deployed import Where  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch_cli.test_alert import run_test_alert  # noqa: PLC0415

    where = Where(stack, table, profile, region, endpoint_url)
    raise typer.Exit(run_test_alert(where, str(severity), wait_seconds=wait, as_json=json))


@app.command()
def coverage(  # noqa: PLR0913 - the command's options
    *,
    retire: Annotated[
        list[str] | None,
        typer.Option(
            "--retire",
            metavar="ACCOUNT/REGION",
            help="Wait for it no longer, until it is heard again; again for more. Nothing else is done then.",
        ),
    ] = None,
    json: Json = False,
    stack: Stack = "rootwatch",
    table: Table = None,
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """List the accounts and regions that are heard.

    When each had its last heartbeat, canary and record; the exit status is 1 if one is quiet.
    """
    from rootwatch_cli.coverage import run_coverage  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch_cli.deployed import Where  # noqa: PLC0415

    where = Where(stack, table, profile, region, endpoint_url)
    raise typer.Exit(run_coverage(where, retire or (), as_json=json))


@app.command()
def deploy_forwarders(  # noqa: PLR0913 - the command's options
    *,
    regions: Annotated[
        list[str],
        typer.Option("--regions", help="all (every region enabled in the account), or names with commas between them."),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done in each region.")] = False,
    json: Json = False,
    stack: Stack = "rootwatch",
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Forward from the other regions of the hub's own account.

    One CloudFormation stack per region, without code; other accounts: docs/organization.md.
    """
    from rootwatch_cli.deploy_forwarders import run_deploy_forwarders  # noqa: PLC0415 - only what is needed
    from rootwatch_cli.deployed import Where  # noqa: PLC0415

    where = Where(stack, None, profile, region, endpoint_url)
    raise typer.Exit(run_deploy_forwarders(where, regions, dry_run=dry_run, as_json=json))


@app.command()
def declare(  # noqa: PLR0913 - the command's options
    *,
    account: Annotated[str, typer.Option("--account", help="The account, twelve digits.")],
    begins: Annotated[str, typer.Option("--from", help="When it begins: now, +30m, or 2026-11-03T10:00Z.")],
    ends: Annotated[str, typer.Option("--to", help="When it ends: +2h after it began, or 2026-11-03T12:00Z.")],
    reason: Annotated[str, typer.Option("--reason", help="What root is needed for, in a few words.")],
    ticket: Annotated[str, typer.Option("--ticket", help="The ticket's number.")],
    approver: Annotated[str, typer.Option("--approver", help="Who approved it.")],
    from_address: Annotated[
        list[str] | None,
        typer.Option("--from-address", help="An address or network it will come from; again for more; any by default."),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task", help="What will be done: a detection (mfa_added) or event (EnableMFADevice); again for more."
        ),
    ] = None,
    json: Json = False,
    stack: Stack = "rootwatch",
    table: Table = None,
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Announce root use beforehand.

    What matches is told one step less severe, what contradicts or overruns it one step more; nothing is muted.
    """
    from rootwatch_cli.declare import Declaration, run_declare  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch_cli.deployed import Where  # noqa: PLC0415

    declaration = Declaration(account, begins, ends, reason, ticket, approver, from_address or (), task or ())
    raise typer.Exit(run_declare(Where(stack, table, profile, region, endpoint_url), declaration, as_json=json))


declared: Final = typer.Typer(help="List the declared uses of root, or end one.", no_args_is_help=True)
app.add_typer(declared, name="declared")


@declared.command("list")
def declared_list(  # noqa: PLR0913 - the command's options
    *,
    account: Account = None,
    json: Json = False,
    stack: Stack = "rootwatch",
    table: Table = None,
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """List what was declared within 31 days of now."""
    from rootwatch_cli.declare import run_declared_list  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch_cli.deployed import Where  # noqa: PLC0415

    where = Where(stack, table, profile, region, endpoint_url)
    raise typer.Exit(run_declared_list(where, account, as_json=json))


@declared.command("end")
def declared_end(  # noqa: PLR0913 - the command's options
    declared_id: Annotated[str, typer.Argument(metavar="ID", help="A declaration's id, or the beginning of it.")],
    *,
    account: Account = None,
    json: Json = False,
    stack: Stack = "rootwatch",
    table: Table = None,
    profile: Profile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """End a declared use now.

    What root does from then on overruns it.
    """
    from rootwatch_cli.declare import run_declared_end  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch_cli.deployed import Where  # noqa: PLC0415

    where = Where(stack, table, profile, region, endpoint_url)
    raise typer.Exit(run_declared_end(where, declared_id, account, as_json=json))


def _networks(entries: Sequence[str]) -> tuple["Network", ...]:
    from rootwatch.errors import SettingsError  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch.settings import networks  # noqa: PLC0415

    try:
        return networks(entries, "--trusted-network")
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from None


def _account_names(entries: Sequence[str]) -> Mapping[str, str]:
    from rootwatch.errors import SettingsError  # noqa: PLC0415 - each command loads only what it needs
    from rootwatch.settings import account_names  # noqa: PLC0415

    try:
        return account_names(entries, "--account-name")
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from None


def main() -> None:
    """Run the command. A closed pipe ends it quietly, Ctrl-C with status 130."""
    try:
        app()
    except BrokenPipeError:
        # The reader (`head`, say) has had enough; Python must not complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
