"""The orchestrator, put together."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from libs.contracts.order_saga import SagaCancelOrder, SagaCreateOrder
from libs.contracts.topics import ORDER_SAGA_COMMANDS
from libs.service.runtime import Runtime
from libs.service.service import Gated, Route, Service, on_message
from order_saga import api, domain, store
from order_saga.cancel_completed_order import cancel_completed_order
from order_saga.census import Census
from order_saga.create_order import create_order, earlier
from order_saga.domain import Book, Desk, Due, Operate
from order_saga.recollection import Recollection
from order_saga.settings import Limits, OrderSagaSettings
from order_saga.timers import timers

limits: Final = Limits()
book: Final = Book.of(
    create_order.tuned(**limits.times),
    cancel_completed_order,
    *(saga.tuned(**limits.times) for saga in earlier),
)


def routes(of: Book) -> Sequence[Route[Desk]]:
    """Who decides on what: starts, cancels, every answer to the book's commands, deadlines, operators."""
    return [
        on_message(SagaCreateOrder, domain.begin),
        on_message(SagaCancelOrder, domain.cancel),
        *(on_message(event, domain.reply) for event in of.known.replies),
        on_message(Due, domain.fire),
        on_message(Operate, domain.operate),
    ]


def compose(of: Book, census: Census) -> Service[Desk]:
    """The service with these definitions, and as much room as the census grants."""

    async def startup(runtime: Runtime) -> None:
        """Refuse sagas of unknown versions, and count those under way."""
        await store.check_versions(of, runtime)
        await census.open(runtime)

    recollection = Recollection()

    def committed(runtime: Runtime, desk: Desk) -> None:
        census.note(runtime, desk)
        recollection.note(desk)

    return Service(
        name="order_saga",
        load=partial(store.load, of, recollection=recollection),
        save=store.save,
        routes=routes(of),
        gated=Gated(topics=(ORDER_SAGA_COMMANDS,), room=census.room),
        api=partial(api.router, of),
        workers=[timers(of), census.watch],
        settings=OrderSagaSettings,
        startup=startup,
        committed=committed,
    )


service: Final = compose(book, Census(limits.max_running_sagas))
