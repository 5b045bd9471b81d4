"""All SQL of the payment service."""

from payment.store.attempts import Call, Outlook, claim, outlook, wake_unreached
from payment.store.books import load, save
from payment.store.customers import (
    Deposited,
    Entry,
    Method,
    add_card,
    deposit,
    entries,
    methods,
    open_wallet,
    remove_method,
    wallet,
)

__all__ = [
    "Call",
    "Deposited",
    "Entry",
    "Method",
    "Outlook",
    "add_card",
    "claim",
    "deposit",
    "entries",
    "load",
    "methods",
    "open_wallet",
    "outlook",
    "remove_method",
    "save",
    "wake_unreached",
    "wallet",
]
