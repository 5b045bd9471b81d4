"""Answers that participants would give, as records on the real topics."""

from uuid import UUID

from libs.contracts.inventory import InventoryReleased, InventoryReserved
from libs.contracts.message import Event
from libs.contracts.order import OrderCancelled, OrderCancelling, OrderCompleted, OrderCreated
from libs.contracts.order_saga import SagaCreateOrder
from libs.contracts.payment import PaymentCompleted, PaymentRefunded
from libs.contracts.product import ProductsValidated
from libs.contracts.values import PaymentId
from libs.messaging.message import Correlation
from tests.support.builders import a_message_id, a_record, euros, priced
from tests.support.topics import RawRecord, Topics


def good_answers(order: SagaCreateOrder) -> dict[str, Event]:
    """What every step of an order that goes well, or is undone, is answered; by step."""
    key, lines, total = order.order_id, priced(order.lines), euros(2_000)
    paid = PaymentId(a_message_id())
    why = {"reason_code": "x", "reason": "y"}
    return {
        "open_order": OrderCreated(
            order_id=key,
            user_id=order.user_id,
            payment_method_id=order.payment_method_id,
            lines=order.lines,
        ),
        "validate_products": ProductsValidated(order_id=key, lines=lines, total=total),
        "reserve_inventory": InventoryReserved(order_id=key),
        "process_payment": PaymentCompleted(
            order_id=key, payment_id=paid, amount=total, provider_reference=None
        ),
        "complete_order": OrderCompleted(
            order_id=key, user_id=order.user_id, lines=lines, total=total, payment_id=paid
        ),
        "refund_payment": PaymentRefunded(order_id=key, amount=total, was_captured=True),
        "release_inventory": InventoryReleased(order_id=key),
        "cancel_order": OrderCancelled.model_validate({"order_id": key, "user_id": order.user_id, **why}),
        "begin_cancellation": OrderCancelling.model_validate(
            {"order_id": key, "user_id": order.user_id, **why}
        ),
    }


def answer_to(command: RawRecord, event: Event) -> RawRecord:
    """The event as the answer to a command that lies in its topic."""
    return a_record(
        event,
        correlation=Correlation(
            saga_id=UUID(command.header("saga_id")),  # type: ignore[arg-type]
            step=command.header("step"),
            attempt=int(command.header("attempt") or 1),
            causation_id=UUID(command.header("ce_id")),  # type: ignore[arg-type]
        ),
    )


async def command_of(topics: Topics, topic: str, step: str, key: UUID) -> RawRecord:
    """The command of a step for an order, once it is there; the last one where it was sent again."""
    wanted: list[RawRecord] = []
    seen = 0
    while not wanted:
        found = await topics.expect(topic, seen + 1)
        seen = len(found)
        wanted = [r for r in found if r.header("step") == step and r.key == str(key).encode()]
    return wanted[-1]
