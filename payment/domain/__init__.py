"""The rules of payments, pure: what each message does to the books and what is answered."""

from payment.domain.books import Books
from payment.domain.commands import process, refund
from payment.domain.outcome import ProviderAnswered, settle
from payment.domain.wallet import deposit

__all__ = ["Books", "ProviderAnswered", "deposit", "process", "refund", "settle"]
