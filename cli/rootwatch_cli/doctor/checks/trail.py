"""The trail: without one EventBridge gets nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rootwatch.alert import visible
from rootwatch_cli.doctor.checks.verdict import Verdict, as_json, aws, fault, warning
from rootwatch_cli.doctor.deployment import Answer, Deployment, NotReadError


@dataclass(frozen=True, slots=True)
class _Trail:
    """A trail that covers this region: whether it logs, and what of the management events."""

    name: str
    arn: str
    multi_region: bool
    global_events: bool
    logging: bool


def _trails(deployment: Deployment) -> list[_Trail]:
    found = []
    for trail in deployment.answer("cloudtrail:DescribeTrails")["trailList"]:
        if not trail.get("IsMultiRegionTrail") and trail.get("HomeRegion") != deployment.region:
            continue
        arn = str(trail["TrailARN"])
        logging = bool(deployment.answer("cloudtrail:GetTrailStatus", arn).get("IsLogging"))
        multi_region = bool(trail.get("IsMultiRegionTrail"))
        global_events = multi_region or bool(trail.get("IncludeGlobalServiceEvents"))
        found.append(_Trail(str(trail.get("Name")), arn, multi_region, global_events, logging))
    return found


def _logging_trails(deployment: Deployment) -> list[_Trail]:
    """Return the trails that log; raises NotReadError where there is none, so that what follows from them says so."""
    found = [trail for trail in _trails(deployment) if trail.logging]
    if not found:
        message = "no trail logs here; see the check trail"
        raise NotReadError(message)
    return found


def logging(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look whether a trail covers this region, and logs."""
    trails = _trails(deployment)
    stopped = [trail for trail in trails if not trail.logging]
    if not trails:
        yield fault(
            f"no trail covers {deployment.region}: EventBridge gets no record of root at all",
            aws(
                deployment, "cloudtrail", "create-trail", "--name", "management-events", "--is-multi-region-trail",
                "--s3-bucket-name", "BUCKET-OF-YOUR-LOGS",
            ) + ", and then start-logging",
        )  # fmt: skip
    for trail in stopped:
        alone = len(stopped) == len(trails)
        then = "EventBridge gets no record of root at all" if alone else "another trail still logs"
        verdict = fault if alone else warning
        mend = aws(deployment, "cloudtrail", "start-logging", "--name", trail.arn)
        yield verdict(f"the trail {visible(trail.name, 128)} is stopped: {then}", mend)


def all_regions(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look whether a trail logs in all regions, and global services."""
    trails = _logging_trails(deployment)
    if not any(trail.multi_region for trail in trails):
        mend = aws(deployment, "cloudtrail", "update-trail", "--is-multi-region-trail", "--name", trails[0].arn)
        what = f"no trail that logs is for all regions: other regions than {deployment.region} have none, or one apart"
        yield warning(what, mend)
    if not any(trail.global_events for trail in trails):
        mend = aws(deployment, "cloudtrail", "update-trail", "--include-global-service-events", "--name", trails[0].arn)
        yield fault("no trail logs global services: root's sign-ins and all of IAM are missing", mend)


@dataclass(frozen=True, slots=True)
class Logged:
    """What a trail logs of the management events; `excluded` are the services that it leaves out."""

    reads: bool
    writes: bool
    excluded: frozenset[str]


def logged_by(selectors: Answer) -> Logged:
    """Return what a trail logs, out of the answer to GetEventSelectors; a trail without selectors logs all.

    https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedFieldSelector.html
    """
    basic, advanced = selectors.get("EventSelectors") or [], selectors.get("AdvancedEventSelectors") or []
    if advanced:
        parts = [part for each in advanced if (part := _advanced(each["FieldSelectors"])) is not None]
    elif basic:
        parts = [_basic(each) for each in basic if each.get("IncludeManagementEvents", True)]
    else:
        parts = [Logged(reads=True, writes=True, excluded=frozenset())]
    excluded = [part.excluded for part in parts]
    return Logged(
        reads=any(part.reads for part in parts),
        writes=any(part.writes for part in parts),
        # What one selector leaves out another may have.
        excluded=frozenset.intersection(*excluded) if excluded else frozenset(),
    )


def _basic(selector: Answer) -> Logged:
    kind = selector.get("ReadWriteType", "All")
    excluded = frozenset(selector.get("ExcludeManagementEventSources") or ())
    return Logged(reads=kind in {"All", "ReadOnly"}, writes=kind in {"All", "WriteOnly"}, excluded=excluded)


def _advanced(fields: Sequence[Answer]) -> Logged | None:
    by_name = {str(field["Field"]): field for field in fields}
    if "Management" not in (by_name.pop("eventCategory", {}).get("Equals") or ()):
        return None
    read_only = by_name.pop("readOnly", {}).get("Equals") or ("true", "false")
    source = by_name.pop("eventSource", {})
    # Any other condition, or one on services that are to be logged, leaves out the rest: then it is not all of them.
    whole = not by_name and not set(source) - {"Field", "NotEquals"}
    excluded = frozenset(source.get("NotEquals") or ())
    return Logged(reads=whole and "true" in read_only, writes=whole and "false" in read_only, excluded=excluded)


def events(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look whether the trails that log have all management events, reads included."""
    trails = _logging_trails(deployment)
    logged = [logged_by(deployment.answer("cloudtrail:GetEventSelectors", trail.arn)) for trail in trails]
    selectors = as_json([{"ReadWriteType": "All", "IncludeManagementEvents": True}])
    mend = aws(
        deployment, "cloudtrail", "put-event-selectors", "--trail-name", trails[0].arn, "--event-selectors", selectors
    )
    mend += " (this replaces the trail's selectors: add those of your data events)"
    if not any(each.writes for each in logged):
        what = "no trail that logs has all management events that write: what root changes does not reach EventBridge"
        yield fault(what, mend)
    if deployment.parameter("RecordReadOnlyEvents") != "false" and not any(each.reads for each in logged):
        what = (
            "no trail that logs has all management events that read: what root looks at does not reach EventBridge, "
            "nor do some sign-ins (AuthorizeOAuth2Access)"
        )
        yield fault(what, mend)
    excluded = frozenset.intersection(*(each.excluded for each in logged))
    if excluded:
        services = ", ".join(visible(each, 60) for each in sorted(excluded))
        yield warning(f"every trail leaves out {services}: what root does there does not reach EventBridge", mend)
