"""The least that answers a press: the same clients as `functions/triage`, a signature, and one write on a condition."""

import base64
import hashlib
import hmac
import json
import os
from typing import Any

import boto3

DYNAMODB = boto3.client("dynamodb")
SECRETS = boto3.client("secretsmanager")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Check that Slack signed the press, and write it down if nobody did."""
    body, headers = base64.b64decode(event["body"]), event["headers"]
    secret = json.loads(SECRETS.get_secret_value(SecretId=os.environ["SLACK_SECRET_ID"])["SecretString"])
    signed = b"v0:" + headers["x-slack-request-timestamp"].encode() + b":" + body
    digest = hmac.new(secret["signing_secret"].encode(), signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(f"v0={digest}", headers["x-slack-signature"]):
        return {"statusCode": 401, "body": ""}
    DYNAMODB.put_item(
        TableName=os.environ["TABLE_NAME"],
        Item={"pk": {"S": "PRESS"}, "sk": {"S": digest}},
        ConditionExpression="attribute_not_exists(pk)",
    )
    return {"statusCode": 200, "body": ""}
