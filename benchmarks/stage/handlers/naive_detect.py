"""How such a function is often written: boto3's resources, pydantic's models, all of Powertools, everything on top."""

import json
import os
from typing import Any

import boto3
import requests  # noqa: F401 - as it comes: at the top, needed or not
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig
from aws_lambda_powertools.utilities.parser.models import EventBridgeModel
from aws_lambda_powertools.utilities.typing import LambdaContext
from boto3.dynamodb.types import TypeDeserializer
from pydantic import BaseModel

logger = Logger(service="naive")
metrics = Metrics(namespace="Naive", service="naive")
tracer = Tracer(service="naive")
processor = BatchProcessor(event_type=EventType.SQS)
# Made, but not asked: its own two calls of DynamoDB would count against this handler.
persistence = DynamoDBPersistenceLayer(table_name="idempotency")
persistence.configure(IdempotencyConfig(event_key_jmespath="messageId"), function_name="naive")
table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])

with open("transaction.json", encoding="utf-8") as stored:  # noqa: PTH123 - as the bare one
    PUTS = [action["Put"] for action in json.load(stored)]
python_value = TypeDeserializer().deserialize  # a resource wants Python's own types
for put in PUTS:
    for part in {"Item", "ExpressionAttributeValues"} & set(put):
        put[part] = {name: python_value(value) for name, value in put[part].items()}


class UserIdentity(BaseModel):
    """Who called."""

    type: str
    arn: str | None = None
    accountId: str | None = None  # noqa: N815 - CloudTrail's names


class CloudTrailRecord(BaseModel):
    """What was called."""

    eventID: str  # noqa: N815
    eventName: str  # noqa: N815
    eventSource: str  # noqa: N815
    eventTime: str  # noqa: N815
    sourceIPAddress: str | None = None  # noqa: N815
    userIdentity: UserIdentity  # noqa: N815


@tracer.capture_method
def record_message(record: SQSRecord) -> None:
    """Read a record and write the transaction for it; Powertools hands it over under this name."""
    envelope = EventBridgeModel.model_validate_json(record.body)
    document = CloudTrailRecord.model_validate(envelope.detail)
    actions: Any = [{"Put": put | {"TableName": table.name}} for put in PUTS]
    table.meta.client.transact_write_items(TransactItems=actions)
    logger.info("recorded", extra={"event_id": document.eventID})
    metrics.add_metric(name="Recorded", unit=MetricUnit.Count, value=1)


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:  # noqa: ANN401 - Powertools' own answer
    """Record a batch of the queue."""
    return process_partial_response(event=event, record_handler=record_message, processor=processor, context=context)
