"""The policies that the report offers, before the linter that checks this project's own."""

import json
import subprocess
import sys
from pathlib import Path

from rootwatch.context.role_alternative import known_actions
from rootwatch.report.policy import policy_documents

CFN_LINT = Path(sys.prefix) / "sam" / "bin" / "cfn-lint"


def lint(folder: Path, documents: list[str]) -> str:
    """What cfn-lint says of managed policies with these documents; it knows IAM's grammar and all actions."""
    resources = {
        f"Policy{number}": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"PolicyDocument": json.loads(document)},
        }
        for number, document in enumerate(documents)
    }
    template = folder / "template.json"
    template.write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}))
    command = [str(CFN_LINT), "--include-checks", "I", "--format", "parseable", str(template)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110).stdout


def test_the_policies_pass_an_iam_policy_linter(tmp_path: Path) -> None:
    """Policies of actions of many services are valid, and each action is one that its service has."""
    services = (
        "account",
        "cloudtrail",
        "dynamodb",
        "ec2",
        "iam",
        "kms",
        "lambda",
        "logs",
        "s3",
        "secretsmanager",
        "sts",
    )
    actions = {f"{service}:{name}": 1 for service in services for name in known_actions()[service][:30]}
    documents = policy_documents(actions)

    assert len(documents) >= 2
    assert lint(tmp_path, documents) == ""


def test_the_linter_knows_what_is_wrong(tmp_path: Path) -> None:
    """An action that does not exist, and an effect that is none, are found: silence means that all is well."""
    [document] = policy_documents({"s3:ListAllMyBuckets": 1})

    said = lint(tmp_path, [document.replace("AllMyBuckets", "EveryBucket"), document.replace('"Allow"', '"Permit"')])
    assert "W3037" in said
    assert ":E" in said
