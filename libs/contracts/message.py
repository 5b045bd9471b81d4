"""The base classes of what is sent: commands with the answers they allow, and events."""

from typing import ClassVar, Generic, TypeVar

from libs.contracts.values import OrderId, Value


class Contract(Value):
    """A payload that travels on a topic.

    A concrete class carries by hand `wire`, its name in the `ce_type` header (service, name and
    version; never derived, never reused), and `topic`, where it is published. Every payload has
    the order's id, which is also the record key.
    """

    wire: ClassVar[str]
    topic: ClassVar[str]

    order_id: OrderId


class Event(Contract):
    """Something that happened."""


class Refusal(Event):
    """A business "no": an event that says what was not done, and why."""

    reason_code: str
    reason: str


Done_co = TypeVar("Done_co", bound=Event, covariant=True)
Refused_co = TypeVar("Refused_co", bound=Refusal, covariant=True)


class Command(Contract, Generic[Done_co, Refused_co]):
    """A request to one service, and the answers it may give.

    `Command[InventoryReserved, InventoryReserveFailed]` is answered by one of the two;
    `Command[InventoryReleased, Never]` cannot be refused, so it may undo a step or follow the pivot.
    """

    done: ClassVar[type[Event]]
    refused: ClassVar[type[Refusal] | None]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        """Keep the answers that the class statement names."""
        super().__pydantic_init_subclass__(**kwargs)
        for base in cls.__bases__:
            match getattr(base, "__pydantic_generic_metadata__", {}).get("args"):
                case (type() as done, refused):
                    cls.done = done
                    cls.refused = refused if isinstance(refused, type) else None
