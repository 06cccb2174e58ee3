"""The least that posts an alert: the same clients as `functions/notify_slack`, and a message as long as its own."""

import json
import os
from typing import Any

import boto3
import requests

with open("message.json", encoding="utf-8") as stored:  # noqa: PTH123 - pathlib is not needed here, and costs time
    MESSAGE = json.load(stored)
DYNAMODB = boto3.client("dynamodb")
SECRETS = boto3.client("secretsmanager")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Read the item that each record of the stream names, and post the message for it."""
    for record in event["Records"]:
        DYNAMODB.get_item(TableName=os.environ["TABLE_NAME"], Key=record["dynamodb"]["Keys"])
        secret = json.loads(SECRETS.get_secret_value(SecretId=os.environ["SLACK_SECRET_ID"])["SecretString"])
        requests.post(secret["webhook_url"], json=MESSAGE, timeout=5).raise_for_status()
    return {"batchItemFailures": []}
