"""The audit table's keys and indexes on any DynamoDB: moto, the emulator."""

from typing import TYPE_CHECKING

from rootwatch.audit.table import INDEXES

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


def create_audit_table(client: "DynamoDBClient", name: str) -> None:
    """Create the table, empty; tests/template compares the template's own with the same indexes."""
    names = sorted({"pk", "sk"} | {name for index in INDEXES for name in (index.partition, index.sort)})
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        GlobalSecondaryIndexes=[
            {
                "IndexName": index.name,
                "KeySchema": [
                    {"AttributeName": index.partition, "KeyType": "HASH"},
                    {"AttributeName": index.sort, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
            for index in INDEXES
        ],
    )
