"""The command's entry point: every sub-command's arguments and help. What they do is in the modules beside this one."""

import os
import sys
from enum import StrEnum
from typing import Annotated, Final

import typer
from rich.console import Console

app: Final = typer.Typer(
    name="rootwatch",
    help="Watches the AWS root user. inspect, replay and specimen work offline, on files.",
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


class Channel(StrEnum):
    """The channels that an alert can be rendered for."""

    SLACK = "slack"
    SNS = "sns"


class Consumer(StrEnum):
    """The functions that a specimen can be wrapped for."""

    DETECT = "detect"


@app.command()
def inspect(files: Files, *, json: Json = False, stack_name: StackName = "rootwatch") -> None:
    """Say of each record, in input order, what Rootwatch sees in it. Offline and stateless."""
    from rootwatch_cli.inspect import run_inspect  # noqa: PLC0415 - each command loads only what it needs

    raise typer.Exit(run_inspect(files, as_json=json, stack_name=stack_name))


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
def demo() -> None:
    """Play a story of root use through the real stack on an embedded AWS; needs nothing but this machine."""
    from rootwatch_cli.demo import run_demo  # noqa: PLC0415 - each command loads only what it needs

    raise typer.Exit(run_demo(Console()))


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
