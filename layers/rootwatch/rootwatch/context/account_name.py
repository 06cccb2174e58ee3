"""The name of an account, out of what AWS Organizations answers. No I/O.

Root of a member account can rename it, so the name is hostile text and never stands without the number.
https://docs.aws.amazon.com/organizations/latest/APIReference/API_DescribeAccount.html
"""

import re
from typing import Final

from rootwatch.context.network_owner import stated

LONGEST_NAME: Final = 50
"""Characters of an account's name in Organizations."""

_ACCOUNT_ID: Final = re.compile(r"[0-9]{12}", re.ASCII)


def can_be_named(account_id: str) -> bool:
    """Return whether this is the number of an account; a record may state anything instead."""
    return _ACCOUNT_ID.fullmatch(account_id) is not None


def of_organizations(answer: object, account_id: str) -> str | None:
    """Return the name in an answer of DescribeAccount; None where it is another account's, or none. Never raises."""
    account = answer.get("Account") if isinstance(answer, dict) else None
    # A wrong name is worse than none.
    if not isinstance(account, dict) or account.get("Id") != account_id:
        return None
    return stated(account.get("Name"), LONGEST_NAME)
