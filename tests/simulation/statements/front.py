"""The statements of the gateway and of the read model: the first that an order meets, and the last."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from operator import itemgetter
from typing import Any, Final

from gateway.store import intents
from order_history.store import fold
from tests.simulation.statements.mailbox import transposed
from tests.simulation.store import Handler, Row, Rows, Table, Tx


def gateway_tables() -> list[Table]:
    return [Table("idempotency_keys", "user_id", "route", "key"), Table("order_intents", "order_id", "kind")]


def claim(tx: Tx, parameters: Sequence[Any]) -> Rows:
    route, users, keys, fingerprints, orders, keep_seconds = parameters
    won = []
    for user_id, key, fingerprint, order_id in zip(users, keys, fingerprints, orders, strict=True):
        fresh = {"fingerprint": fingerprint, "order_id": order_id, "created_at": tx.clock}
        if not tx.insert("idempotency_keys", {"user_id": user_id, "route": route, "key": key, **fresh}):
            known = tx.conflicting("idempotency_keys", (user_id, route, key))
            if known is None or known["created_at"] >= tx.clock - timedelta(seconds=keep_seconds):
                continue
            tx.change("idempotency_keys", known, **fresh)
        won.append((order_id,))
    return won


def _known(tx: Tx, parameters: Sequence[Any]) -> Rows:
    route, users, keys = parameters
    rows = (
        tx.get("idempotency_keys", (user_id, route, key))
        for user_id, key in sorted(set(zip(users, keys, strict=True)))
    )
    return [(row["user_id"], row["key"], row["fingerprint"], row["order_id"]) for row in rows if row]


def _open(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for order_id, user_id, message_id, body in transposed(parameters):
        tx.add("order_intents", _intent(tx, order_id, "create", user_id, message_id, body))
    return []


def _open_cancel(tx: Tx, parameters: Sequence[Any]) -> Rows:
    order_id, user_id, message_id, body = parameters
    opened = tx.insert("order_intents", _intent(tx, order_id, "cancel", user_id, message_id, body))
    return [(1,)] if opened else []


def _intent(tx: Tx, order_id: Any, kind: str, user_id: Any, message_id: Any, body: str) -> Row:
    now = tx.clock
    return {
        "order_id": order_id,
        "kind": kind,
        "user_id": user_id,
        "message_id": message_id,
        "body": body,
        "sends": 1,
        "created_at": now,
        "sent_at": now,
    }


def _unsettled(tx: Tx, parameters: Sequence[Any]) -> Rows:
    order_id, kind, age, limit = parameters
    before = tx.clock - age
    found = [
        (row["order_id"], row["kind"], row["created_at"])
        for row in tx.all("order_intents")
        if (row["order_id"], row["kind"]) > (order_id, kind) and row["created_at"] < before
    ]
    return sorted(found)[:limit]


def _close(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for key in transposed(parameters):
        tx.delete("order_intents", key)
    return []


_due: Final = itemgetter("order_id", "kind", "user_id", "message_id", "body", "created_at")


def due(tx: Tx, parameters: Sequence[Any]) -> Rows:
    after, at_most, limit = parameters
    now = tx.clock
    waiting = {row["message_id"] for row in tx.all("outbox")}
    rows = [
        row
        for row in tx.all("order_intents")
        if row["sent_at"] < now - min(after * 2 ** min(row["sends"] - 1, 20), at_most)
        and row["message_id"] not in waiting
    ]
    rows.sort(key=lambda row: (row["sent_at"], row["order_id"], row["kind"]))
    return [_due(row) for row in rows[:limit] if tx.free("order_intents", (row["order_id"], row["kind"]))]


def _sent(tx: Tx, parameters: Sequence[Any]) -> Rows:
    wanted = set(parameters[0])
    for row in list(tx.all("order_intents")):
        if row["message_id"] in wanted:
            tx.change("order_intents", row, sent_at=tx.clock, sends=row["sends"] + 1)
    return []


def _forget_keys(tx: Tx, parameters: Sequence[Any]) -> Rows:
    before = tx.clock - timedelta(seconds=parameters[0])
    for row in list(tx.all("idempotency_keys")):
        if row["created_at"] < before:
            tx.delete("idempotency_keys", (row["user_id"], row["route"], row["key"]))
    return []


def _backlog(tx: Tx, parameters: Sequence[Any]) -> Rows:
    rows = sorted(tx.all("outbox"), key=itemgetter("id"))
    age = (tx.clock - rows[0]["created_at"]).total_seconds() if rows else 0.0
    return [(min(len(rows), parameters[0]), age)]


def history_tables() -> list[Table]:
    return [Table("orders", "order_id"), Table("order_timeline", "order_id", "event")]


_LOADED: Final = (
    "order_id",
    "rank",
    "updated_at",
    "origin_from",
    "user_id",
    "payment_method_id",
    "created_at",
    "lines_from",
    "lines",
    "total_minor",
    "currency",
    "reason_from",
    "reason_code",
    "reason",
    "payment_id_from",
    "payment_id",
    "payment_rank",
)
_SAVED: Final = ("order_id", "loaded", "status", *_LOADED[1:])
_loaded: Final = itemgetter(*_LOADED)


def load(tx: Tx, parameters: Sequence[Any]) -> Rows:
    return [_loaded(row) for row in tx.lock("orders", parameters[0])]


def _save(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for values in transposed(parameters):
        told = dict(zip(_SAVED, values, strict=True))
        loaded = told.pop("loaded")
        if not loaded:
            tx.add("orders", told)
        elif (row := tx.get("orders", told["order_id"])) is not None:
            kept = row["lines_from"] == told["lines_from"] and told["lines_from"] is not None
            tx.change("orders", row, **(told | {"lines": row["lines"]} if kept else told))
    return []


def _tell(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for order_id, event, ce_id, at, detail in transposed(parameters):
        line = {"order_id": order_id, "event": event, "ce_id": ce_id, "at": at, "detail": detail}
        if tx.insert("order_timeline", line | {"arrived": tx.number("order_timeline")}):
            continue
        known = tx.conflicting("order_timeline", (order_id, event))
        if known is not None and ce_id < known["ce_id"]:
            tx.change("order_timeline", known, **line)
    return []


HANDLERS: Final[Mapping[str, Handler]] = {
    intents.CLAIM: claim,
    intents.KNOWN: _known,
    intents.OPEN: _open,
    intents.OPEN_CANCEL: _open_cancel,
    intents.UNSETTLED: _unsettled,
    intents.CLOSE: _close,
    intents.DUE: due,
    intents.SENT: _sent,
    intents.FORGET_KEYS: _forget_keys,
    intents.BACKLOG: _backlog,
    fold.LOAD: load,
    fold.SAVE: _save,
    fold.TELL: _tell,
}
