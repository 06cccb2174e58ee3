"""The client: what a user agent says of itself, in a name that is short and plain whatever it says."""

import pytest

from rootwatch.context.client import ClientKind, classify

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
EDGE = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Edg/142.0.0.0"
SAFARI = "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15"


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        (FIREFOX, ClientKind.BROWSER, "Firefox 145"),
        (EDGE, ClientKind.BROWSER, "Edge 142"),
        (SAFARI, ClientKind.BROWSER, "Safari 26"),
        ("Mozilla/5.0", ClientKind.BROWSER, None),
        ("Opera/9.80 (X11; Linux)", ClientKind.BROWSER, "Opera"),
        (
            "Mozilla/5.0 (iPhone) AppleWebKit/605.1 CriOS/142.0 Mobile/15E148 Safari/604.1",
            ClientKind.BROWSER,
            "Chrome 142",
        ),
        (
            "Mozilla/5.0 (iPhone) AppleWebKit/605.1 FxiOS/145.0 Mobile/15E148 Safari/605",
            ClientKind.BROWSER,
            "Firefox 145",
        ),
        ("Mozilla/5.0 (X11) HeadlessChrome/142.0 Safari/537.36", ClientKind.BROWSER, "Headless Chrome 142"),
        ("[S3Console/0.4, aws-internal/3]", ClientKind.CONSOLE, "AWS console"),
        ("console.amazonaws.com", ClientKind.CONSOLE, "AWS console"),
        ("EC2ConsoleFrontend, aws-internal/3 aws-sdk-java/1.11.848", ClientKind.CONSOLE, "AWS console"),
        ("AWS Signin, aws-internal/3 aws-sdk-java/1.11.898", ClientKind.CONSOLE, "AWS console"),
        ("aws-cli/2.31.0 md/awscrt#0.27 ua/2.1", ClientKind.CLI, "AWS CLI 2.31.0"),
        ("aws-cli/", ClientKind.CLI, "AWS CLI"),
        ("aws-cli/\u202ehttps://evil.example.com", ClientKind.CLI, "AWS CLI"),
        ("aws-cli/2.1://evil", ClientKind.CLI, "AWS CLI 2.1"),
        ("Boto3/1.43.0 md/Botocore#1.43.0", ClientKind.SDK, "Boto3 1.43.0"),
        ("APN/1.0 HashiCorp/1.0 Terraform/1.9.8 (+https://www.terraform.io)", ClientKind.SDK, "Terraform 1.9.8"),
        ("Terraform/1.9.8", ClientKind.SDK, "Terraform 1.9.8"),
        ("APN/1.0 Pulumi/1.0 PulumiAws/7.2.0", ClientKind.SDK, "Pulumi 7.2.0"),
        ("aws-sdk-go-v2/1.32.3 os/linux lang/go#1.23.1", ClientKind.SDK, "AWS SDK for Go v2 1.32.3"),
        ("aws-sdk-java/2.20.1 Linux/5.4", ClientKind.SDK, "AWS SDK for Java 2.20.1"),
        ("aws-sdk-nodejs/2.1 linux/v18", ClientKind.SDK, "AWS SDK for JavaScript 2.1"),
        ("aws-sdk-cpp/1.11.0 ua/2.1", ClientKind.SDK, "AWS SDK for C++ 1.11.0"),
        ("aws-sdk-unheard-of/1", ClientKind.SDK, "aws-sdk-unheard-of 1"),
        ("AWSPowerShell.Common/4.1.2 .NET_Core/6", ClientKind.SDK, "AWS Tools for PowerShell 4.1.2"),
        ("aws-cli/2 exec-env/CloudShell", ClientKind.CLOUDSHELL, "CloudShell"),
        ("glue.amazonaws.com", ClientKind.SERVICE, "glue.amazonaws.com"),
        ("AWS Internal", ClientKind.SERVICE, "AWS Internal"),
        ("AWS Internal/3", ClientKind.SERVICE, "AWS Internal"),
        ("aws-internal/3 aws-sdk-java/1.11.930 Linux/4.9", ClientKind.SERVICE, "AWS Internal"),
        ("AWS Internal \u202e https://evil.example.com", ClientKind.SERVICE, "AWS Internal"),
        ("curl/8", ClientKind.UNKNOWN, None),
        ("", ClientKind.ABSENT, None),
        ("  ", ClientKind.ABSENT, None),
        (None, ClientKind.ABSENT, None),
    ],
)
def test_kinds(text: str | None, kind: ClientKind, name: str | None) -> None:
    """Browsers, the console, the CLI, SDKs and services are told apart, with a name made of plain characters only."""
    assert (classify(text).kind, classify(text).name) == (kind, name)
