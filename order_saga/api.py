"""The operator's HTTP API: look at sagas, push on what is parked."""

import json
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from libs.contracts.message import Event
from libs.contracts.values import SagaId
from libs.crash_points import reach
from libs.messaging.message import Message
from libs.saga.decision import Rejection
from libs.saga.inputs import Action, Compensate, Force, Outcome, Resend, Resume
from libs.service.auth import Principal
from libs.service.problems import Problem, fault, unprocessable
from libs.service.runtime import Runtime
from order_saga import domain, store
from order_saga.domain import Book, Operate

WHY_NOT: Final = {
    Rejection.REVISION_CHANGED: "The saga has moved on since the revision that was named; look at it again.",
    Rejection.FINISHED: "The saga has ended.",
    Rejection.NOT_PARKED: "The saga is not parked.",
    Rejection.NOTHING_TO_SEND: "No step in flight has a command that could be sent again.",
    Rejection.ALREADY_COMPENSATING: "The saga is being compensated already.",
    Rejection.POINT_OF_NO_RETURN: "The saga is past its point of no return; cancel the order when it is completed.",
    Rejection.NOT_IN_FLIGHT: "That step is not in flight.",
    Rejection.CANNOT_BE_REFUSED: "That step cannot be refused; it is retried until it is done.",
    Rejection.EVENT_NEEDED: "The saga needs what that step's event says: give the event.",
}


class Body(BaseModel):
    """A request's body; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Ask(Body):
    """What every action names: the revision it was decided on, and why."""

    revision: Annotated[int, Field(ge=1, le=2**31 - 1)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class AskOutcome(Ask):
    """A step's outcome as an operator knows it; `event` is the payload of the step's event."""

    step: Annotated[str, Field(max_length=100)]
    outcome: Outcome
    event: dict[str, JsonValue] | None = None


class SagaRow(BaseModel):
    """A saga, as a list shows it."""

    saga_id: UUID
    type: str
    version: int
    order_id: UUID
    partition: int
    status: str
    parked_at: datetime | None
    step: str
    attempt: int
    awaiting: UUID | None
    deadline: datetime | None
    revision: int
    reason_code: str | None
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class JournalRow(BaseModel):
    """A line of a saga's journal."""

    revision: int
    seq: int
    at: datetime
    kind: str
    step: str | None
    attempt: int | None
    message_id: UUID | None
    detail: dict[str, str]


class SagaDetail(SagaRow):
    """A saga with what it knows and its journal, oldest line first."""

    data: dict[str, JsonValue]
    journal: list[JournalRow]


class SagaPage(BaseModel):
    """Sagas, newest id first; `next` is the cursor of the page after this one."""

    items: list[SagaRow]
    next: UUID | None


class SagaQuery(Body):
    """Which sagas to list; `older_than` are seconds since they were started."""

    status: Literal["running", "compensating", "completed", "compensated", "parked"] | None = None
    type: Annotated[str, Field(max_length=100)] | None = None
    step: Annotated[str, Field(max_length=100)] | None = None
    older_than: Annotated[float, Field(ge=0, le=10**9)] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    after: UUID | None = None


def router(book: Book, runtime: Runtime) -> APIRouter:
    """The routes; every one needs an operator's token."""
    Operator = Annotated[Principal, Depends(runtime.operator)]  # noqa: N806 - a type
    routes = APIRouter()
    desk = _Desk(book, runtime)

    @routes.get("/sagas")
    async def list_sagas(_: Operator, query: Annotated[SagaQuery, Query()]) -> SagaPage:
        return await desk.page(query)

    @routes.get("/sagas/{saga_id}")
    async def get_saga(saga_id: UUID, _: Operator) -> SagaDetail:
        return await desk.show(SagaId(saga_id))

    @routes.post("/sagas/{saga_id}/resume")
    async def resume(saga_id: UUID, ask: Ask, who: Operator) -> SagaDetail:
        return await desk.act(SagaId(saga_id), Resume(ask.revision, str(who.user_id), ask.reason))

    @routes.post("/sagas/{saga_id}/retry")
    async def retry(saga_id: UUID, ask: Ask, who: Operator) -> SagaDetail:
        return await desk.act(SagaId(saga_id), Resend(ask.revision, str(who.user_id), ask.reason))

    @routes.post("/sagas/{saga_id}/compensate")
    async def compensate(saga_id: UUID, ask: Ask, who: Operator) -> SagaDetail:
        return await desk.act(SagaId(saga_id), Compensate(ask.revision, str(who.user_id), ask.reason))

    @routes.post("/sagas/{saga_id}/outcome")
    async def outcome(saga_id: UUID, ask: AskOutcome, who: Operator) -> SagaDetail:
        event = _event(book, ask)
        force = Force(ask.revision, str(who.user_id), ask.reason, ask.step, ask.outcome, event)
        return await desk.act(SagaId(saga_id), force)

    return routes


class _Desk:
    """What the routes do, each in a transaction of its own."""

    def __init__(self, book: Book, runtime: Runtime) -> None:
        self._book = book
        self._runtime = runtime

    async def page(self, query: SagaQuery) -> SagaPage:
        async with self._runtime.database.transaction() as tx:
            rows = await store.listed(tx, **query.model_dump())
        items = [SagaRow(**row) for row in rows[: query.limit]]
        return SagaPage(items=items, next=items[-1].saga_id if len(rows) > query.limit else None)

    async def show(self, saga_id: SagaId) -> SagaDetail:
        async with self._runtime.database.transaction() as tx:
            saga, journal = await store.shown(tx, saga_id)
        if saga is None:
            raise _not_found(saga_id)
        return SagaDetail(**saga, journal=[JournalRow(**line) for line in journal])

    async def act(self, saga_id: SagaId, action: Action) -> SagaDetail:
        async with self._runtime.database.transaction() as tx:
            if (order_id := await store.order_of(tx, saga_id)) is None:
                raise _not_found(saga_id)
            message = Message(self._runtime.new_id(), order_id, Operate(saga_id, action), tx.now)
            desk = await store.load(self._book, tx, [message])
            if saga_id in desk.retired.values():
                raise _refused(Rejection.FINISHED)
            sent = domain.operate(desk, message)
            if desk.rejected is not None:
                raise _refused(desk.rejected)
            await store.save(tx, desk)
            await self._runtime.outbox(tx, sent)
            reach("operator.decided")
        reach("operator.committed")
        self._runtime.log.info(
            "saga.operated",
            saga_id=str(saga_id),
            order_id=str(order_id),
            action=type(action).__name__.lower(),
            operator=action.operator,
        )
        return await self.show(saga_id)


def _event(book: Book, ask: AskOutcome) -> Event | None:
    """The event that proves an outcome, read as the step's own."""
    if ask.event is None:
        return None
    for saga in book.known.known.values():
        step = saga.steps.get(ask.step)
        expected = step.proof if step else None
        if expected is not None:
            try:
                return expected.model_validate_json(json.dumps(ask.event))
            except ValidationError as error:
                faults = [
                    fault(("body", "event", *one["loc"]), one["msg"], one["type"]) for one in error.errors()
                ]
                raise unprocessable(faults) from error
    raise _refused(Rejection.NOT_IN_FLIGHT)


def _not_found(saga_id: SagaId) -> Problem:
    return Problem(404, "not_found", f"There is no saga {saga_id}.")


def _refused(why: Rejection) -> Problem:
    return Problem(409, why.value, WHY_NOT[why])
