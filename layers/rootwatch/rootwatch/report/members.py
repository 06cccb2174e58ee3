"""The credential reports of an organization's other accounts, each read with a role of theirs, within bounded time.

What one account refuses stops no other one and is said of that account alone: what was not read is never "no".
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from rootwatch.alert import visible
from rootwatch.errors import ReportError
from rootwatch.report.posture import RootCredentials, read_credential_report, with_summary

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient

WITHIN: Final = 240.0
"""Seconds for all accounts together; the report needs the rest of the function's 900 for its rows."""
WORKERS: Final = 8
"""Accounts that are asked at the same time: a thousand take less than a minute of a processor and some of waiting."""
PAUSE: Final = 2.0
NOT_IN_TIME: Final = f"not read within {WITHIN:.0f} seconds, which all accounts share"
_BEING_MADE: Final = frozenset({"ReportInProgress", "ReportNotPresent", "ReportExpired"})

_T = TypeVar("_T")
_ClientOf = Callable[[], "IAMClient"]


@dataclass(frozen=True, slots=True)
class MemberReader:
    """Reads credential reports of other accounts.

    `take` takes the role in an account and returns what makes a client of IAM there: clients are large, and none is
    kept while IAM makes the report. `clock` says seconds, `pause` waits some.
    """

    take: Callable[[str], _ClientOf]
    clock: Callable[[], float]
    pause: Callable[[float], None]

    def read(self, accounts: Sequence[str]) -> tuple[dict[str, RootCredentials], dict[str, str]]:
        """Return root's credentials by account, and for each account whose could not be read, why, in words."""
        until = self.clock() + WITHIN
        found: dict[str, RootCredentials] = {}
        not_read: dict[str, str] = {}
        with ThreadPoolExecutor(WORKERS) as pool:
            # Everywhere begun first: IAM makes the reports while the other accounts are asked.
            begun = dict(zip(accounts, pool.map(lambda each: self._begin(each, until), accounts), strict=True))
            ready = {account_id: each for account_id, each in begun.items() if not isinstance(each, str)}
            answers = pool.map(lambda entry: self._collect(entry[0], entry[1], until), ready.items())
            outcomes = begun | dict(zip(ready, answers, strict=True))
        for account_id, outcome in outcomes.items():
            if isinstance(outcome, RootCredentials):
                found[account_id] = outcome
            else:
                not_read[account_id] = str(outcome)
        return found, not_read

    def _begin(self, account_id: str, until: float) -> _ClientOf | str:
        """Have IAM make the report of an account; return what makes its client, or why not."""
        if self.clock() >= until:
            return NOT_IN_TIME

        def begin() -> _ClientOf:
            client_of = self.take(account_id)
            client_of().generate_credential_report()
            return client_of

        return _tried(begin)

    def _collect(self, account_id: str, client_of: _ClientOf, until: float) -> RootCredentials | str:
        """Return what the report of an account says, once it is made, or why not."""

        def collect() -> RootCredentials:
            client = client_of()
            while True:
                try:
                    text = client.get_credential_report()["Content"].decode(errors="replace")
                    break
                except ClientError as error:
                    if _code(error) not in _BEING_MADE:
                        raise
                if self.clock() >= until:
                    raise ReportError(NOT_IN_TIME)
                self.pause(PAUSE)
            credentials = read_credential_report(text)
            if credentials.account_id != account_id:
                message = f"the credential report is that of account {credentials.account_id}"
                raise ReportError(message)
            return with_summary(credentials, client.get_account_summary()["SummaryMap"])

        return _tried(collect)


def _tried(act: Callable[[], _T]) -> _T | str:
    """Return what came out of asking AWS, or in words why nothing did."""
    try:
        return act()
    except ClientError as error:
        return visible(f"not read: {error.operation_name} was refused ({_code(error)})", 200)
    except BotoCoreError as error:
        return f"not read: AWS is out of reach ({type(error).__name__})"
    except ReportError as error:
        return visible(str(error), 200)


def _code(error: ClientError) -> str:
    stated: Mapping[str, object] = error.response.get("Error", {})
    return str(stated.get("Code") or "no code")
