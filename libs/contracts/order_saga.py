"""What the orchestrator is asked for."""

from typing import ClassVar, Never

from pydantic import Field

from libs.contracts.message import Command, Event
from libs.contracts.topics import ORDER_SAGA_COMMANDS
from libs.contracts.values import Lines, PaymentMethodId, UserId


class SagaCreateOrder(Command[Event, Never]):
    """Start the saga that creates an order; its id is the order's id. Answered by no message."""

    wire: ClassVar[str] = "order_saga.SagaCreateOrder.v1"
    topic: ClassVar[str] = ORDER_SAGA_COMMANDS

    user_id: UserId
    payment_method_id: PaymentMethodId
    lines: Lines


class SagaCancelOrder(Command[Event, Never]):
    """Stop the order's saga, or start its cancellation saga when it is completed."""

    wire: ClassVar[str] = "order_saga.SagaCancelOrder.v1"
    topic: ClassVar[str] = ORDER_SAGA_COMMANDS

    user_id: UserId
    reason: str = Field(max_length=500)
