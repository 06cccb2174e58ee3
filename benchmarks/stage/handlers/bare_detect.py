"""The least that writes an alert: the same client as `functions/detect`, and one transaction as large as its own."""

import json
import os
from typing import Any

import boto3

with open("transaction.json", encoding="utf-8") as stored:  # noqa: PTH123 - pathlib is not needed here, and costs time
    TRANSACTION = json.load(stored)
CLIENT = boto3.client("dynamodb")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Read each record of the batch and write the transaction for it."""
    for record in event["Records"]:
        json.loads(record["body"])
        for action in TRANSACTION:
            action["Put"]["TableName"] = os.environ["TABLE_NAME"]
        CLIENT.transact_write_items(TransactItems=TRANSACTION)
    return {"batchItemFailures": []}
