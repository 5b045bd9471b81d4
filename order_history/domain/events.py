"""What each event tells of its order: one function per event, and which source is better than which."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TypeVar

import orjson

from libs.contracts.inventory import InventoryReleased, InventoryReserved, InventoryReserveFailed
from libs.contracts.message import Contract, Refusal
from libs.contracts.order import (
    OrderCancelled,
    OrderCancelling,
    OrderCancelRefused,
    OrderCompleted,
    OrderCreated,
    OrderCreateFailed,
)
from libs.contracts.payment import PaymentCompleted, PaymentFailed, PaymentRefunded
from libs.contracts.product import ProductsValidated, ProductsValidationFailed
from libs.contracts.reasons import ALREADY_UNDONE
from libs.contracts.values import Line, Money, PaymentMethodId, PricedLine, UserId
from libs.messaging.message import Message
from order_history.domain.history import (
    Account,
    Contents,
    Entry,
    EventName,
    Histories,
    History,
    Json,
    Origin,
    PaymentStage,
    Reason,
    Stage,
)

T = TypeVar("T")


class Precedence(IntEnum):
    """Of several events that tell the same field, the lowest is believed, then the lowest message id."""

    FIRST = 0
    SECOND = 1
    THIRD = 2


def created(histories: Histories, message: Message[OrderCreated]) -> None:
    """Whose order it is, and what was ordered, without names and prices yet."""
    event = message.body
    origin = _origin(message, Precedence.FIRST, event.user_id, event.payment_method_id)
    contents = _account(message, Precedence.THIRD, Contents(_lines(event.lines), None))
    told = History(Stage.CREATED, message.time, origin, contents=contents)
    histories.take(message.key, told, _entry(message, "created"))


def create_failed(histories: Histories, message: Message[OrderCreateFailed]) -> None:
    """The order never came to be."""
    event = message.body
    told = History(
        Stage.CANCELLED,
        message.time,
        _origin(message, Precedence.SECOND, event.user_id),
        reason=_reason(message, Precedence.THIRD, event.reason_code, event.reason),
    )
    histories.take(message.key, told, _entry(message, "cancelled", _why(event)))


def validated(histories: Histories, message: Message[ProductsValidated]) -> None:
    """Names, prices and the total."""
    event = message.body
    contents = _account(message, Precedence.SECOND, Contents(_lines(event.lines), event.total))
    told = History(Stage.VALIDATED, message.time, _bystander(message), contents=contents)
    histories.take(message.key, told, _entry(message, "validated", {"total": _money(event.total)}))


def validation_failed(histories: Histories, message: Message[ProductsValidationFailed]) -> None:
    """Products that are unknown or withdrawn: the cancellation begins."""
    _refused(histories, message, {"product_ids": list(message.body.product_ids)})


def reserved(histories: Histories, message: Message[InventoryReserved]) -> None:
    """Stock is held."""
    told = History(Stage.RESERVED, message.time, _bystander(message))
    histories.take(message.key, told, _entry(message, "reserved"))


def reserve_failed(histories: Histories, message: Message[InventoryReserveFailed]) -> None:
    """Stock was short: the cancellation begins."""
    _refused(histories, message, {"shortages": [short.model_dump() for short in message.body.shortages]})


def released(histories: Histories, message: Message[InventoryReleased]) -> None:
    """Stock is no longer held."""
    told = History(Stage.CANCELLING, message.time, _bystander(message))
    histories.take(message.key, told, _entry(message, "released"))


def paid(histories: Histories, message: Message[PaymentCompleted]) -> None:
    """The amount is captured."""
    event = message.body
    told = History(
        Stage.PAID,
        message.time,
        _bystander(message),
        payment_id=_account(message, Precedence.SECOND, event.payment_id),
        payment=PaymentStage.COMPLETED,
    )
    histories.take(message.key, told, _entry(message, "paid", {"amount": _money(event.amount)}))


def payment_failed(histories: Histories, message: Message[PaymentFailed]) -> None:
    """Nothing was captured: the cancellation begins."""
    _refused(histories, message, {}, payment=PaymentStage.FAILED)


def refunded(histories: Histories, message: Message[PaymentRefunded]) -> None:
    """Nothing is captured any more, or ever was."""
    event = message.body
    payment = PaymentStage.REFUNDED if event.was_captured else PaymentStage.CANCELLED
    told = History(Stage.CANCELLING, message.time, _bystander(message), payment=payment)
    detail = {"amount": _money(event.amount), "was_captured": event.was_captured}
    histories.take(message.key, told, _entry(message, "refunded", detail))


def completed(histories: Histories, message: Message[OrderCompleted]) -> None:
    """The order is final, at the prices that were charged."""
    event = message.body
    told = History(
        Stage.COMPLETED,
        message.time,
        _origin(message, Precedence.SECOND, event.user_id),
        contents=_account(message, Precedence.FIRST, Contents(_lines(event.lines), event.total)),
        payment_id=_account(message, Precedence.FIRST, event.payment_id),
        payment=PaymentStage.COMPLETED,
    )
    histories.take(message.key, told, _entry(message, "completed", {"total": _money(event.total)}))


def cancelling(histories: Histories, message: Message[OrderCancelling]) -> None:
    """The order's effects are being undone."""
    event = message.body
    told = History(
        Stage.CANCELLING,
        message.time,
        _origin(message, Precedence.SECOND, event.user_id),
        reason=_reason(message, Precedence.SECOND, event.reason_code, event.reason),
    )
    histories.take(message.key, told, _entry(message, "cancelling", _why(event)))


def cancel_refused(histories: Histories, message: Message[OrderCancelRefused]) -> None:
    """A cancellation that came too late: no change of status and nothing for the timeline."""
    origin = _origin(message, Precedence.SECOND, message.body.user_id)
    histories.take(message.key, History(Stage.CREATED, message.time, origin), None)


def cancelled(histories: Histories, message: Message[OrderCancelled]) -> None:
    """Nothing of the order is left."""
    event = message.body
    told = History(
        Stage.CANCELLED,
        message.time,
        _origin(message, Precedence.SECOND, event.user_id),
        reason=_reason(message, Precedence.FIRST, event.reason_code, event.reason),
    )
    histories.take(message.key, told, _entry(message, "cancelled", _why(event)))


def _refused(
    histories: Histories,
    message: Message[ProductsValidationFailed] | Message[InventoryReserveFailed] | Message[PaymentFailed],
    detail: Mapping[str, object],
    payment: PaymentStage | None = None,
) -> None:
    """The first that is known of a cancellation, unless it only says that the undo came before."""
    told = History(Stage.CANCELLING, message.time, _bystander(message), payment=payment)
    why = _why(message.body)
    entry = None if why is None else _entry(message, "cancelling", {**why, **detail})
    histories.take(message.key, told, entry)


def _account(message: Message[Contract], precedence: Precedence, value: T) -> Account[T]:
    return Account(bytes((precedence,)) + message.id.bytes, value)


def _origin(
    message: Message[Contract],
    precedence: Precedence,
    user_id: UserId | None,
    method: PaymentMethodId | None = None,
) -> Account[Origin]:
    return _account(message, precedence, Origin(user_id, method, message.time))


def _bystander(message: Message[Contract]) -> Account[Origin]:
    """An event of another service knows the order, and not whose it is."""
    return _origin(message, Precedence.THIRD, None)


def _reason(
    message: Message[Contract], precedence: Precedence, code: str, text: str
) -> Account[Reason] | None:
    """No customer reads `already_undone` as a reason."""
    return None if code == ALREADY_UNDONE else _account(message, precedence, Reason(code, text))


def _why(event: Refusal | OrderCancelling | OrderCancelled) -> dict[str, object] | None:
    if event.reason_code == ALREADY_UNDONE:
        return None
    return {"reason_code": event.reason_code, "reason": event.reason}


def _entry(message: Message[Contract], event: EventName, detail: Mapping[str, object] | None = None) -> Entry:
    return Entry(event, message.id, message.time, None if detail is None else _json(detail))


def _lines(lines: Sequence[Line | PricedLine]) -> Json:
    return _json([_line(line) for line in lines])


def _line(line: Line | PricedLine) -> dict[str, object]:
    priced = line if isinstance(line, PricedLine) else None
    return {
        "product_id": line.product_id,
        "name": priced and priced.name,
        "quantity": line.quantity,
        "price": priced and _money(priced.price),
    }


def _money(money: Money) -> dict[str, object]:
    return {"amount_minor": money.amount_minor, "currency": money.currency}


def _json(value: object) -> Json:
    return Json(orjson.dumps(value).decode())
