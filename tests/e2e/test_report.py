"""What the deployed report makes of what the deployed stack recorded."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import html5lib
import jsonschema
import pytest

from make import report_schema
from rootwatch_cli.demo import Stage
from tests.builders.records import build_record

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

ACCOUNT = "616161616161"
PATIENCE = 100.0


def test_the_month_is_reported_out_of_the_deployed_table(stage: Stage, tmp_path: Path) -> None:
    """A sign-in that went the whole way stands in the report of its month, which is kept and told."""
    now = datetime.now(UTC)
    changes: dict[str, Any] = {
        "recipientAccountId": ACCOUNT,
        "userIdentity.accountId": ACCOUNT,
        "eventTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
    }
    stage.send([build_record("console_login_without_mfa", **changes)])
    deadline = time.monotonic() + PATIENCE
    while not stage.store().account_head(ACCOUNT)[0] and time.monotonic() < deadline:
        time.sleep(0.5)
    kept, paths = stage.report(f"{now:%Y-%m}", tmp_path)
    register, document, page = paths
    content = json.loads(document.read_text())
    jsonschema.Draft202012Validator(report_schema.schema()).validate(content)
    html5lib.HTMLParser(strict=True).parse(page.read_text(encoding="utf-8"))
    [row] = [each for each in content["register"] if each["account_id"] == ACCOUNT]
    [statement] = [each for each in content["statements"] if each["account_id"] == ACCOUNT]

    assert row["mfa"] == "no"
    assert row["first_at"] == changes["eventTime"]
    assert {"without_mfa", "undeclared", "new_source"} <= set(row["exceptions"])
    assert statement["uses"] == 1
    assert statement["chain"]["faults"] == []
    assert kept["month"] == f"{now:%Y-%m}"
    assert ACCOUNT in register.read_text(encoding="utf-8")
    headline = f"Root usage in {now:%B %Y}"
    while not any(headline in message.payload["text"] for message in stage.slack.messages):
        assert time.monotonic() < deadline
        time.sleep(0.2)
