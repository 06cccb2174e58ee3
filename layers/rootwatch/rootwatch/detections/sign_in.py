"""Root signs in, or somebody tries to.

Facts: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-aws-console-sign-in-events.html
"""

from rootwatch.detections.detection import MONITORED_ROOT_USE, Detection, OwnResources, Severity, Stage, named
from rootwatch.record import Outcome, Record


def _console_login(record: Record, _own: OwnResources) -> Severity | None:
    if not _is_console_login(record) or record.outcome in _FAILED or record.mfa.used is False:
        return None
    return Severity.HIGH


def _console_login_without_mfa(record: Record, _own: OwnResources) -> Severity | None:
    # Only what the record states counts: MFA "not stated" stays console_login.
    if not _is_console_login(record) or record.outcome in _FAILED or record.mfa.used is not False:
        return None
    return Severity.CRITICAL


def _console_login_failed(record: Record, _own: OwnResources) -> Severity | None:
    return Severity.MEDIUM if _is_console_login(record) and record.outcome in _FAILED else None


_FAILED = frozenset({Outcome.FAILURE, Outcome.DENIED, Outcome.ERROR})
"""A sign-in whose result is not stated counts as a sign-in: better told once too often."""


def _is_console_login(record: Record) -> bool:
    return record.event_name == "ConsoleLogin" and record.actor.by_root


def _cli_login(record: Record, _own: OwnResources) -> Severity | None:
    is_login = named(record, "AuthorizeOAuth2Access", "CreateOAuth2Token", service="signin")
    return Severity.HIGH if is_login and record.actor.by_root else None


CONSOLE_LOGIN = Detection(
    id="root.console_login",
    title="Root signed in to the console",
    done="signed in to the console",
    tried="tried to sign in to the console",
    why="The root user can do everything in the account and no IAM policy limits it, so each sign-in is news.",
    severity_rule="High, with MFA used or not stated; a sign-in whose result is not stated counts as one.",
    techniques=("T1078.004",),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Ask the root custodian, by another route than this alert, whether they signed in at eventTime.",
        "Compare sourceIPAddress and additionalEventData.MFAIdentifier with the custodian's own.",
        "Read every record of this account with the same signInSessionArn or creationDate for the next 12 hours.",
    ),
    rule=_console_login,
    stage=Stage.IN,
)
CONSOLE_LOGIN_WITHOUT_MFA = Detection(
    id="root.console_login_without_mfa",
    title="Root signed in without MFA",
    done="signed in to the console WITHOUT MFA",
    tried="tried to sign in to the console without MFA",
    why="A password alone opened the account: MFA is missing on root, or somebody removed it.",
    severity_rule='Critical, and only where the record itself says that no MFA was used: "not stated" is never "no".',
    techniques=("T1078.004",),
    controls=(*MONITORED_ROOT_USE, "CIS AWS Foundations 5.0.0: 1.4, 4.2", "PCI DSS 4.0.1: 8.4.2"),
    next_steps=(
        "Ask the root custodian, by another route than this alert, whether they signed in at eventTime.",
        "Look for DeactivateMFADevice and DeleteVirtualMFADevice of this account in the 24 hours before eventTime.",
        "If nobody claims it, treat it as a takeover: contain the account and open a case with AWS Support.",
    ),
    rule=_console_login_without_mfa,
    stage=Stage.IN,
)
CONSOLE_LOGIN_FAILED = Detection(
    id="root.console_login_failed",
    title="A root sign-in failed",
    done="sign-in failed",
    tried="sign-in failed",
    why="Somebody knows root's e-mail address and tries to sign in; current attacks need fewer than eight tries.",
    severity_rule="Medium from the first failure, high from the third within an hour.",
    techniques=("T1110",),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Ask the root custodian whether they mistyped at eventTime.",
        "Look for ConsoleLogin with responseElements.ConsoleLogin Success of this account in the following hour.",
        "Look for the same sourceIPAddress in the other accounts within 24 hours.",
    ),
    rule=_console_login_failed,
    stage=Stage.ATTEMPT,
)
LOGIN_AFTER_FAILURES = Detection(
    id="root.login_after_failures",
    title="Root signed in after failed attempts",
    done="signed in after failed attempts",
    tried="tried to sign in after failed attempts",
    why="A success within an hour of a failure is what a guessed or stolen password looks like.",
    severity_rule=(
        "Critical: a success within an hour after a failure in the same account, in whatever order the two arrive."
    ),
    techniques=("T1110", "T1078.004"),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Compare sourceIPAddress and userAgent of the failures and of the success.",
        "Ask the root custodian, by another route than this alert, whether both were theirs.",
        "If not, contain the account at once and read every record since the success.",
    ),
    stage=Stage.IN,
)
LOGIN_SPRAY = Detection(
    id="root.login_spray",
    title="Root sign-ins failed in several accounts",
    done="sign-in failed, as in other accounts within 24 hours",
    tried="sign-in failed, as in other accounts within 24 hours",
    why="Root is used almost never: failures in two accounts within a day are somebody trying a list of addresses.",
    severity_rule=(
        "High: a root sign-in failed in another account within 24 hours before or after this failure, from any address."
    ),
    techniques=("T1110.003", "T1110"),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Compare sourceIPAddress and userAgent of the failed ConsoleLogin records of all named accounts in 24 hours.",
        "Look for ConsoleLogin with responseElements.ConsoleLogin Success by root in every account in these 24 hours.",
        "Ask the custodians of the named accounts whether any of the tries at eventTime was theirs.",
    ),
    stage=Stage.ATTEMPT,
)
CLI_LOGIN = Detection(
    id="root.cli_login",
    title="Root signed in for the command line",
    done="signed in for the command line (aws login)",
    tried="tried to sign in for the command line (aws login)",
    why="`aws login` turns a console sign-in into credentials on a computer for up to 12 hours, without an access key.",
    severity_rule="High, for either step (AuthorizeOAuth2Access, CreateOAuth2Token), whether it succeeded or not.",
    techniques=("T1078.004", "T1550"),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Ask the root custodian which computer ran `aws login` at eventTime.",
        "Compare requestParameters.client_id and redirect_uri with a device you know.",
        "Read every record of this account with the same signInSessionArn for the next 12 hours.",
    ),
    rule=_cli_login,
    stage=Stage.IN,
)
