"""Delivers alerts on Slack as their ledgers appear in the table's stream; see `rootwatch.delivery`."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from rootwatch import wiring
from rootwatch.delivery import answer_of, deliver_batch

logger = Logger(service="notify_slack")
metrics = Metrics(namespace="Rootwatch", service="notify_slack")


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Deliver a batch of the stream; what a channel did not take is reported, so that the stream tries it again."""
    outcomes = deliver_batch(event["Records"], wiring.slack_notifier().deliver)
    for outcome in outcomes:
        metrics.add_metric(name=f"Deliveries{outcome.state.capitalize()}", unit=MetricUnit.Count, value=1)
        (logger.error if outcome.state == "failed" else logger.info)("delivery: %s", outcome.fault or outcome.state)
    return answer_of(outcomes)
