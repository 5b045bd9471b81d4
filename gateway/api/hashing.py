"""Password hashing in a few threads of its own, behind a bounded queue (argon2id; OWASP's first choice of cost)."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from libs.service.problems import Problem

T = TypeVar("T")

MEMORY_KIB: Final = 19 * 1024
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=MEMORY_KIB, parallelism=1)


class PasswordHashing:
    """Hashes and verifies; answers 503 when too many wait already."""

    def __init__(self, threads: int, queue: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._room = threads + queue
        self._nobody = hash_password(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        """The hash to store."""
        return await self._run(lambda: hash_password(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password fits; takes as long where there is no account to compare with."""
        fits = await self._run(lambda: _fits(stored or self._nobody, password))
        return fits and stored is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._room <= 0:
            raise Problem(
                503,
                "overloaded",
                "Too many people are signing in right now. Try again.",
                headers={"Retry-After": "2"},
            )
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._room += 1


def hash_password(password: str) -> str:
    """Argon2id with 19 MiB, two passes and one lane; takes some 20 ms of a core."""
    return _HASHER.hash(password)


def outdated(stored: str) -> bool:
    """Whether a stored hash was made at another cost."""
    return _HASHER.check_needs_rehash(stored)


def _fits(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except VerificationError:
        return False
