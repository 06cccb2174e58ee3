"""What a channel's sender sends for a canary: on SNS a message that people's subscriptions filter out.

A subscription with the filter policy `{"kind": [{"anything-but": ["canary"]}]}` never sees one.
"""

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types_boto3_sns.type_defs import PublishInputTypeDef

KIND: Final = "canary"
WORDS: Final = (
    "This is a canary of Rootwatch: nothing happened. It proves every hour that an alert would pass. To see none of "
    'them, give your subscription the filter policy {"kind": [{"anything-but": ["canary"]}]}.'
)


def sns_arguments(nonce: str, topic_arn: str) -> "PublishInputTypeDef":
    """Return the arguments of the publish of a canary. Pure."""
    document = json.dumps({"kind": KIND, "severity": "info", "nonce": nonce, "headline": WORDS})
    machines = dict.fromkeys(("email-json", "sqs", "lambda", "https", "http", "firehose"), document)
    return {
        "TopicArn": topic_arn,
        "Subject": "Rootwatch canary: nothing happened",
        "Message": json.dumps({"default": WORDS, "sms": "Rootwatch canary: nothing happened", **machines}),
        "MessageStructure": "json",
        "MessageAttributes": {
            "severity": {"DataType": "String", "StringValue": "info"},
            "kind": {"DataType": "String", "StringValue": KIND},
        },
    }
