"""The tables that have one contract: in memory, and in DynamoDB on moto or on the tests' own, without any network."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from hypothesis import settings
from moto import mock_aws
from moto.core.models import botocore_stubber

from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.table import Table
from tests.builders.audit_table import create_audit_table
from tests.contracts.quick_dynamodb import QuickDynamoDb

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

settings.register_profile("contracts", deadline=None, database=None, derandomize=True)
settings.load_profile("contracts")

TABLE_NAME = "rootwatch-audit"


@pytest.fixture(scope="module")
def _client() -> Iterator["DynamoDBClient"]:
    """One client for a module, since making one takes longer than a test; AWS is moto, the credentials are none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.delenv("AWS_PROFILE", raising=False)
        patch.delenv("AWS_SESSION_TOKEN", raising=False)
        with mock_aws():
            yield boto3.client("dynamodb")


@pytest.fixture
def dynamodb(_client: "DynamoDBClient") -> Iterator["DynamoDBClient"]:
    """A client of a DynamoDB that has the audit table, empty."""
    client = _client
    create_audit_table(client, TABLE_NAME)
    yield client
    client.delete_table(TableName=TABLE_NAME)


@pytest.fixture
def quick_dynamodb(_client: "DynamoDBClient") -> "DynamoDBClient":
    """A client that the tests' own DynamoDB answers."""
    client = boto3.client("dynamodb")
    events: Any = client.meta.events  # its stubs take handlers for functions without an answer
    events.unregister("before-send", botocore_stubber)
    events.register("before-send.dynamodb", QuickDynamoDb().before_send)
    return client


@pytest.fixture(params=["memory", "dynamodb", "quick_dynamodb"])
def table(request: pytest.FixtureRequest) -> Table:
    """An empty table, once of each kind."""
    if request.param == "memory":
        return MemoryTable()
    return DynamoTable(request.getfixturevalue(request.param), TABLE_NAME, pause=lambda _seconds: None)
