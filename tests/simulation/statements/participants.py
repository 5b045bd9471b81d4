"""The statements of order, product, inventory and payment."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from operator import itemgetter
from typing import Any, Final

import inventory.store
import order.store
import payment.store.attempts
import payment.store.books
import product.store
from tests.simulation.statements.mailbox import transposed
from tests.simulation.store import Handler, Row, Rows, Table, Tx

_ORDER: Final = (
    "id",
    "user_id",
    "status",
    "payment_method_id",
    "total_minor",
    "currency",
    "payment_id",
    "reason_code",
    "reason",
)
_LINE: Final = ("order_id", "line_no", "product_id", "quantity", "name", "price_minor")
_order: Final = itemgetter(*_ORDER)
_line: Final = itemgetter(*(name for name in _LINE if name != "line_no"))


def _sound_order(row: Row) -> bool:
    return (
        (row["payment_method_id"] is not None or row["status"] == "cancelled")
        and (row["status"] != "completed" or row["total_minor"] is not None)
        and (row["status"] in {"cancelling", "cancelled"}) == (row["reason_code"] is not None)
    )


def order_tables() -> list[Table]:
    return [Table("orders", "id", rule=_sound_order), Table("order_lines", "order_id", "line_no")]


def lock_orders(tx: Tx, parameters: Sequence[Any]) -> Rows:
    return [_order(row) for row in tx.lock("orders", parameters[0])]


def _lines(tx: Tx, parameters: Sequence[Any]) -> Rows:
    found = []
    for order_id in parameters[0]:
        number = 1
        while (row := tx.get("order_lines", (order_id, number))) is not None:
            found.append(_line(row))
            number += 1
    return found


def _add_orders(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for values in transposed(parameters[2:11]):
        tx.add("orders", dict(zip(_ORDER, values, strict=True)))
    for values in transposed(parameters[11:]):
        tx.add("order_lines", dict(zip(_LINE, values, strict=True)))
    return []


def _move_orders(tx: Tx, parameters: Sequence[Any]) -> Rows:
    names = ("status", "total_minor", "currency", "payment_id", "reason_code", "reason")
    for order_id, *values in transposed(parameters[1:]):
        if (row := tx.get("orders", order_id)) is not None:
            tx.change("orders", row, **dict(zip(names, values, strict=True)))
    return []


def _price_lines(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for order_id, number, name, price in transposed(parameters):
        if (row := tx.get("order_lines", (order_id, number))) is not None:
            tx.change("order_lines", row, name=name, price_minor=price)
    return []


def product_tables() -> list[Table]:
    return [Table("products", "id")]


def _products(tx: Tx, parameters: Sequence[Any]) -> Rows:
    rows = (tx.get("products", key) for key in parameters[0])
    return [
        (row["id"], row["name"], row["price_minor"], row["currency"], row["active"]) for row in rows if row
    ]


def inventory_tables() -> list[Table]:
    return [
        Table(
            "stock",
            "product_id",
            rule=lambda row: row["reserved"] >= 0 and row["on_hand"] >= row["reserved"] and row["sold"] >= 0,
        ),
        Table(
            "holds", "order_id", rule=lambda row: (row["state"] == "refused") == (row["reason"] is not None)
        ),
        Table("reservations", "order_id", "product_id", rule=lambda row: row["state"] != "refused"),
    ]


def reservations(tx: Tx, order_id: Any) -> list[Row]:
    """An order's reservations, by product."""
    products = (tx.get("holds", order_id) or {}).get("products", ())
    rows = (tx.get("reservations", (order_id, product)) for product in products)
    return [row for row in rows if row is not None]


def lock_holds(tx: Tx, parameters: Sequence[Any]) -> Rows:
    found: Rows = []
    for hold in tx.lock("holds", parameters[0]):
        head = (hold["order_id"], hold["state"], hold["reason"], hold["detail"])
        lines = [(row["product_id"], row["quantity"]) for row in reservations(tx, hold["order_id"])]
        found += [(*head, *line) for line in lines or [(None, None)]]
    return found


def touched(tx: Tx, parameters: Sequence[Any]) -> list[Any]:
    """The products that are asked for, and those of the orders' reservations, sorted."""
    asked, orders = parameters
    return sorted({*asked, *(row["product_id"] for one in orders for row in reservations(tx, one))})


_stock: Final = itemgetter("product_id", "on_hand", "reserved", "sold")


def lock_stock(tx: Tx, parameters: Sequence[Any]) -> Rows:
    return [_stock(row) for row in tx.lock("stock", touched(tx, parameters))]


def _move_stock(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for product_id, on_hand, reserved, sold in transposed(parameters):
        if (row := tx.get("stock", product_id)) is not None:
            tx.change("stock", row, on_hand=on_hand, reserved=reserved, sold=sold)
    return []


def _add_holds(tx: Tx, parameters: Sequence[Any]) -> Rows:
    lines = list(transposed(parameters[6:]))
    for order_id, state, reason, detail in transposed(parameters[2:6]):
        products = sorted(product for owner, product, _, _ in lines if owner == order_id)
        row = {"order_id": order_id, "state": state, "reason": reason, "detail": detail}
        tx.add("holds", row | {"products": products})
    for order_id, product_id, quantity, state in lines:
        row = {"order_id": order_id, "product_id": product_id, "quantity": quantity, "state": state}
        tx.add("reservations", row)
    return []


def _move_holds(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for order_id, state in transposed(parameters[1:]):
        if (row := tx.get("holds", order_id)) is not None:
            for line in reservations(tx, order_id):
                tx.change("reservations", line, state=state)
            tx.change("holds", row, state=state)
    return []


_PAYMENT: Final = (
    "order_id",
    "payment_id",
    "user_id",
    "method_id",
    "method_kind",
    "amount_minor",
    "currency",
    "status",
    "provider_reference",
    "reason_code",
    "reason",
    "captured_at",
    "refunded_at",
)
_MOVED: Final = ("status", "provider_reference", "reason_code", "reason", "captured_at", "refunded_at")
_ATTEMPT: Final = (
    "order_id",
    "kind",
    "state",
    "next_at",
    "token",
    "first_sent_at",
    "attempts",
    "claimed_until",
    "last_error",
    "waiters",
)
_SAVED: Final = tuple(name for name in _ATTEMPT if name != "first_sent_at")
_payment: Final = itemgetter(*_PAYMENT)
_attempt: Final = itemgetter(*_ATTEMPT)


def _sound_payment(row: Row) -> bool:
    tells = {
        "pending": row["captured_at"] is None,
        "completed": row["captured_at"] is not None and row["refunded_at"] is None,
        "refunded": row["refunded_at"] is not None,
    }
    return tells.get(row["status"], True) and (row["status"] == "failed") == (row["reason_code"] is not None)


def payment_tables() -> list[Table]:
    return [
        Table("payments", "order_id", rule=_sound_payment),
        Table("payment_attempts", "order_id"),
        Table("wallets", "user_id", rule=lambda row: row["balance_minor"] >= 0),
        Table("payment_methods", "id"),
        Table("ledger_entries", "id", unique=[("order_id", "kind", "account")]),
    ]


def payments(tx: Tx, parameters: Sequence[Any]) -> Rows:
    return [_payment(row) for row in tx.lock("payments", parameters[0])]


def _attempts(tx: Tx, parameters: Sequence[Any]) -> Rows:
    return [_attempt(row) for row in tx.lock("payment_attempts", parameters[0])]


def wallets(tx: Tx, parameters: Sequence[Any]) -> Rows:
    return [
        (row["user_id"], row["balance_minor"], row["currency"]) for row in tx.lock("wallets", parameters[0])
    ]


def _cards(tx: Tx, parameters: Sequence[Any]) -> Rows:
    rows = (tx.get("payment_methods", key) for key in parameters[0])
    return [(row["id"], row["user_id"], row["token"]) for row in rows if row and row["kind"] == "card"]


def _insert_payments(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for values in transposed(parameters[2:]):
        tx.add("payments", dict(zip(_PAYMENT, values, strict=True)))
    return []


def _update_payments(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for order_id, *values in transposed(parameters[1:]):
        if (row := tx.get("payments", order_id)) is not None:
            tx.change("payments", row, **dict(zip(_MOVED, values, strict=True)))
    return []


def _save_attempts(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for values in transposed(parameters[2:]):
        saved = dict(zip(_SAVED, values, strict=True))
        saved["waiters"] = saved["waiters"].obj
        if not tx.insert("payment_attempts", saved | {"first_sent_at": None}):
            tx.change("payment_attempts", saved, **saved)
    return []


def _update_wallets(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for user_id, balance in transposed(parameters[1:]):
        if (row := tx.get("wallets", user_id)) is not None:
            tx.change("wallets", row, balance_minor=balance)
    return []


_ENTRY: Final = ("transaction_id", "account", "kind", "amount_minor", "currency", "order_id")


def _insert_entries(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for values in transposed(parameters[1:]):
        tx.add("ledger_entries", dict(zip(_ENTRY, values, strict=True)) | {"id": tx.number("ledger")})
    return []


def claim(tx: Tx, parameters: Sequence[Any]) -> Rows:
    within, new, limit, lease, _ = parameters
    now = tx.clock
    due = [
        row
        for row in tx.all("payment_attempts")
        if row["state"] == "due" and row["next_at"] <= now and (row["attempts"] == 0) == new
    ]
    due.sort(key=lambda row: (row["next_at"], row["order_id"]))
    taken: Rows = []
    for row in due:
        if len(taken) == limit:
            break
        if not tx.free("payment_attempts", row["order_id"]):
            continue
        taken.append(_claimed(tx, row, now, within, lease))
    return taken


def _claimed(tx: Tx, row: Row, now: Any, within: timedelta, lease: timedelta) -> tuple[Any, ...]:
    old = row["first_sent_at"] is not None and row["first_sent_at"] < now - within
    kind = "query" if row["kind"] == "charge" and old else row["kind"]
    first_sent_at = (row["first_sent_at"] or now) if kind == "charge" else row["first_sent_at"]
    mine = tx.change(
        "payment_attempts",
        row,
        kind=kind,
        attempts=row["attempts"] + 1,
        claimed_until=now + lease,
        next_at=now + lease,
        first_sent_at=first_sent_at,
    )
    paid = tx.get("payments", row["order_id"]) or {}
    return (
        mine["order_id"],
        kind,
        mine["claimed_until"],
        paid["amount_minor"],
        paid["currency"],
        mine["token"],
        mine["attempts"] == 1,
    )


def _wake(tx: Tx, parameters: Sequence[Any]) -> Rows:
    now = tx.clock
    for row in list(tx.all("payment_attempts")):
        waits = row["state"] == "due" and row["claimed_until"] is None and row["next_at"] > now
        if waits and (row["last_error"] or "").startswith(parameters[0]):
            tx.change("payment_attempts", row, next_at=now)
    return []


def _outlook(tx: Tx, _: Sequence[Any]) -> Rows:
    now = tx.clock
    due = [row["next_at"] for row in tx.all("payment_attempts") if row["state"] == "due"]
    parked = sum(row["state"] == "parked" for row in tx.all("payment_attempts"))
    return [((min(due) - now).total_seconds() if due else None, parked)]


HANDLERS: Final[Mapping[str, Handler]] = {
    order.store.LOCK_ORDERS: lock_orders,
    order.store.LINES: _lines,
    order.store.ADD_ORDERS: _add_orders,
    order.store.MOVE_ORDERS: _move_orders,
    order.store.PRICE_LINES: _price_lines,
    product.store.PRODUCTS: _products,
    inventory.store.LOCK_HOLDS: lock_holds,
    inventory.store.LOCK_STOCK: lock_stock,
    inventory.store.MOVE_STOCK: _move_stock,
    inventory.store.ADD_HOLDS: _add_holds,
    inventory.store.MOVE_HOLDS: _move_holds,
    payment.store.books.PAYMENTS: payments,
    payment.store.books.ATTEMPTS: _attempts,
    payment.store.books.WALLETS: wallets,
    payment.store.books.CARDS: _cards,
    payment.store.books.INSERT_PAYMENTS: _insert_payments,
    payment.store.books.UPDATE_PAYMENTS: _update_payments,
    payment.store.books.SAVE_ATTEMPTS: _save_attempts,
    payment.store.books.UPDATE_WALLETS: _update_wallets,
    payment.store.books.INSERT_ENTRIES: _insert_entries,
    payment.store.attempts.CLAIM: claim,
    payment.store.attempts.WAKE: _wake,
    payment.store.attempts.OUTLOOK: _outlook,
}
