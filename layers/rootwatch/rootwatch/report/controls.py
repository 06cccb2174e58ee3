"""Which items of control frameworks the report supports, and where. It claims support, never compliance."""

from typing import Final

CONTROLS: Final = (
    ("CIS AWS Foundations 3.0.0", "1.4, 1.5 root keys and MFA", "Credential posture"),
    ("CIS AWS Foundations 3.0.0", "1.7 root is not used daily; 4.3 its use is monitored", "Statement, register"),
    ("CIS AWS Foundations 5.0.0", "1.3, 1.4, 1.6 keys, MFA, use; 4.3 monitored", "Posture, statement, register"),
    ("PCI DSS 4.0.1", "8.2.2 shared id only by exception: reason, approval, who", "Register"),
    ("PCI DSS 4.0.1", "8.4.1 MFA for administrative access; 10.2.1.2 acts of administrators", "Exceptions, register"),
    ("NIST 800-53 r5", "AC-6(9) privileged use is logged; AU-6 reviewed and reported", "Register, sign-off"),
    ("NIST 800-53 r5", "AU-9, AU-10 records are protected, and changes of them show", "Integrity"),
    ("SOC 2", "CC6.1 access to the account; CC7.2 detection worked all period", "Statement, operation"),
    ("SOC 2", "CC7.3, CC7.4 what was found was evaluated and answered", "Timing, register"),
    ("ISO/IEC 27001:2022", "A.5.15, A.5.17, A.8.2, A.8.5 privileged access and authentication", "Register, posture"),
    ("ISO/IEC 27001:2022", "A.8.15, A.8.16 logging and monitoring", "Operation, integrity"),
)
"""Framework, its items in a few words, and the part of the report that supports them."""

CAUTION: Final = (
    "This table claims support, not compliance: whether a control is met is for its assessor to say. CIS 4.3 and "
    "Security Hub's CloudWatch.1 look for a metric filter with an alarm; Rootwatch works through EventBridge, so such "
    "a scanner may fail the item although root use is monitored."
)
