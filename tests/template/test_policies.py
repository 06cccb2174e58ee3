"""Who may do what: the roles of the functions, the policies of queues, topics and the key."""

import re
from typing import Any

import pytest

from rootwatch.probe import CANARY_SOURCE, TAG_KEY
from tests.template.stack import ACCOUNT, Stack, statements

FUNCTIONS = (
    "DetectFunction",
    "NotifySnsFunction",
    "NotifySlackFunction",
    "TriageFunction",
    "WatchdogFunction",
    "ReportFunction",
)
# The only resources that end in a wildcard: a log group's ARN covers its streams, ListStreams knows no single stream,
# the report's three files are named by their month.
WILDCARD_RESOURCES = re.compile(
    r":log-group:/aws/lambda/[a-z-]+:\*$|:table/[a-z-]+/stream/\*$|^arn-of-ReportBucket/root-usage-\*$"
    r"|^arn:aws:iam::\*:role/[a-z-]+-posture$"  # the members' accounts are not known to the template
)
# IAM's actions about the account itself, which know no resource.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
WITHOUT_RESOURCE = ["iam:GenerateCredentialReport", "iam:GetCredentialReport", "iam:GetAccountSummary"]
TLS_ONLY = {"Bool": {"aws:SecureTransport": "false"}}
OF_THIS_ACCOUNT = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def role_of(stack: Stack, function: str) -> dict[str, object]:
    """Return the properties of the role that a function runs as."""
    arn = stack.resources[function]["Properties"]["Role"]
    [role] = [role for key, role in stack.of_type("AWS::IAM::Role").items() if stack.arn(key) == arn]
    return role


def allowed(stack: Stack, function: str) -> list[dict[str, object]]:
    """Return every statement that a function's role has."""
    policies = role_of(stack, function)["Policies"]
    assert isinstance(policies, list)
    return [statement for policy in policies for statement in statements(policy["PolicyDocument"])]


def all_policies(stack: Stack) -> list[dict[str, object]]:
    """Return the statements of every policy in the stack, whoever holds it."""
    documents = [
        *(role["AssumeRolePolicyDocument"] for role in stack.of_type("AWS::IAM::Role").values()),
        *(p["PolicyDocument"] for role in stack.of_type("AWS::IAM::Role").values() for p in role["Policies"]),
        *(policy["PolicyDocument"] for policy in stack.of_type("AWS::SQS::QueuePolicy").values()),
        *(policy["PolicyDocument"] for policy in stack.of_type("AWS::SNS::TopicPolicy").values()),
        *(policy["PolicyDocument"] for policy in stack.of_type("AWS::S3::BucketPolicy").values()),
        *(key["KeyPolicy"] for key in stack.of_type("AWS::KMS::Key").values()),
    ]
    return [statement for document in documents for statement in statements(document)]


def test_sids_are_sentences(stack: Stack) -> None:
    """Every statement of every policy says in its Sid, as a sentence of three words or more, what it is for."""
    policies = all_policies(stack)

    assert len(policies) > 30
    for statement in policies:
        assert re.fullmatch(r"(?:[A-Z][a-z0-9]*){3,}", str(statement.get("Sid", ""))), statement


def test_a_role_for_each_function(stack: Stack) -> None:
    """No two functions share a role, no role belongs to no function, and none borrows a managed policy."""
    roles = [role_of(stack, function)["RoleName"] for function in FUNCTIONS]

    assert len(set(roles)) == len(roles)
    assert set(roles) == {role["RoleName"] for role in stack.of_type("AWS::IAM::Role").values()}
    for role in stack.of_type("AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role


@pytest.mark.parametrize("function", FUNCTIONS)
def test_roles_have_no_wildcards(stack: Stack, function: str) -> None:
    """A function may take named actions on one ARN per statement, with the two wildcards that cannot be avoided."""
    for statement in allowed(stack, function):
        actions, resources = statement["Action"], statement["Resource"]
        assert isinstance(actions, list)
        assert isinstance(resources, list)
        assert statement["Effect"] == "Allow"
        assert not [action for action in actions if "*" in action]
        assert len(resources) == 1
        known = WILDCARD_RESOURCES.search(resources[0]) or actions == WITHOUT_RESOURCE
        assert "*" not in resources[0] or known


@pytest.mark.parametrize("function", FUNCTIONS)
def test_rows_are_bounded_by_their_keys(stack: Stack, function: str) -> None:
    """Each permission on the table names the keys it covers, and a request that states no key is refused."""
    table = stack.arn("AuditTable")
    on_the_table = [statement for statement in allowed(stack, function) if statement["Resource"] == [table]]

    assert on_the_table
    for statement in on_the_table:
        condition = statement["Condition"]
        assert isinstance(condition, dict)
        if statement["Action"] == ["dynamodb:Scan"]:  # which states no keys; it sees nothing but partition keys instead
            assert condition["ForAllValues:StringEquals"] == {"dynamodb:Attributes": ["pk"]}
            assert function == "ReportFunction"
            continue
        keys = condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
        assert keys
        assert "*" not in keys
        assert condition["Null"] == {"dynamodb:LeadingKeys": "false"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nobody_deletes_evidence(stack: Stack, function: str) -> None:
    """No function may delete an item of the table or change one in part, and a notifier may not touch the records."""
    on_the_table = [s for s in allowed(stack, function) if s["Resource"] == [stack.arn("AuditTable")]]
    actions = {action for s in on_the_table for action in s["Action"]}  # type: ignore[attr-defined]

    assert actions <= {"dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:Scan"}
    if function.startswith("Notify"):
        assert "EVENTS#" not in str(on_the_table)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_use_what_it_is_told_of(stack: Stack, function: str) -> None:
    """The table, queue, topic or secret that a function's environment names is also allowed to its role."""
    variables = stack.resources[function]["Properties"]["Environment"]["Variables"]
    resources = {resource for s in allowed(stack, function) for resource in s["Resource"]}  # type: ignore[attr-defined]
    named = {
        "INTAKE_DEAD_LETTER_QUEUE_URL": stack.arn("IntakeDeadLetterQueue"),
        "RULE_DEAD_LETTER_QUEUE_URL": stack.arn("RuleDeadLetterQueue"),
        "OPERATIONS_TOPIC_ARN": stack.arn("OperationsTopic"),
        "TABLE_NAME": stack.arn("AuditTable"),
        "DEAD_LETTER_QUEUE_URL": stack.arn(
            "IntakeDeadLetterQueue" if function == "DetectFunction" else "NotifyDeadLetterQueue"
        ),
        "ALERT_TOPIC_ARN": stack.arn("AlertTopic"),
        "ESCALATION_TOPIC_ARN": stack.arn("EscalationTopic"),
        "SLACK_SECRET_ID": stack.arn("SlackSecret"),
        "REPORT_BUCKET": f"{stack.arn('ReportBucket')}/root-usage-*",
    }

    assert {named[variable] for variable in variables if variable in named} <= resources


def test_organizations_is_asked_only_where_that_is_wanted(stack: Stack) -> None:
    """No role may ask Organizations unless the parameter says so; then who composes alerts may read a name, no more."""
    assert "organizations:" not in str(all_policies(stack))

    named = Stack(LookUpAccountNames="true")
    asking = {function: [s for s in allowed(named, function) if "organizations" in str(s)] for function in FUNCTIONS}
    for function in ("DetectFunction", "WatchdogFunction"):
        [statement] = asking.pop(function)
        assert statement["Action"] == ["organizations:DescribeAccount"]
        assert statement["Resource"] == ["arn:aws:organizations::*:account/o-*/*"]
    assert not any(asking.values())


def test_who_keeps_what_was_looked_up(stack: Stack) -> None:
    """Of the cache watchdog and report have the names of accounts, detect all, and the notifiers nothing."""
    cached = {function: set(re.findall(r"CACHE#[a-z*-]+", str(allowed(stack, function)))) for function in FUNCTIONS}
    assert cached == {
        "DetectFunction": {"CACHE#*"},
        "NotifySnsFunction": set(),
        "NotifySlackFunction": set(),
        "TriageFunction": set(),
        "WatchdogFunction": {"CACHE#account-name", "CACHE#service"},
        "ReportFunction": {"CACHE#account-name"},
    }


def test_the_watchdog_scans_an_index_and_writes_no_records(stack: Stack) -> None:
    """The watchdog may scan two indexes, which hold keys only, and query records, but write none and scan no table."""
    table = stack.arn("AuditTable")
    statements = allowed(stack, "WatchdogFunction")
    scanned = [s["Resource"] for s in statements if "dynamodb:Scan" in str(s["Action"])]
    queried = [s["Resource"] for s in statements if "dynamodb:Query" in str(s["Action"])]
    of_records = [s["Action"] for s in statements if "EVENTS#" in str(s)]

    assert scanned == [[f"{table}/index/open-incidents"], [f"{table}/index/unanswered"]]
    assert queried == [
        *([f"{table}/index/{name}"] for name in ("open-incidents", "account-incidents", "undelivered")),
        [table],
        [table],
    ]
    assert of_records == [["dynamodb:Query"]]


def test_the_watchdog_sends_canaries_and_tags_one_rule(stack: Stack) -> None:
    """On the event bus the watchdog may put its canary and nothing else, and on the root rule its one tag."""
    of_events = {s["Action"][0]: s for s in allowed(stack, "WatchdogFunction") if "events:" in str(s["Action"])}  # type: ignore[index]
    put, tag = of_events.pop("events:PutEvents"), of_events.pop("events:TagResource")

    assert not of_events
    assert put["Resource"] == [f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/default"]
    assert put["Condition"] == {"StringEquals": {"events:source": CANARY_SOURCE}}
    assert tag["Resource"] == [stack.arn("RootRule")]
    assert tag["Condition"] == {
        "ForAllValues:StringEquals": {"aws:TagKeys": [TAG_KEY]},
        "Null": {"aws:TagKeys": "false"},
    }
    assert not [f for f in FUNCTIONS if f != "WatchdogFunction" and "events:" in str(allowed(stack, f))]


def test_the_slack_secret_is_read_by_those_who_send(stack: Stack) -> None:
    """Besides watchdog and report, only notify_slack and triage may read the secret, and only notify_sns publish."""
    secret, topic = stack.arn("SlackSecret"), stack.arn("AlertTopic")

    def users(resource: str) -> list[str]:
        return [f for f in FUNCTIONS if any(s["Resource"] == [resource] for s in allowed(stack, f))]

    assert users(secret) == ["NotifySlackFunction", "TriageFunction", "WatchdogFunction", "ReportFunction"]
    assert users(topic) == ["NotifySnsFunction", "WatchdogFunction", "ReportFunction"]
    assert users(stack.arn("EscalationTopic")) == ["NotifySnsFunction", "WatchdogFunction"]
    assert users(stack.arn("OperationsTopic")) == ["WatchdogFunction"]


@pytest.mark.parametrize("queue", ["IntakeDeadLetterQueue", "RuleDeadLetterQueue", "NotifyDeadLetterQueue"])
def test_the_watchdog_counts_dead_letters_and_takes_none(stack: Stack, queue: str) -> None:
    """The watchdog may count each queue's dead letters, and can neither read nor remove one."""
    [statement] = [s for s in allowed(stack, "WatchdogFunction") if s["Resource"] == [stack.arn(queue)]]
    assert isinstance(statement["Action"], list)
    assert "sqs:GetQueueAttributes" in statement["Action"]
    assert set(statement["Action"]) <= {"sqs:GetQueueAttributes", "sqs:SendMessage"}


def test_the_report_reads_all_and_writes_its_files_and_receipts_only(stack: Stack) -> None:
    """In the table the report writes what became of it alone; its files it can neither read nor remove."""
    actions = {action for s in allowed(stack, "ReportFunction") for action in s["Action"]}  # type: ignore[attr-defined]
    writing: Any = [s for s in allowed(stack, "ReportFunction") if "dynamodb:PutItem" in str(s["Action"])]

    assert [s["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] for s in writing] == [["REPORT"]]
    assert [action for action in actions if action.startswith("s3:")] == ["s3:PutObject"]


def test_the_bucket_of_reports_is_private_and_refuses_plain_http(stack: Stack) -> None:
    """Nothing in the bucket is public, and nobody talks to it without TLS."""
    bucket = stack.resources["ReportBucket"]["Properties"]
    [policy] = stack.of_type("AWS::S3::BucketPolicy").values()
    [statement] = statements(policy["PolicyDocument"])

    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert (statement["Effect"], statement["Principal"], statement["Condition"]) == ("Deny", "*", TLS_ONLY)
    assert statement["Resource"] == [stack.arn("ReportBucket"), f"{stack.arn('ReportBucket')}/*"]


@pytest.mark.parametrize("function", ["NotifySnsFunction", "WatchdogFunction", "ReportFunction"])
def test_who_publishes_may_encrypt(stack: Stack, function: str) -> None:
    """A function that publishes to an encrypted topic may use its key, through SNS only."""
    [statement] = [s for s in allowed(stack, function) if s["Resource"] == [stack.arn("RootwatchKey")]]
    assert statement["Action"] == ["kms:GenerateDataKey", "kms:Decrypt"]
    assert statement["Condition"] == {"StringEquals": {"kms:ViaService": "sns.us-east-1.amazonaws.com"}}


def test_queues_refuse_plain_http(stack: Stack) -> None:
    """Every queue has one policy, and it denies everybody everything without TLS on that very queue."""
    policies = stack.of_type("AWS::SQS::QueuePolicy").values()
    denied = [
        statement["Resource"]
        for policy in policies
        for statement in statements(policy["PolicyDocument"])
        if (statement["Effect"], statement["Principal"], statement["Action"], statement.get("Condition"))
        == ("Deny", "*", ["sqs:*"], TLS_ONLY)
    ]

    assert sorted(denied) == sorted([stack.arn(queue)] for queue in stack.of_type("AWS::SQS::Queue"))


def test_topics_refuse_plain_http(stack: Stack) -> None:
    """Every topic has one policy, and it denies everybody to publish without TLS on that very topic."""
    policies = stack.of_type("AWS::SNS::TopicPolicy").values()
    denied = [
        statement["Resource"]
        for policy in policies
        for statement in statements(policy["PolicyDocument"])
        if (statement["Effect"], statement["Principal"], statement["Action"], statement.get("Condition"))
        == ("Deny", "*", ["sns:Publish"], TLS_ONLY)
    ]

    assert sorted(denied) == sorted([stack.arn(topic)] for topic in stack.of_type("AWS::SNS::Topic"))


@pytest.mark.parametrize("queue", ["IntakeQueue", "RuleDeadLetterQueue"])
def test_only_our_rules_fill_the_queues(stack: Stack, queue: str) -> None:
    """EventBridge may put messages on the two queues it needs, on behalf of our rules and of no other."""
    [policy] = [
        policy
        for policy in stack.of_type("AWS::SQS::QueuePolicy").values()
        if policy["Queues"] == [stack.resolve({"Ref": queue})]
    ]
    [statement] = [s for s in statements(policy["PolicyDocument"]) if s["Effect"] == "Allow"]

    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Action"] == ["sqs:SendMessage"]
    assert statement["Resource"] == [stack.arn(queue)]
    rules = [stack.arn(rule) for rule in ("RootRule", "TamperRule", "ForwardedRule")]
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": rules}}


def test_the_key_admits_those_who_publish(stack: Stack) -> None:
    """EventBridge, CloudWatch and SNS may encrypt with the topics' key; otherwise a topic silently receives nothing."""
    services = {
        statement["Principal"]["Service"]: statement
        for statement in statements(stack.of_type("AWS::KMS::Key")["RootwatchKey"]["KeyPolicy"])
        if "Service" in statement["Principal"]
    }

    assert set(services) == {"events.amazonaws.com", "cloudwatch.amazonaws.com", "sns.amazonaws.com"}
    for statement in services.values():
        assert statement["Effect"] == "Allow"
        assert set(statement["Action"]) == {"kms:GenerateDataKey*", "kms:Decrypt"}
    assert "Condition" not in services["cloudwatch.amazonaws.com"]  # AWS documents none: it could silence every alarm
    assert services["sns.amazonaws.com"]["Condition"] == OF_THIS_ACCOUNT


def test_eventbridge_meets_no_condition_on_its_way_to_the_topic(stack: Stack) -> None:
    """EventBridge states no source when it publishes to such a topic: a condition would silence the tamper rule."""
    key = statements(stack.of_type("AWS::KMS::Key")["RootwatchKey"]["KeyPolicy"])
    topic = statements(stack.of_type("AWS::SNS::TopicPolicy")["OperationsTopicPolicy"]["PolicyDocument"])
    of_eventbridge = [s for s in (*key, *topic) if s["Principal"] == {"Service": "events.amazonaws.com"}]

    assert len(of_eventbridge) == 2
    for statement in of_eventbridge:
        assert "Condition" not in statement


def test_who_publishes_to_the_operations_topic(stack: Stack) -> None:
    """EventBridge and this stack's alarms may publish operations; no policy admits anybody to the alert topic."""
    operations = statements(stack.of_type("AWS::SNS::TopicPolicy")["OperationsTopicPolicy"]["PolicyDocument"])
    alerts = statements(stack.of_type("AWS::SNS::TopicPolicy")["AlertTopicPolicy"]["PolicyDocument"])
    by_service = {s["Principal"]["Service"]: s for s in operations if s["Effect"] == "Allow"}

    assert set(by_service) == {"events.amazonaws.com", "cloudwatch.amazonaws.com"}
    for statement in by_service.values():
        assert statement["Action"] == ["sns:Publish"]
        assert statement["Resource"] == [stack.arn("OperationsTopic")]
    condition = by_service["cloudwatch.amazonaws.com"]["Condition"]
    assert condition["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    assert condition["ArnLike"]["aws:SourceArn"].endswith(":alarm:rootwatch-*")
    assert not [s for s in alerts if s["Effect"] == "Allow"]
