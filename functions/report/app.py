"""Reports the root use of a month, on the first of the next one; see `rootwatch.report`."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from rootwatch import wiring
from rootwatch.report.reporter import asked_for

logger = Logger(service="report")
metrics = Metrics(namespace="Rootwatch", service="report")


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: Any, context: Any) -> dict[str, Any]:  # noqa: ANN401 - the schedule's event, or a person's; Lambda's
    """Report the month that the event names (`{"month": "2026-11"}`), else the month before this one."""
    reporter = wiring.reporter()
    metrics.add_dimension(name="stack", value=reporter.stack_name)
    metrics.add_metric(name="ReportsBegun", unit=MetricUnit.Count, value=1)
    kept = reporter.report(*asked_for(event, context.aws_request_id))
    metrics.add_metric(name="ReportsMade", unit=MetricUnit.Count, value=1)
    logger.info("report of %s kept", kept["month"], extra={"objects": kept["objects"], "verdict": kept["verdict"]})
    return kept
