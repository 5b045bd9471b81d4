"""What an audit finds: one broken promise at one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    """`invariant` is its number in the list of promises (I1 … I16), `subject` what it was found at."""

    invariant: str
    subject: str
    finding: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.subject}: {self.finding}"
