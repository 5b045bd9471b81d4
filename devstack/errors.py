"""What can go wrong with the stack: each message is one sentence that names the remedy.

StackError
├── PortTakenError     another program listens where the stack wants to
├── ProcessDiedError   a process of the stack ended while it was waited for
└── NotReadyError      it lives, but did not become ready in time
"""


class StackError(Exception):
    """The stack cannot do what was asked; the message tells the user what to do about it."""


class PortTakenError(StackError):
    """A port that the stack needs is in use."""


class ProcessDiedError(StackError):
    """A process ended while its readiness was being waited for."""


class NotReadyError(StackError):
    """A process did not become ready within its time."""
