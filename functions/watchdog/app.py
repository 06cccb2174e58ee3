"""Runs every minute: lets time pass, so that incidents end on time; see `rootwatch.watchdog`."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics

from rootwatch import wiring

logger = Logger(service="watchdog")
metrics = Metrics(namespace="Rootwatch", service="watchdog")


@logger.inject_lambda_context
@metrics.log_metrics
def handler(_event: object, context: Any) -> None:  # noqa: ANN401 - Lambda's own context
    """Do once all that is due; what fails is logged and counted, and the next minute tries it again."""
    watchdog = wiring.watchdog()
    metrics.add_dimension(name="stack", value=watchdog.recorder.own.stack_name)
    report = watchdog.run(lambda: context.get_remaining_time_in_millis() / 1000)
    for name, unit, value in report.metrics():
        metrics.add_metric(name=name, unit=unit, value=value)
    for failure in report.failures:
        logger.error("failed: %s", failure)
