"""Takes the answers that people give, by a button on Slack or by the command; see `rootwatch.reception`."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from rootwatch import reception, wiring

logger = Logger(service="triage")
metrics = Metrics(namespace="Rootwatch", service="triage")


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401 - Lambda's own context
    """Answer one request of the function URL, or of the command. Nothing of it is logged, whatever it is."""
    desk = wiring.reception()
    metrics.add_dimension(name="stack", value=desk.desk.deployment)
    answer, name = reception.take_in(event, desk, context.invoked_function_arn)
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=1)
    return answer
