"""The simulated card provider's books: one row per idempotency key, durable in a SQLite file.

A late charge is a row with the time at which it captures: its status follows from the clock, so a restart in
between changes nothing. Every method is one transaction.
"""

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

Status = Literal["captured", "refused", "voided", "refunded", "pending"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
    idempotency_key TEXT PRIMARY KEY,
    status TEXT NOT NULL CHECK (status IN ('pending', 'captured', 'refused', 'voided', 'refunded')),
    reference TEXT NOT NULL,
    reason TEXT,
    token TEXT,
    amount_minor INTEGER NOT NULL,
    currency TEXT,
    captures_at REAL,
    captured_minor INTEGER NOT NULL DEFAULT 0,
    refunded_minor INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value REAL NOT NULL);
"""
_FIND = """
SELECT status, reference, reason, token, amount_minor, currency, captures_at, captured_minor, refunded_minor
FROM charges WHERE idempotency_key = ?
"""


class Charge(NamedTuple):
    """What is known under one idempotency key; a key burnt before it was used has no token."""

    status: Status
    reference: str
    reason: str | None
    token: str | None
    amount_minor: int
    currency: str | None
    captures_at: float | None
    captured_minor: int
    refunded_minor: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The provider's mood, kept over restarts."""

    refuse_refunds: bool = False
    late_seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class Request:
    """A charge as the merchant asks for it."""

    key: str
    amount_minor: int
    currency: str
    token: str


class KeyReusedError(Exception):
    """The key is known with another amount or token."""


class RefundRefusedError(Exception):
    """The money is not given back; the argument says why."""


class Charges:
    """The books; `now` gives seconds since the epoch."""

    def __init__(self, file: Path, now: Callable[[], float]) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._now = now
        self._database = sqlite3.connect(file, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing by this
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def charge(self, request: Request) -> Charge | None:
        """Do what the token stands for, once per key; None for tok_silent, which leaves no trace."""
        with self._transaction():
            known = self._find(request.key)
            if known is None:
                return self._first_charge(request)
            if known.token is not None and (known.token, known.amount_minor, known.currency) != (
                request.token,
                request.amount_minor,
                request.currency,
            ):
                raise KeyReusedError(request.key)
            return known

    def find(self, key: str) -> Charge | None:
        """Answer a status query."""
        with self._transaction():
            return self._find(key)

    def void(self, key: str) -> Charge:
        """Burn the key: nothing is ever captured under it again, and what was is given back."""
        with self._transaction():
            known = self._find(key)
            if known is None:
                return self._insert(key, Charge("voided", _reference(), None, None, 0, None, None, 0, 0))
            match known.status:
                case "voided" | "refunded":
                    return known
                case "pending" | "refused":
                    return self._update(key, known._replace(status="voided", captures_at=None))
                case "captured":
                    self._give_back_allowed()
                    return self._update(
                        key, known._replace(status="voided", refunded_minor=known.captured_minor)
                    )

    def refund(self, key: str) -> Charge:
        """Give a captured charge back; a repeat, or one that a void gave back, changes nothing."""
        with self._transaction():
            known = self._find(key)
            if known is None or known.captured_minor == 0:
                raise RefundRefusedError("nothing_captured")
            if known.refunded_minor > 0:
                return known
            self._give_back_allowed()
            return self._update(key, known._replace(status="refunded", refunded_minor=known.captured_minor))

    def everything(self) -> dict[str, Charge]:
        """Every key with its charge, for the auditor."""
        with self._transaction():
            rows = self._database.execute("SELECT idempotency_key FROM charges ORDER BY rowid").fetchall()
            found = {str(key): self._find(key) for (key,) in rows}
            return {key: charge for key, charge in found.items() if charge is not None}

    def settings(self) -> Settings:
        """Read the mood."""
        kept = dict(self._database.execute("SELECT name, value FROM settings").fetchall())
        default = Settings()
        return Settings(
            refuse_refunds=bool(kept.get("refuse_refunds", default.refuse_refunds)),
            late_seconds=float(kept.get("late_seconds", default.late_seconds)),
        )

    def set(self, settings: Settings) -> None:
        """Change the mood, for charges and refunds from now on."""
        with self._transaction():
            self._database.executemany(
                "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                [("refuse_refunds", settings.refuse_refunds), ("late_seconds", settings.late_seconds)],
            )

    def _first_charge(self, request: Request) -> Charge | None:
        empty = Charge(
            "refused", _reference(), None, request.token, request.amount_minor, request.currency, None, 0, 0
        )
        match request.token:
            case "tok_approve" | "tok_captured_silent":
                captured = empty._replace(status="captured", captured_minor=request.amount_minor)
                return self._insert(request.key, captured)
            case "tok_late":
                captures_at = self._now() + self.settings().late_seconds
                return self._insert(request.key, empty._replace(status="pending", captures_at=captures_at))
            case "tok_silent":
                return None
            case "tok_refuse":
                return self._insert(request.key, empty._replace(reason="card_declined"))
            case _:
                return self._insert(request.key, empty._replace(reason="unknown_token"))

    def _find(self, key: str) -> Charge | None:
        row = self._database.execute(_FIND, (key,)).fetchone()
        if row is None:
            return None
        charge = Charge(*row)
        if charge.captures_at is not None and charge.captures_at <= self._now():
            captured = charge._replace(
                status="captured", captures_at=None, captured_minor=charge.amount_minor
            )
            return self._update(key, captured)
        return charge

    def _insert(self, key: str, charge: Charge) -> Charge:
        self._database.execute("INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (key, *charge))
        return charge

    def _update(self, key: str, charge: Charge) -> Charge:
        self._database.execute(
            "UPDATE charges SET status = ?, captures_at = ?, captured_minor = ?, refunded_minor = ?"
            " WHERE idempotency_key = ?",
            (charge.status, charge.captures_at, charge.captured_minor, charge.refunded_minor, key),
        )
        return charge

    def _give_back_allowed(self) -> None:
        if self.settings().refuse_refunds:
            raise RefundRefusedError("refunds_refused")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _reference() -> str:
    return f"ch_{uuid.uuid4().hex}"
