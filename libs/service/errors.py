"""What stops a service, for a moment or for good.

ServiceError
├── StartupRefused     the service must not start, e.g. because the database holds what it cannot handle
├── SystemFault        not a message's fault: roll back, say not ready, try again
│   └── AlikeFailures  five different keys failed alike in a row: handling itself is broken
└── DecideFailed       a decide function raised; its message is parked
"""

from libs.messaging.message import Message


class ServiceError(Exception):
    """The root of this package's errors."""


class StartupRefused(ServiceError):  # noqa: N818 - what happened
    """Raised by a service's `startup`."""


class SystemFault(ServiceError):  # noqa: N818 - whose it is
    """Raised by load, decide or save for what no message is to blame for."""


class AlikeFailures(SystemFault):
    """Consumption stops instead of filling the dead letters."""


class DecideFailed(ServiceError):  # noqa: N818 - what happened
    """A decide function raised for this message."""

    def __init__(self, message: Message[object], cause: BaseException) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.message = message
        self.cause = cause
