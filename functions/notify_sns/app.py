"""Delivers alerts on SNS as their ledgers appear in the table's stream; see `rootwatch.delivery`."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType

from rootwatch import wiring

logger = Logger(service="notify_sns")
metrics = Metrics(namespace="Rootwatch", service="notify_sns")
processor = BatchProcessor(event_type=EventType.DynamoDBStreams)


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], _context: object) -> Any:  # noqa: ANN401 - Powertools' own answer
    """Deliver a batch of the stream; what a channel did not take is reported, so that the stream tries it again."""
    with processor(records=event["Records"], handler=wiring.sns_notifier().deliver):
        for status, result, *_ in processor.process():
            state = "failed" if status == "fail" else result
            metrics.add_metric(name=f"Deliveries{state.capitalize()}", unit=MetricUnit.Count, value=1)
            (logger.error if state == "failed" else logger.info)("delivery: %s", result)
    return processor.response()
