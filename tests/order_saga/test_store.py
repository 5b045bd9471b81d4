"""Tries the orchestrator's SQL on the real database, as its runtime role."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import psycopg
import pytest

from libs.contracts.message import Contract
from libs.contracts.values import SagaId
from libs.messaging.message import Message
from libs.outbox.errors import Undeliverable
from libs.saga.definition import Saga, retriable
from libs.saga.instance import Instance, Status
from libs.service.errors import StartupRefused, SystemFault
from libs.service.host import Host
from migrations import runner
from order_saga import domain, store
from order_saga.app import service
from order_saga.cancel_completed_order import cancel_completed_order
from order_saga.create_order import OrderSheet, complete_order, create_order
from order_saga.domain import Book, Desk
from order_saga.recollection import Recollection
from tests.order_saga.answers import good_answers
from tests.order_saga.desks import BOOK, Office
from tests.support.builders import a_correlation, a_message, an_order
from tests.support.databases import Database
from tests.support.store import a_transaction

pytestmark = pytest.mark.integration

Databases = Callable[[str], Awaitable[Database]]


@pytest.fixture
async def held(database: Databases) -> Database:
    return await database("order_saga")


async def put(held: Database, office: Office) -> None:
    """Store what an office has decided so far."""
    async with a_transaction(held.runtime_dsn) as tx:
        await store.save(tx, office.desk)


async def load(held: Database, *messages: Message[Contract], book: Book = BOOK) -> Desk:
    """What a batch of these messages would have on its desk."""
    async with a_transaction(held.runtime_dsn) as tx:
        return await store.load(book, tx, messages)


def reply_to(office: Office, step: str) -> Message[Contract]:
    return a_message(good_answers(office.order)[step], correlation=a_correlation(office.order.order_id, step))


def read_back(desk: Desk, office: Office) -> Instance[object]:
    return desk.cases[SagaId(office.order.order_id)].instance


async def test_the_migrations_make_the_tables_that_the_code_knows(held: Database) -> None:
    await asyncio.to_thread(runner.check, "order_saga", held.owner_dsn)


@pytest.mark.parametrize("step", ["open_order", "process_payment", "complete_order"])
async def test_a_saga_is_read_back_as_it_was_written(held: Database, step: str) -> None:
    office = Office().goes_on_to(step)
    await put(held, office)
    desk = await load(held, reply_to(office, step))
    assert read_back(desk, office) == office.creating
    assert desk.more_running == 0


async def test_what_this_process_committed_last_is_not_read_again(held: Database) -> None:
    office, recollection = Office().starts(), Recollection()
    await put(held, office)
    recollection.note(office.desk)
    async with a_transaction(held.runtime_dsn) as tx:
        desk = await store.load(BOOK, tx, [reply_to(office, "open_order")], recollection)
    assert read_back(desk, office) is office.creating


async def test_what_another_process_has_changed_since_is_read(held: Database) -> None:
    office, recollection = Office().starts(), Recollection()
    await put(held, office)
    recollection.note(office.desk)
    message = reply_to(office, "open_order")
    async with a_transaction(held.runtime_dsn) as tx:
        other = await store.load(BOOK, tx, [message])
        domain.reply(other, message)  # type: ignore[arg-type]
        await store.save(tx, other)
    async with a_transaction(held.runtime_dsn) as tx:
        desk = await store.load(BOOK, tx, [reply_to(office, "validate_products")], recollection)
    assert read_back(desk, office) == read_back(other, office)
    assert read_back(desk, office) != office.creating


def test_only_so_many_sagas_under_way_are_recollected() -> None:
    recollection = Recollection(most=1)
    offices = [Office().starts(), Office().starts()]
    for office in offices:
        recollection.note(office.desk)
    ids = [SagaId(office.order.order_id) for office in offices]
    assert list(recollection.of(ids)) == ids[1:]


async def test_an_altered_saga_is_read_back_as_it_was_written(held: Database) -> None:
    office = Office().starts()
    await put(held, office)
    async with a_transaction(held.runtime_dsn) as tx:
        message = reply_to(office, "open_order")
        desk = await store.load(BOOK, tx, [message])
        domain.reply(desk, message)  # type: ignore[arg-type]
        await store.save(tx, desk)
    again = await load(held, message)
    assert read_back(again, office) == read_back(desk, office)
    assert read_back(again, office).revision == 2
    lines = await held.rows("SELECT revision, seq, kind, step FROM saga_journal ORDER BY 1, 2")
    assert lines == [
        (1, 0, "started", None),
        (1, 1, "sent", "open_order"),
        (2, 0, "succeeded", "open_order"),
        (2, 1, "sent", "validate_products"),
    ]


async def test_starts_and_cancels_find_both_sagas_of_their_order(held: Database) -> None:
    office = Office().completed()
    office.cancel()
    await put(held, office)
    desk = await load(held, a_message(office.order))
    assert {case.instance.type for case in desk.cases.values()} == {
        create_order.name,
        cancel_completed_order.name,
    }
    (finished,) = await held.row("SELECT count(finished_at) FROM sagas WHERE status = 'completed'")
    assert finished == 1


async def test_a_batch_of_both_kinds_is_one_statement(held: Database) -> None:
    one, two = Office().starts(), Office().starts()
    await put(held, one)
    await put(held, two)
    async with a_transaction(held.runtime_dsn) as tx:
        desk = await store.load(BOOK, tx, [reply_to(one, "open_order"), a_message(two.order)])
        assert len(desk.cases) == 2
        assert len(tx.statements) == 2, "the clock, and one load"


async def test_a_desk_without_changes_writes_nothing(held: Database) -> None:
    async with a_transaction(held.runtime_dsn) as tx:
        desk = await store.load(BOOK, tx, [a_message(an_order())])
        before = len(tx.statements)
        await store.save(tx, desk)
        assert len(tx.statements) == before


async def test_a_saga_under_way_in_an_unknown_version_is_the_systems_fault(held: Database) -> None:
    office = Office().starts()
    await put(held, office)
    await held.rows("UPDATE sagas SET version = 7 RETURNING id")
    with pytest.raises(SystemFault, match="create_order version 7"):
        await load(held, reply_to(office, "open_order"))


async def test_a_late_answer_to_an_ended_saga_of_a_version_that_is_gone_is_a_dead_letter(
    held: Database,
) -> None:
    office = Office().completed()
    await put(held, office)
    await held.rows("UPDATE sagas SET version = 7 RETURNING id")
    message = reply_to(office, "open_order")
    desk = await load(held, message)
    with pytest.raises(Undeliverable, match="saga_version_retired"):
        domain.reply(desk, message)  # type: ignore[arg-type]


async def test_an_older_version_goes_on_beside_the_newer(held: Database) -> None:
    office = Office().goes_on_to("complete_order")
    await put(held, office)
    newer = Saga[OrderSheet](create_order.name, version=2, steps=[retriable(complete_order)])
    book = Book.of(newer, cancel_completed_order, create_order)
    message = reply_to(office, "complete_order")
    desk = await load(held, message, book=book)
    domain.reply(desk, message)  # type: ignore[arg-type]
    ended = read_back(desk, office)
    assert (ended.version, ended.status) == (1, Status.COMPLETED)


async def test_start_up_is_refused_where_versions_are_under_way_that_are_not_known(held: Database) -> None:
    office, ended = Office().starts(), Office().completed()
    await put(held, office)
    await put(held, ended)
    host = Host(service, service.settings(database_url=held.runtime_dsn))
    await host.runtime.database.open()
    try:
        await store.check_versions(BOOK, host.runtime)
        await held.rows("UPDATE sagas SET version = 8 WHERE finished_at IS NOT NULL RETURNING id")
        await store.check_versions(BOOK, host.runtime)
        await held.rows("UPDATE sagas SET version = 9 WHERE finished_at IS NULL RETURNING id")
        with pytest.raises(StartupRefused, match="create_order version 9"):
            await store.check_versions(BOOK, host.runtime)
    finally:
        await host.runtime.database.close()
        await host.runtime.http.aclose()


async def test_the_journal_can_only_be_added_to(held: Database) -> None:
    await put(held, Office().starts())
    for statement in ("DELETE FROM saga_journal", "UPDATE saga_journal SET kind = 'x'", "DELETE FROM sagas"):
        async with await psycopg.AsyncConnection.connect(held.runtime_dsn) as session:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await session.execute(statement.encode())


async def test_a_revision_is_journalled_once_even_by_two_who_hold_the_same_row(held: Database) -> None:
    """The journal's key is the last fence: a second write of a revision fails, and all that it came with."""
    office = Office().starts()
    await put(held, office)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await put(held, replace(office, desk=replace(office.desk, cases={})))


async def test_the_tables_refuse_what_no_saga_may_be(held: Database) -> None:
    await put(held, Office().starts())
    for change in (
        "UPDATE sagas SET deadline = NULL",
        "UPDATE sagas SET status = 'completed'",
        "UPDATE sagas SET business_key = gen_random_uuid()",
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            await held.rows(change)


async def test_parked_sagas_are_counted_apart(held: Database) -> None:
    await put(held, Office().starts())
    office = Office().goes_on_to("complete_order")
    while office.creating.parked_at is None:
        office.times_out()
    await put(held, office)
    async with a_transaction(held.runtime_dsn) as tx:
        assert await store.census(tx) == {(Status.RUNNING, False): 1, (Status.RUNNING, True): 1}
