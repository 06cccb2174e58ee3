"""What root does that no other detection names: refused, written, read, or done by a service on its behalf."""

from rootwatch.detections.detection import MONITORED_ROOT_USE, Detection, OwnResources, Severity
from rootwatch.record import ActorKind, Outcome, Record


def _denied(record: Record, _own: OwnResources) -> Severity | None:
    return Severity.MEDIUM if record.actor.by_root and record.outcome is Outcome.DENIED else None


def _service_acted(record: Record, _own: OwnResources) -> Severity | None:
    return Severity.INFO if record.actor.by_root and record.actor.kind is ActorKind.AWS_SERVICE else None


def _write(record: Record, _own: OwnResources) -> Severity | None:
    by_person = record.actor.by_root and record.actor.kind is not ActorKind.AWS_SERVICE
    return Severity.MEDIUM if by_person and not record.read_only else None


def _read(record: Record, _own: OwnResources) -> Severity | None:
    by_person = record.actor.by_root and record.actor.kind is not ActorKind.AWS_SERVICE
    return Severity.INFO if by_person and record.read_only else None


DENIED = Detection(
    id="root.denied",
    title="Root was refused",
    done="was refused",
    tried="was refused",
    why="Root is refused only by a service control policy, a resource policy or a task policy: somebody met a fence.",
    severity_rule="Medium, beside the detection of what was tried, which keeps its own severity.",
    techniques=("T1078.004",),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Read errorCode and errorMessage: which policy refused it?",
        "Ask the root custodian what they were about to do at eventTime.",
        "Read every record of the same session in the hour around eventTime.",
    ),
    rule=_denied,
)
WRITE = Detection(
    id="root.write",
    title="Root changed something",
    done="changed something",
    tried="tried to change something",
    why="Hardly any change needs root; what a role could have done should not be done as root.",
    severity_rule="Medium, and only where nothing else fits but access_key_used.",
    techniques=("T1078.004",),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Ask the root custodian for the reason and the ticket of this change.",
        "Read requestParameters: what was changed, and does it open access to anybody?",
        "Read every record of the same session in the hour around eventTime.",
    ),
    rule=_write,
)
READ = Detection(
    id="root.read",
    title="Root looked at something",
    done="looked at something",
    tried="tried to look at something",
    why="Reading needs no root; it may be a person in the console, or somebody finding out what there is.",
    severity_rule="Info, and only where nothing else fits but access_key_used.",
    techniques=("T1580",),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Ask the root custodian whether they were signed in at eventTime.",
        "Compare sourceIPAddress with the addresses root used in the last 90 days.",
        "Read the incident's summary: which services and regions were looked at?",
    ),
    rule=_read,
)
SERVICE_ACTED = Detection(
    id="root.service_acted",
    title="An AWS service acted on root's behalf",
    done="acted on root's behalf",
    tried="tried to act on root's behalf",
    why="It follows from something that root set up earlier; by itself it is no use of root's credentials.",
    severity_rule=(
        "Info, in place of read and write only: anything else that the service does for root keeps its own severity."
    ),
    techniques=(),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Nothing now: it is kept for the monthly report.",
        "If userIdentity.invokedBy surprises you, find the resource that root created there.",
        "Give that resource to a role, so that the service no longer acts for root.",
    ),
    rule=_service_acted,
)
