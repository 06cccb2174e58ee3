"""Slack: its secret, and whether it is accepted."""

from collections.abc import Iterator

from rootwatch.alert import visible
from rootwatch_cli.doctor.checks.verdict import Verdict, aws, fault, not_checked, warning
from rootwatch_cli.doctor.deployment import Deployment, Resource


def _put_secret(deployment: Deployment, secret: Resource) -> str:
    name = str(secret.properties.get("Name") or secret.physical_id)
    return (
        aws(
            deployment,
            "secretsmanager",
            "put-secret-value",
            "--secret-id",
            name,
            "--secret-string",
            "file://slack.json",
        )
        + " (README.md, Deploy, says what the file holds)"
    )


def secret(deployment: Deployment, secret: Resource) -> Iterator[Verdict]:
    """Look whether Slack's secret can be read and has the right form."""
    answer = deployment.answer("secretsmanager:GetSecretValue", secret.logical_id)
    if answer.get("problem"):
        yield fault(visible(answer["problem"], 300), _put_secret(deployment, secret))
    elif answer["form"] == "none":
        what = "Slack is not set up: its secret is empty, and alerts for Slack are kept as unconfigured"
        yield warning(what, _put_secret(deployment, secret))
    elif deployment.parameter("SlackButtons") == "true" and not answer["signed"]:
        what = (
            'the buttons do nothing: Slack\'s secret holds no "signing_secret" of the app, so every press is refused '
            "(docs/slack.md, step 3)"
        )
        yield fault(what, _put_secret(deployment, secret))


def accepted(deployment: Deployment, secret: Resource) -> Iterator[Verdict]:
    """Look whether Slack accepts what the secret holds."""
    form = deployment.answer("secretsmanager:GetSecretValue", secret.logical_id).get("form")
    if form in {None, "none"}:
        yield not_checked("there is no webhook and no bot token to ask Slack about; see the check slack-secret")
        return
    answer = deployment.answer("slack:Accepts", secret.logical_id)
    if not answer["accepted"]:
        yield fault(visible(answer["why"], 300), _put_secret(deployment, secret))
