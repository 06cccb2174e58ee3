"""The alarms: what raises them, and whom they tell."""

from collections.abc import Iterator
from typing import Final

from rootwatch.alert import visible
from rootwatch_cli.doctor.checks.verdict import Verdict, as_json, aws, fault, made_again, warning
from rootwatch_cli.doctor.deployment import Answer, Deployment, MissingError, Resource, holds_unknown

_ALARM_FIELDS: Final = (
    "Namespace", "MetricName", "Statistic", "Threshold", "ComparisonOperator", "Period", "EvaluationPeriods",
    "TreatMissingData", "Dimensions",
)  # fmt: skip


def _found_alarm(deployment: Deployment, alarm: Resource) -> Answer:
    for each in deployment.answer("cloudwatch:DescribeAlarms")["MetricAlarms"]:
        if each["AlarmName"] == alarm.physical_id:
            found: Answer = each
            return found
    raise MissingError


def definition(deployment: Deployment, alarm: Resource) -> Iterator[Verdict]:
    """Compare an alarm with the template: its actions, and what raises it."""
    found, wanted = _found_alarm(deployment, alarm), alarm.properties
    name = str(alarm.physical_id)
    if not found.get("ActionsEnabled", True):
        mend = aws(deployment, "cloudwatch", "enable-alarm-actions", "--alarm-names", name)
        yield fault(f"the alarm {name} tells nobody: its actions are switched off", mend)
    asked = wanted.get("AlarmActions", [])
    if not holds_unknown(asked) and set(asked) - set(found.get("AlarmActions", [])):
        yield fault(
            f"the alarm {name} tells nobody: it no longer names the operations topic", _put_alarm(deployment, alarm)
        )
    changed = [
        field for field in _ALARM_FIELDS
        if field in wanted and not holds_unknown(wanted[field]) and not _same(found.get(field), wanted[field])
    ]  # fmt: skip
    if changed:
        what = f"the alarm {name} is raised by something else than the template's: {', '.join(changed)} differ"
        yield fault(what, _put_alarm(deployment, alarm))


def _same(found: object, wanted: object) -> bool:
    if isinstance(found, list) and isinstance(wanted, list):  # dimensions, in any order
        return sorted(map(as_json, found)) == sorted(map(as_json, wanted))
    try:
        return float(str(found)) == float(str(wanted))
    except ValueError:
        return found == wanted


def _put_alarm(deployment: Deployment, alarm: Resource) -> str:
    if holds_unknown(alarm.properties):
        return made_again(deployment, alarm.logical_id)
    stated = as_json(dict(alarm.properties))
    return aws(deployment, "cloudwatch", "put-metric-alarm", "--cli-input-json", stated)


def state(deployment: Deployment, alarm: Resource) -> Iterator[Verdict]:
    """Look whether an alarm is raised now."""
    found = _found_alarm(deployment, alarm)
    if found.get("StateValue") == "ALARM":
        what = f"in alarm: {visible(found.get('AlarmDescription') or alarm.physical_id, 300)}"
        yield warning(what, "do what the alarm says; it ends by itself when its cause does")
