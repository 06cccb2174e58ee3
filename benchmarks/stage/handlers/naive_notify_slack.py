"""How such a function is often written: boto3's resources, pydantic's models, all of Powertools, everything on top."""

import json
import os
from typing import Any

import boto3
import requests
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig
from aws_lambda_powertools.utilities.parser.models import DynamoDBStreamModel
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel

logger = Logger(service="naive")
metrics = Metrics(namespace="Naive", service="naive")
tracer = Tracer(service="naive")
processor = BatchProcessor(event_type=EventType.DynamoDBStreams)
# Made, but not asked: its own two calls of DynamoDB would count against this handler.
persistence = DynamoDBPersistenceLayer(table_name="idempotency")
persistence.configure(IdempotencyConfig(event_key_jmespath="eventID"), function_name="naive")
table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])

with open("message.json", encoding="utf-8") as stored:  # noqa: PTH123 - as the bare one
    MESSAGE = json.load(stored)


class Delivery(BaseModel):
    """What is to be delivered."""

    pk: str
    sk: str


@tracer.capture_method
def deliver(record: DynamoDBRecord) -> None:
    """Read the item that a record of the stream names, and post the message for it."""
    keys = record.dynamodb.keys if record.dynamodb else {}
    found = table.get_item(Key=dict(keys)).get("Item", {})
    delivery = Delivery.model_validate(found)
    secret: Any = parameters.get_secret(os.environ["SLACK_SECRET_ID"], transform="json")
    requests.post(secret["webhook_url"], json=MESSAGE, timeout=5).raise_for_status()
    logger.info("delivered", extra={"pk": delivery.pk})
    metrics.add_metric(name="Delivered", unit=MetricUnit.Count, value=1)


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:  # noqa: ANN401 - Powertools' own answer
    """Deliver a batch of the stream."""
    DynamoDBStreamModel.model_validate(event)
    return process_partial_response(event=event, record_handler=deliver, processor=processor, context=context)
