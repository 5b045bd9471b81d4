"""Failed logins make an account wait, longer each time (NIST SP 800-63B, section 3.2.2)."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from libs.service.problems import Problem

MAX_WAIT_SECONDS: Final = 3_600.0
MAX_ENTRIES: Final = 100_000
ADDRESS_FACTOR: Final = 10
"""How many more failures an address may have than an account: many people may share one."""


@dataclass(slots=True)
class _Failures:
    count: int = 0
    wait_until: float = 0.0
    last_at: float = 0.0


class LoginThrottle:
    """Counts failures by account and by address; an hour without one forgets them.

    An account that does not exist is counted like one that does, so waiting tells nobody anything.
    """

    def __init__(
        self, failures: int, wait_seconds: float, *, on: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._allowed = failures
        self._wait = wait_seconds
        self._on = on
        self._clock = clock
        self._failures: dict[str, _Failures] = {}

    def check(self, account: str, address: str) -> None:
        """Raise 429 for one that has to wait; call it before the password is looked at."""
        now = self._clock()
        wait = max(self._wait_of(name, now) for name in (_account(account), _address(address)))
        if self._on and wait > 0:
            seconds = math.ceil(wait)
            raise Problem(
                429,
                "too_many_logins",
                f"Too many failed logins. Try again in {seconds} seconds.",
                headers={"Retry-After": str(seconds)},
            )

    def failed(self, account: str, address: str) -> None:
        """Count a failure."""
        if self._on:
            self._count(_account(account), self._allowed)
            self._count(_address(address), self._allowed * ADDRESS_FACTOR)

    def succeeded(self, account: str) -> None:
        """Forget an account's failures."""
        self._failures.pop(_account(account), None)

    def _wait_of(self, name: str, now: float) -> float:
        known = self._failures.get(name)
        return known.wait_until - now if known is not None else 0.0

    def _count(self, name: str, allowed: int) -> None:
        now = self._clock()
        known = self._failures.pop(name, None)
        if known is None or now - known.last_at > MAX_WAIT_SECONDS:
            known = _Failures()
        known.count += 1
        known.last_at = now
        if known.count >= allowed:
            known.wait_until = now + min(self._wait * 2 ** min(known.count - allowed, 20), MAX_WAIT_SECONDS)
        while len(self._failures) >= MAX_ENTRIES:
            del self._failures[next(iter(self._failures))]
        self._failures[name] = known


def _account(email: str) -> str:
    return f"account {email}"


def _address(address: str) -> str:
    return f"address {address}"
