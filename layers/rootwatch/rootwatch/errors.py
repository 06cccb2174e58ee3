"""Every error that Rootwatch raises, and whether trying again helps.

RootwatchError
├── UnreadableRecordError       no retry: the input is no CloudTrail record; the dead-letter queue has it, with a reason
├── SettingsError               no retry: the deployment is wrong; the message names the setting
├── DeclarationError            no retry as it is: a declared use that cannot be; the message says what is expected
├── ReportError                 no retry as it is: there is no such report; the message says what is expected
├── RequestRefusedError        no retry as it is: what came to triage is not proved to be whose it says, or not whole
├── StoreError
│   ├── StoreConflictError      retry at once: somebody else wrote this account; read again, fold again
│   ├── TransactionTooLargeError  no retry as it is: split the batch
│   ├── StoreUnavailableError   retry later: throttled, timed out or out of reach; the write may have taken effect
│   └── DamagedItemError        no retry: an item of ours cannot be understood; somebody or something changed it
├── LookUpFailedError           retry later: nobody said whose address or account it is; the alert is due without it
└── DeliveryError
    ├── DeliveryFailedError     retry later: refused for now, timed out or out of reach
    ├── NothingDeliveredError   retry later: of a whole batch nothing was delivered
    └── DeliveryRefusedError    no retry as it is: the channel said no for good; the message says what to mend
        ├── MessageRefusedError no retry as it is: the channel does not take this form; a plainer one may pass
        └── ThreadRefusedError  no retry in this thread: it is gone or locked; the channel itself may take the alert
"""


class RootwatchError(Exception):
    """Something that Rootwatch itself recognised as wrong."""


class UnreadableRecordError(RootwatchError):
    """What arrived is not a CloudTrail record. A retry cannot help; the reason holds nothing of the content."""


class SettingsError(RootwatchError):
    """A setting of this function is missing or malformed. A retry cannot help before the deployment is mended."""


class DeclarationError(RootwatchError):
    """A declared use that cannot be, for one of its fields. A retry cannot help; the message says what is expected."""


class ReportError(RootwatchError):
    """A report that cannot be made of what was given. A retry cannot help; the message says what is expected."""


class RequestRefusedError(RootwatchError):
    """A request to triage that is not proved to be whose it says, or not whole. The text holds nothing of it."""

    def __init__(self, status: int, reason: str) -> None:
        """Keep the status to answer with: 401 for what is not proved, 400 for what cannot be read."""
        super().__init__(reason)
        self.status = status


class StoreError(RootwatchError):
    """The audit table could not do what was asked."""


class StoreConflictError(StoreError):
    """The account's head moved between our reading and our writing. Nothing was written: read again and fold again."""


class TransactionTooLargeError(StoreError):
    """One transaction holds 100 actions and 4 MB. Nothing was written: split the batch and try its parts."""


class StoreUnavailableError(StoreError):
    """The table throttled, timed out or was out of reach. A retry helps; the write may have taken effect already."""


class DamagedItemError(StoreError):
    """An item of the audit table cannot be understood. A retry cannot help: something else than us changed it."""


class LookUpFailedError(RootwatchError):
    """Nobody said whose address or account it is. A retry may help; the alert is due without it."""


class DeliveryError(RootwatchError):
    """An alert could not be delivered on a channel."""


class DeliveryFailedError(DeliveryError):
    """The channel did not take the alert this time. A retry helps, not before `retry_after` seconds have passed."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """Keep the seconds that the channel asked us to wait, or None where it named none."""
        super().__init__(message)
        self.retry_after = retry_after


class NothingDeliveredError(DeliveryError):
    """Of a batch nothing was delivered. A retry helps; raised so that Lambda counts an error, which has an alarm."""


class DeliveryRefusedError(DeliveryError):
    """The channel refused the alert for good. The message says what a person has to mend."""


class MessageRefusedError(DeliveryRefusedError):
    """The channel does not take the message in this form. The same alert in a plainer one may pass."""


class ThreadRefusedError(DeliveryRefusedError):
    """The thread, or the message that it begins with, is gone or locked. Outside of it the alert may pass."""
