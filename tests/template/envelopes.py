"""Small synthetic envelopes, with only the fields that the rules look at."""

from typing import Any

from tests.template.stack import ACCOUNT, KEY_ID

ROOT = {"type": "Root", "arn": f"arn:aws:iam::{ACCOUNT}:root", "accountId": ACCOUNT}
SOMEBODY = {"type": "IAMUser", "arn": f"arn:aws:iam::{ACCOUNT}:user/dana", "accountId": ACCOUNT}
OF_ROOT = {"type": "FederatedUser", "sessionContext": {"sessionIssuer": {"type": "Root"}}}
SERVICE_EVENT = {"accountId": ACCOUNT, "invokedBy": "AWS Internal"}


def envelope(
    service: str, name: str, identity: dict[str, Any] = SOMEBODY, *, source: str = "", read: bool = False, **detail: Any
) -> dict[str, Any]:
    """Return the envelope of one management event; `detail` adds to or replaces fields of the record."""
    return {
        "version": "0",
        "id": "0c6e3a4e-1111-4222-8333-aaaaaaaaaaaa",
        "detail-type": "AWS API Call via CloudTrail",
        "source": source or f"aws.{service}",
        "account": ACCOUNT,
        "time": "2026-11-03T02:48:20Z",
        "region": "us-east-1",
        "resources": [],
        "detail": {
            "eventVersion": "1.11",
            "userIdentity": identity,
            "eventSource": f"{service}.amazonaws.com",
            "eventName": name,
            "readOnly": read,
            "managementEvent": True,
            "requestParameters": None,
            "responseElements": None,
            **detail,
        },
    }


def request(service: str, name: str, /, **parameters: Any) -> dict[str, Any]:
    """Return the envelope of somebody's write with these request parameters."""
    return envelope(service, name, requestParameters=parameters)


ARN = f"us-east-1:{ACCOUNT}"

# What the root rule must see: by whomever, in whatever spelling of the detail-type.
CONCERNS_ROOT = {
    "root signs in": envelope("signin", "ConsoleLogin", ROOT),
    "root reads": envelope("ec2", "DescribeInstances", ROOT, read=True),
    "root signs in for the command line, which is a read": envelope("signin", "CreateOAuth2Token", ROOT, read=True),
    "root writes data, a data event": envelope("s3", "PutObject", ROOT, managementEvent=False),
    "a session that root issued": envelope("ec2", "RunInstances", OF_ROOT),
    "recovery with a thin identity": envelope("signin", "PasswordRecoveryRequested", SERVICE_EVENT),
    "recovery without an identity": envelope("signin", "PasswordRecoveryCompleted", {}),
    "password changed": envelope("signin", "PasswordUpdated", {}),
    "e-mail changed": envelope("iam", "EmailUpdated", {}),
    "e-mail changed by the organization": envelope("account", "AcceptPrimaryEmailUpdate"),
    "AssumeRoot": envelope("sts", "AssumeRoot"),
    "account closed": envelope("organizations", "CloseAccount"),
    "account closed, the service's report": envelope("organizations", "CloseAccountResult", SERVICE_EVENT),
    "account leaves": envelope("organizations", "LeaveOrganization"),
    "account removed": envelope("organizations", "RemoveAccountFromOrganization"),
    "account departed, the service's report": envelope("organizations", "AccountDepartedOrganization", SERVICE_EVENT),
    "IAM's administration delegated": request(
        "organizations", "RegisterDelegatedAdministrator", servicePrincipal="iam.amazonaws.com"
    ),
    "IAM's access to the organization withdrawn": request(
        "organizations", "DisableAWSServiceAccess", servicePrincipal="iam.amazonaws.com"
    ),
    "central root sessions on": envelope("iam", "EnableOrganizationsRootSessions"),
    "central root credentials off": envelope("iam", "DisableOrganizationsRootCredentialsManagement"),
    "billing opened to IAM": envelope("billingconsole", "SetIAMAccessPreference"),
    "sign-in policy set": envelope("signin", "PutConsoleAuthorizationConfiguration"),
    "sign-in statement deleted": envelope("signin", "DeleteResourcePermissionStatement"),
    "trail stopped": envelope("cloudtrail", "StopLogging"),
    "trail narrowed": envelope("cloudtrail", "PutEventSelectors"),
    "insights changed": envelope("cloudtrail", "PutInsightSelectors"),
    "Config changed": envelope("config", "PutConfigurationRecorder"),
    "Config sent elsewhere": envelope("config", "PutDeliveryChannel"),
    "GuardDuty off": envelope("guardduty", "DeleteDetector"),
    "flow logs deleted": envelope("ec2", "DeleteFlowLogs"),
    "tamper rule disabled": request("events", "DisableRule", name="rootwatch-tamper"),
    "tamper rule's targets removed": request("events", "RemoveTargets", rule="rootwatch-tamper", ids=["operations"]),
    "the canary": envelope("signin", "ConsoleLogin", ROOT, source="rootwatch.canary"),
}
NOT_ABOUT_ROOT = {
    "somebody signs in": envelope("signin", "ConsoleLogin"),
    "a user who is called Root": envelope("iam", "CreateUser", {**SOMEBODY, "userName": "Root"}),
    "the word in a request": request("iam", "CreateUser", userIdentity={"type": "Root"}),
    "another service's administration delegated": request(
        "organizations", "RegisterDelegatedAdministrator", servicePrincipal="guardduty.amazonaws.com"
    ),
    "a role assumed": envelope("sts", "AssumeRole", read=True),
    "a service's own event": envelope("kms", "RotateKey", SERVICE_EVENT),
    "another rule disabled": request("events", "DisableRule", name="nightly-report"),
    "a rule that only ends like ours": request("events", "DisableRule", name="my-rootwatch-root"),
    "our rule read": envelope("events", "DescribeRule", read=True, requestParameters={"name": "rootwatch-root"}),
    "forged with PutEvents": envelope("signin", "ConsoleLogin", ROOT, source="custom.signin"),
    "forged for the replay": envelope("signin", "ConsoleLogin", ROOT, source="rootwatch.replay"),
    "a source that only contains aws.": envelope("signin", "ConsoleLogin", ROOT, source="my.aws.signin"),
}

# What the tamper rule must see: every kind of thing that the stack is made of.
TAMPERING = {
    "root rule disabled": request("events", "DisableRule", name="rootwatch-root"),
    "watchdog's schedule disabled": request("events", "DisableRule", name="rootwatch-watchdog"),
    "root rule rewritten": request("events", "PutRule", name="rootwatch-root", eventPattern="{}"),
    "targets removed": request("events", "RemoveTargets", rule="rootwatch-root"),
    "table deleted": request("dynamodb", "DeleteTable", tableName="rootwatch-audit"),
    "table named by its ARN": request(
        "dynamodb", "UpdateTable", tableName=f"arn:aws:dynamodb:{ARN}:table/rootwatch-audit"
    ),
    "recovery switched off": request("dynamodb", "UpdateContinuousBackups", tableName="rootwatch-audit"),
    "policy on the table": request(
        "dynamodb", "PutResourcePolicy", resourceArn=f"arn:aws:dynamodb:{ARN}:table/rootwatch-audit"
    ),
    "queue purged": request(
        "sqs", "PurgeQueue", queueUrl=f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/rootwatch-intake"
    ),
    "queue policy set": request(
        "sqs",
        "SetQueueAttributes",
        queueUrl=f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/rootwatch-rule-dead-letter",
    ),
    "topic changed": request("sns", "SetTopicAttributes", topicArn=f"arn:aws:sns:{ARN}:rootwatch-alerts"),
    "topic deleted": request("sns", "DeleteTopic", topicArn=f"arn:aws:sns:{ARN}:rootwatch-operations"),
    "address removed": request("sns", "Unsubscribe", subscriptionArn=f"arn:aws:sns:{ARN}:rootwatch-alerts:0c6e3a4e"),
    "function deleted": request("lambda", "DeleteFunction20150331", functionName="rootwatch-detect"),
    "function throttled": request(
        "lambda",
        "PutFunctionConcurrency20171031",
        functionName="rootwatch-notify-slack",
        reservedConcurrentExecutions=0,
    ),
    "function named by its ARN": request(
        "lambda", "UpdateFunctionCode20150331v2", functionName=f"arn:aws:lambda:{ARN}:function:rootwatch-detect"
    ),
    "event source mapping off": envelope(
        "lambda",
        "UpdateEventSourceMapping20150331",
        requestParameters={"uUID": "0c6e3a4e", "enabled": False},
        responseElements={"functionArn": f"arn:aws:lambda:{ARN}:function:rootwatch-detect"},
    ),
    "alarm deleted": request("monitoring", "DeleteAlarms", alarmNames=["other", "rootwatch-detect-errors"]),
    "alarm silenced": request("monitoring", "DisableAlarmActions", alarmNames=["rootwatch-detect-errors"]),
    "alarm rewritten": request("monitoring", "PutMetricAlarm", alarmName="rootwatch-intake-delayed"),
    "logs deleted": request("logs", "DeleteLogGroup", logGroupName="/aws/lambda/rootwatch-detect"),
    "role stripped": request("iam", "DeleteRolePolicy", roleName="rootwatch-us-east-1-detect"),
    "webhook replaced": request("secretsmanager", "PutSecretValue", secretId="rootwatch-slack"),
    "webhook deleted by ARN": request(
        "secretsmanager", "DeleteSecret", secretId=f"arn:aws:secretsmanager:{ARN}:secret:rootwatch-slack-AbCdEf"
    ),
    "key deleted by id": request("kms", "ScheduleKeyDeletion", keyId=KEY_ID),
    "key disabled by ARN": request("kms", "DisableKey", keyId=f"arn:aws:kms:{ARN}:key/{KEY_ID}"),
    "stack deleted": request("cloudformation", "DeleteStack", stackName="rootwatch"),
    "stack updated by ARN": request(
        "cloudformation", "UpdateStack", stackName=f"arn:aws:cloudformation:{ARN}:stack/rootwatch/0c6e3a4e"
    ),
    "another reader of the stream": request(
        "lambda",
        "CreateEventSourceMapping20150331",
        functionName="other",
        eventSourceArn=f"arn:aws:dynamodb:{ARN}:table/rootwatch-audit/stream/2026-11-01T00:00:00.000",
    ),
    "rule untagged": request("events", "UntagResource", resourceARN=f"arn:aws:events:{ARN}:rule/rootwatch-root"),
    "layer deleted": request("lambda", "DeleteLayerVersion20181031", layerName="rootwatch-layer"),
    "queue made in place of ours": request("sqs", "CreateQueue", queueName="rootwatch-intake"),
    "bus opened to somebody": request("events", "PutPermission", eventBusName="rootwatch-forwarded", statementId="x"),
    "somebody reads along on the bus": request("events", "PutRule", name="copy", eventBusName="rootwatch-forwarded"),
    "alias moved": request("kms", "UpdateAlias", aliasName="alias/rootwatch"),
    "named only among the resources": envelope(
        "dynamodb",
        "DeleteBackup",
        resources=[{"ARN": "other"}, {"ARN": f"arn:aws:dynamodb:{ARN}:table/rootwatch-audit"}],
    ),
    "attempt that was denied": envelope(
        "events", "DisableRule", requestParameters={"name": "rootwatch-root"}, errorCode="AccessDenied"
    ),
}
OUR_OWN_WORK_OR_NOT_OURS = {
    "Lambda opens a log stream": request("logs", "CreateLogStream", logGroupName="/aws/lambda/rootwatch-detect"),
    "a service's grant on the key": request("kms", "CreateGrant", keyId=KEY_ID),
    "a grant returned": request("kms", "RetireGrant", keyId=KEY_ID),
    "the topic's message encrypted": envelope("kms", "GenerateDataKey", read=True, requestParameters={"keyId": KEY_ID}),
    "an item written, a data event": envelope(
        "dynamodb", "PutItem", managementEvent=False, requestParameters={"tableName": "rootwatch-audit"}
    ),
    "a message sent, a data event": envelope(
        "sqs",
        "SendMessage",
        managementEvent=False,
        requestParameters={"queueUrl": f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/rootwatch-intake-dead-letter"},
    ),
    "the watchdog's heartbeat": request(
        "events", "TagResource", resourceARN=f"arn:aws:events:{ARN}:rule/rootwatch-root"
    ),
    "the webhook read": envelope(
        "secretsmanager", "GetSecretValue", read=True, requestParameters={"secretId": "rootwatch-slack"}
    ),
    "the table looked at": envelope(
        "dynamodb", "DescribeTable", read=True, requestParameters={"tableName": "rootwatch-audit"}
    ),
    "another table deleted": request("dynamodb", "DeleteTable", tableName="orders"),
    "another key deleted": request("kms", "ScheduleKeyDeletion", keyId="00000000-12ab-34cd-56ef-1234567890ab"),
    "another stack deleted": request("cloudformation", "DeleteStack", stackName="orders"),
    "our name as a value": request(
        "iam", "TagRole", roleName="orders", tags=[{"key": "watched", "value": "rootwatch-audit"}]
    ),
    "forged with PutEvents": envelope(
        "events", "DisableRule", source="custom.events", requestParameters={"name": "rootwatch-root"}
    ),
}
