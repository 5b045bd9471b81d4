"""Tries the auditor's judgement on what one saga sent."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.commands import Sent, judged

START = datetime(2026, 1, 1, tzinfo=UTC)
CREATE, CANCEL = "order.CreateOrder.v1", "order.CancelOrder.v1"
VALIDATE, COMPLETE = "product.ValidateProducts.v1", "order.CompleteOrder.v1"
RESERVE, RELEASE = "inventory.ReserveInventory.v1", "inventory.ReleaseInventory.v1"
PAY, REFUND = "payment.ProcessPayment.v1", "payment.RefundPayment.v1"
SHORT, DECLINED = "inventory.InventoryReserveFailed.v1", "payment.PaymentFailed.v1"
GOOD = (CREATE, VALIDATE, RESERVE, PAY, COMPLETE)


def found(kind: str, status: str, *wires: str, ended: int = 60, body: bytes = b"{}") -> list[str]:
    """What is found of messages a second apart, in this order."""
    sent = Sent()
    for second, wire in enumerate(wires):
        sent.see(wire, START + timedelta(seconds=second), body)
    return judged(kind, status, START + timedelta(seconds=ended), sent)


@pytest.mark.parametrize(
    ("kind", "status", "wires"),
    [
        ("create_order", "completed", GOOD),
        ("create_order", "completed", (*GOOD, PAY)),
        ("create_order", "compensated", (CREATE, VALIDATE, CANCEL)),
        ("create_order", "compensated", (CREATE, VALIDATE, RESERVE, SHORT, CANCEL)),
        ("create_order", "compensated", (CREATE, VALIDATE, RESERVE, RELEASE, SHORT, CANCEL)),
        ("create_order", "compensated", (CREATE, VALIDATE, RESERVE, PAY, DECLINED, RELEASE, CANCEL)),
        ("create_order", "compensated", (CREATE, VALIDATE, RESERVE, PAY, REFUND, RELEASE, CANCEL)),
        ("create_order", "compensated", (CANCEL,)),
        ("cancel_completed_order", "completed", (REFUND, RELEASE, CANCEL)),
        ("cancel_completed_order", "compensated", ()),
    ],
)
def test_what_a_saga_may_send(kind: str, status: str, wires: tuple[str, ...]) -> None:
    assert found(kind, status, *wires) == []


@pytest.mark.parametrize(
    ("kind", "status", "wires"),
    [
        ("create_order", "completed", (*GOOD, RELEASE)),
        ("create_order", "completed", (CREATE, VALIDATE, RESERVE, PAY)),
        ("create_order", "compensated", (CREATE, VALIDATE, RESERVE, CANCEL)),
        ("create_order", "compensated", (CREATE, VALIDATE, RESERVE, CANCEL, RELEASE)),
        ("create_order", "compensated", (CREATE, VALIDATE, CANCEL, REFUND)),
        ("create_order", "compensated", (CREATE, VALIDATE, RESERVE, PAY, RELEASE, CANCEL)),
        ("create_order", "compensated", ()),
        ("cancel_completed_order", "completed", (RELEASE, REFUND, CANCEL)),
        ("cancel_completed_order", "completed", (REFUND, CANCEL)),
        ("cancel_completed_order", "compensated", (REFUND,)),
    ],
)
def test_what_it_may_not(kind: str, status: str, wires: tuple[str, ...]) -> None:
    assert len(found(kind, status, *wires)) == 1


def test_nothing_is_sent_after_the_end() -> None:
    assert found("create_order", "completed", *GOOD, ended=4) == []
    assert len(found("create_order", "completed", *GOOD, ended=3)) == 1


def test_a_refusal_because_the_undo_came_first_spares_nothing() -> None:
    wires = (CREATE, VALIDATE, RESERVE, RELEASE, SHORT, CANCEL)
    assert found("create_order", "compensated", *wires, body=b'{"reason_code":"already_undone"}') == []
    without = (CREATE, VALIDATE, RESERVE, SHORT, CANCEL)
    assert len(found("create_order", "compensated", *without, body=b'{"reason_code":"already_undone"}')) == 1
