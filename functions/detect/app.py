"""Takes records from the intake queue to the audit table; the steps are in `rootwatch.pipeline`."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from rootwatch import pipeline, wiring

logger = Logger(service="detect")
metrics = Metrics(namespace="Rootwatch", service="detect")


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Record an SQS batch; messages that must stay in the queue are reported as failures."""
    intake = wiring.intake()
    metrics.add_dimension(name="stack", value=intake.recorder.own.stack_name)
    results = pipeline.take_in(event, intake.recorder, intake.reject, intake.replay_source)
    for result in results:
        metrics.add_metric(name=f"Messages{result.fate.capitalize()}", unit=MetricUnit.Count, value=1)
        if result.reason:
            logger.error("message %s", result.fate, extra={"message_id": result.message.id, "reason": result.reason})
    return {"batchItemFailures": [{"itemIdentifier": each.message.id} for each in results if each.fate.stays]}
