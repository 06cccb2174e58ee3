"""Root's credentials, as AWS itself knows them: the credential report, compared with what was recorded.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rootwatch.alert import visible
from rootwatch.errors import ReportError
from rootwatch.report.model import CredentialUse, Period, Posture

NEAR: Final = timedelta(minutes=15)
"""AWS keeps only the first of several uses within five minutes (password) or fifteen (access key)."""

ROOT_USER: Final = "<root_account>"
RECORDED: Final = "recorded"
NOT_RECORDED: Final = "NOT recorded"

_ROOT_ARN: Final = re.compile(r"arn:aws[a-z-]{0,20}:iam::([0-9]{12}):root", re.ASCII)
_MISSING: Final = frozenset({"", "N/A", "no_information", "not_supported"})
PASSWORD: Final = "password"  # noqa: S105 - the name of a credential


@dataclass(slots=True)
class KnownUse:
    """A use of a credential that AWS knows; `seen` becomes true once a record of it goes by."""

    what: str
    at: datetime
    seen: bool = False

    @property
    def by_key(self) -> bool:
        """Return whether an access key was used."""
        return self.what != PASSWORD


@dataclass(frozen=True, slots=True)
class RootCredentials:
    """What IAM says of root in one account; None is what it does not state, and `unstated_keys` counts such keys.

    `password` is whether root has one at all: where credentials are managed centrally, members have none.
    """

    account_id: str
    mfa: bool | None
    active_keys: int
    unstated_keys: int
    uses: tuple[KnownUse, ...]
    password: bool | None = None

    @property
    def unstated(self) -> list[str]:
        """Return, in words, what IAM does not state of what the report judges."""
        keys = ["whether its access keys are active"] if self.unstated_keys else []
        return [*(["whether root has MFA"] if self.mfa is None else []), *keys]

    def note(self, at: datetime, *, by_key: bool) -> None:
        """Take note of a recorded use: a sign-in with the password, or a call with an access key."""
        for use in self.uses:
            if use.by_key == by_key and abs(at - use.at) <= NEAR:
                use.seen = True


@dataclass(frozen=True, slots=True)
class Postures:
    """The credential reports there are, by account; `not_read` says why one that was asked for could not be read.

    `remark` says why nobody asked for the others.
    """

    by_account: Mapping[str, RootCredentials] = field(default_factory=dict)
    remark: str = "not read"
    not_read: Mapping[str, str] = field(default_factory=dict)


def read_credential_report(text: str) -> RootCredentials:
    """Read root's row of a credential report, the CSV that IAM gives.

    Raises:
        ReportError: it is no credential report, or has no row of root; no retry helps.

    """
    try:
        row = next((row for row in csv.DictReader(io.StringIO(text)) if row.get("user") == ROOT_USER), None)
    except csv.Error:
        row = None
    found = _ROOT_ARN.fullmatch((row or {}).get("arn") or "")
    if row is None or found is None:
        message = (
            "It is no credential report. Expected is the CSV of `aws iam get-credential-report`, decoded from Base64, "
            f"with a row of {ROOT_USER}."
        )
        raise ReportError(message)
    keys = [_flag(row, f"access_key_{number}_active") for number in (1, 2)]
    uses = tuple(_uses(row))
    return RootCredentials(found[1], _flag(row, "mfa_active"), keys.count(True), keys.count(None), uses)


def with_summary(credentials: RootCredentials, summary: Mapping[Any, int]) -> RootCredentials:
    """Return the credentials with what only the account summary states: whether root has a password.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountSummary.html
    """
    return replace(credentials, password={0: False, 1: True}.get(summary.get("AccountPasswordPresent", -1)))


def _uses(row: Mapping[str, str]) -> Iterator[KnownUse]:
    columns = {
        PASSWORD: "password_last_used",
        "access key 1": "access_key_1_last_used_date",
        "access key 2": "access_key_2_last_used_date",
    }
    for what, column in columns.items():
        text = row.get(column) or ""
        if text in _MISSING:
            continue
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            # Left out, a use that AWS knows would look like none.
            message = f"The credential report's {column} of {ROOT_USER} is no time. Expected is one in ISO 8601."
            raise ReportError(message) from None
        yield KnownUse(what, at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC))


def _flag(row: Mapping[str, str], column: str) -> bool | None:
    return {"true": True, "false": False}.get((row.get(column) or "").casefold())


def compared(credentials: RootCredentials, period: Period, name: str) -> Posture:
    """Return the posture of an account, after all of its records went by."""
    uses = tuple(CredentialUse(use.what, use.at, _state(use, period)) for use in credentials.uses)
    return Posture(
        credentials.account_id,
        visible(name, 60),
        credentials.mfa,
        credentials.password,
        credentials.active_keys,
        credentials.unstated_keys,
        uses,
    )


def _state(use: KnownUse, period: Period) -> str:
    if use.at in period:
        return RECORDED if use.seen else NOT_RECORDED
    return "before this month" if use.at < period.first else "after this month"
