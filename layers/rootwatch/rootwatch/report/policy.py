"""The policy of a role that replaces root: the actions that root took without need, and nothing else."""

import json
import re
from collections.abc import Mapping
from typing import Final

_ACTION: Final = re.compile(r"[a-z0-9-]{1,64}:[A-Za-z0-9_-]+", re.ASCII)
_GRANTING: Final = ("iam:", "organizations:", "sso:", "identitystore:", "sts:")
"""Services whose actions can give further rights to whoever has them."""
_LARGEST: Final = 6_000
"""Characters of one policy; IAM counts at most 6,144 without blanks in a managed policy.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""


def policy_documents(actions: Mapping[str, int]) -> list[str]:
    """Return IAM policies (JSON) that allow exactly these actions, sorted, as few as IAM's size allows; none for none.

    `Resource` is `*`: a record does not reliably state which resource a permission was checked on, and a guess would
    either break the role or allow too much without a word. Actions come from AWS's service authorization reference,
    never from a record's own text; anything else is left out.
    """
    wanted = sorted(action for action in actions if _ACTION.fullmatch(action))
    documents: list[str] = []
    part: list[str] = []
    size = 0
    for action in wanted:
        if part and size + len(action) + 3 > _LARGEST:
            documents.append(_document(part))
            part, size = [], 0
        part.append(action)
        size += len(action) + 3
    return [*documents, _document(part)] if part else documents


def grants_more(actions: Mapping[str, int]) -> bool:
    """Return whether one of the actions can give its holder further rights: then the role is itself to be watched."""
    return any(action.startswith(_GRANTING) for action in actions)


def _document(actions: list[str]) -> str:
    statement = {"Sid": "InPlaceOfRoot", "Effect": "Allow", "Action": actions, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)
