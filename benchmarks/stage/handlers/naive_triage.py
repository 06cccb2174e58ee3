"""How such a function is often written: boto3's resources, pydantic's models, all of Powertools with its router."""

import hashlib
import hmac
import json
import os
from typing import Any
from urllib.parse import parse_qs

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import LambdaFunctionUrlResolver, Response
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.parser.models import LambdaFunctionUrlModel
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel

logger = Logger(service="naive")
metrics = Metrics(namespace="Naive", service="naive")
tracer = Tracer(service="naive")
app = LambdaFunctionUrlResolver()
table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])


class Press(BaseModel):
    """What was pressed."""

    type: str
    user: dict[str, Any]
    actions: list[dict[str, Any]]


@app.post("/")
@tracer.capture_method
def pressed() -> Response[str]:
    """Check that Slack signed the press, and write it down if nobody did."""
    body, headers = app.current_event.decoded_body or "", app.current_event.headers
    secret: Any = parameters.get_secret(os.environ["SLACK_SECRET_ID"], transform="json")
    signed = f"v0:{headers['x-slack-request-timestamp']}:{body}"
    digest = hmac.new(secret["signing_secret"].encode(), signed.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(f"v0={digest}", headers["x-slack-signature"]):
        return Response(status_code=401, body="")
    press = Press.model_validate(json.loads(parse_qs(body)["payload"][0]))
    item = {"pk": "PRESS", "sk": digest, "by": press.user["id"]}
    table.put_item(Item=item, ConditionExpression="attribute_not_exists(pk)")
    metrics.add_metric(name="Pressed", unit=MetricUnit.Count, value=1)
    return Response(status_code=200, body="")


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:  # noqa: ANN401 - Powertools' own answer
    """Answer a request of the function URL."""
    LambdaFunctionUrlModel.model_validate(event)
    answered = app.resolve(event, context)
    return {"statusCode": answered["statusCode"], "body": answered["body"]}
