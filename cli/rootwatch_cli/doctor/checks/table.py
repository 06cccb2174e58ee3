"""The audit table: that it stands, is protected, and tells the notifiers."""

from collections.abc import Iterator

from rootwatch.alert import visible
from rootwatch_cli.doctor.checks.verdict import Verdict, aws, fault, made_again
from rootwatch_cli.doctor.deployment import Deployment, Resource


def _update_table(deployment: Deployment, table: Resource, *arguments: str) -> str:
    return aws(deployment, "dynamodb", "update-table", "--table-name", str(table.physical_id), *arguments)


def standing(deployment: Deployment, table: Resource) -> Iterator[Verdict]:
    """Look whether the table stands, with its indexes, protected against deletion."""
    found = deployment.answer("dynamodb:DescribeTable", table.logical_id)["Table"]
    if found["TableStatus"] not in {"ACTIVE", "UPDATING"}:
        yield fault(
            f"the table is {visible(found['TableStatus'], 60)}: nothing can be recorded", "see the table in AWS"
        )
    if not found.get("DeletionProtectionEnabled"):
        mend = _update_table(deployment, table, "--deletion-protection-enabled")
        yield fault("one call deletes all that was recorded: the table's deletion protection is off", mend)
    indexes = {each["IndexName"] for each in found.get("GlobalSecondaryIndexes", [])}
    missing = {each["IndexName"] for each in table.properties.get("GlobalSecondaryIndexes", [])} - indexes
    if missing:
        what = f"the table has lost its index {', '.join(sorted(missing))}: the watchdog cannot work"
        yield fault(what, made_again(deployment, table.logical_id))


def stream(deployment: Deployment, table: Resource) -> Iterator[Verdict]:
    """Compare the table's stream with the template's."""
    found = deployment.answer("dynamodb:DescribeTable", table.logical_id)["Table"]
    stream, wanted = found.get("StreamSpecification") or {}, table.properties.get("StreamSpecification") or {}
    if not stream.get("StreamEnabled"):
        mend = made_again(deployment, table.logical_id)
        yield fault("the table has no stream: no alert leaves it", f"a stream made by hand is not read by ours; {mend}")
    elif stream.get("StreamViewType") != wanted.get("StreamViewType"):
        what = (
            f"the table's stream shows {visible(stream.get('StreamViewType'), 30)}, not {wanted.get('StreamViewType')}"
        )
        yield fault(what, made_again(deployment, table.logical_id))


def recovery(deployment: Deployment, table: Resource) -> Iterator[Verdict]:
    """Look whether the table can be restored to any moment."""
    found = deployment.answer("dynamodb:DescribeContinuousBackups", table.logical_id)["ContinuousBackupsDescription"]
    recovery = found.get("PointInTimeRecoveryDescription") or {}
    if recovery.get("PointInTimeRecoveryStatus") != "ENABLED":
        mend = aws(
            deployment, "dynamodb", "update-continuous-backups", "--table-name", str(table.physical_id),
            "--point-in-time-recovery-specification", "PointInTimeRecoveryEnabled=true",
        )  # fmt: skip
        yield fault("what somebody changes in the table cannot be undone: its point-in-time recovery is off", mend)


def expiry(deployment: Deployment, table: Resource) -> Iterator[Verdict]:
    """Look whether something in the table expires."""
    found = deployment.answer("dynamodb:DescribeTimeToLive", table.logical_id)["TimeToLiveDescription"]
    if found.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"} and "TimeToLiveSpecification" not in table.properties:
        attribute = found.get("AttributeName")
        specification = f"Enabled=false,AttributeName={attribute}"
        mend = aws(
            deployment, "dynamodb", "update-time-to-live", "--table-name", str(table.physical_id),
            "--time-to-live-specification", specification,
        )  # fmt: skip
        what = (
            f"DynamoDB deletes what was recorded by its attribute {visible(attribute, 60)}: the template sets no expiry"
        )
        yield fault(what, mend)
