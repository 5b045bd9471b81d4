"""A rebuild on the real broker and database: the same rows, under traffic, and what it mends and refuses."""

import asyncio
import io
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import psycopg
import pytest

from libs.contracts.message import Contract
from libs.messaging.message import Message
from migrations import runner
from order_history import app
from order_history.rebuild import Rebuild, RebuildRefused, Report
from order_history.rebuild.progress import Progress
from tests.order_history.rows import MOVE, contents, folded, follow, record_of
from tests.order_history.stories import Story, told
from tests.support.api import asked, bearer
from tests.support.builders import a_record
from tests.support.databases import Database
from tests.support.services import ROOT, ServiceProcess
from tests.support.topics import Topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

Services = Callable[..., Awaitable[ServiceProcess]]
Batch = list[Message[Contract]]

CATALOGUE = """
    SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename IN ('orders', 'order_timeline')
    UNION ALL SELECT concat_ws(' ', conname, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE conrelid IN ('orders'::regclass, 'order_timeline'::regclass)
    UNION ALL SELECT concat_ws(' ', relname, pg_get_userbyid(relowner), relacl, reloptions)
        FROM pg_class WHERE oid IN ('orders'::regclass, 'order_timeline'::regclass)
    UNION ALL SELECT concat_ws(' ', attname, attidentity, attnotnull, col_description(attrelid, attnum))
        FROM pg_attribute WHERE attrelid IN ('orders'::regclass, 'order_timeline'::regclass) AND attnum > 0
    ORDER BY 1
"""
ARRIVALS = "SELECT order_id, event, arrived FROM order_timeline ORDER BY arrived"


@pytest.fixture
async def history(database: Callable[[str], Awaitable[Database]]) -> Database:
    return await database("order_history")


def a_rebuild(history: Database, topics: Topics, dsn: str | None = None) -> Rebuild:
    progress = Progress(io.StringIO(), "events")
    return Rebuild(dsn or history.owner_dsn, topics.bootstrap_servers, topics.prefix, progress)


def some_batches(count: int = 5) -> list[Batch]:
    tellings = (Story.completes, Story.runs_short, Story.times_out, Story.is_taken_back)
    return [tellings[n % len(tellings)](Story()) for n in range(count)]


def found(report: Report) -> dict[str, tuple[int, int, int]]:
    return {one.table: (one.added, one.lost, one.changed) for one in report.differences}


NOTHING = {"orders": (0, 0, 0), "order_timeline": (0, 0, 0)}


@pytest.mark.parametrize("role", ["owner", "superuser"])
async def test_a_rebuild_leaves_the_same_rows_in_tables_of_the_same_make(
    history: Database, topics: Topics, role: str
) -> None:
    batches = some_batches()
    await follow(history, topics, *batches)
    before, catalogue = await contents(history), await history.rows(CATALOGUE)
    tables = await history.rows("SELECT 'orders'::regclass::oid, 'order_timeline'::regclass::oid")
    dsn = history.owner_dsn if role == "owner" else history.admin_dsn
    report = await a_rebuild(history, topics, dsn).run()
    assert report.swapped
    assert found(report) == NOTHING
    assert report.records == sum(map(len, batches))
    assert await contents(history) == before
    assert await history.rows(CATALOGUE) == catalogue
    assert await history.rows("SELECT 'orders'::regclass::oid, 'order_timeline'::regclass::oid") != tables
    assert await history.rows("SELECT FROM pg_namespace WHERE nspname = 'rebuild'") == []
    await asyncio.to_thread(runner.check, "order_history", history.owner_dsn)
    await folded(history, Story().completes())


async def test_a_read_model_that_has_read_nothing_yet_is_made_anew_too(
    history: Database, topics: Topics
) -> None:
    await topics.publish(*(record_of(message) for message in Story().completes()))
    report = await a_rebuild(history, topics).run()
    assert (report.records, report.swapped, found(report)) == (0, True, NOTHING)
    assert await contents(history) == ([], [])


async def test_readers_notice_nothing(history: Database, topics: Topics) -> None:
    stories = [Story() for _ in range(50)]
    await follow(history, topics, *(story.completes() for story in stories))
    one = stories[0]
    statuses: list[int] = []
    over = asyncio.Event()

    async def ask(client: httpx.AsyncClient, path: str) -> None:
        while not over.is_set():
            answer = await client.get(path, headers=bearer("customer", user_id=one.user_id))
            assert answer.json()["items" if path == "/orders" else "timeline"]
            statuses.append(answer.status_code)

    async with asked(app.service, history) as client, asyncio.TaskGroup() as group:
        for path in ("/orders", f"/orders/{one.order_id}"):
            group.create_task(ask(client, path))
        for _ in range(3):
            assert (await a_rebuild(history, topics).run()).swapped
        over.set()
    assert len(statuses) > 10
    assert set(statuses) == {200}


async def test_only_compared_nothing_is_swapped(history: Database, topics: Topics) -> None:
    await follow(history, topics, *some_batches())
    tables = await history.rows("SELECT 'orders'::regclass::oid")
    await history.rows("UPDATE orders SET reason = 'another' WHERE reason IS NOT NULL")
    report = await a_rebuild(history, topics).run(swap=False)
    assert not report.swapped
    assert found(report)["orders"][2] > 0
    assert await history.rows("SELECT 'orders'::regclass::oid") == tables
    assert await history.rows("SELECT FROM orders WHERE reason = 'another'")
    assert await history.rows("SELECT FROM pg_namespace WHERE nspname = 'rebuild'") == []


async def test_what_differs_from_the_events_is_shown_and_mended(history: Database, topics: Topics) -> None:
    await follow(history, topics, *some_batches(8))
    before = await contents(history)
    await history.rows("DELETE FROM orders WHERE order_id = (SELECT min(order_id::text)::uuid FROM orders)")
    await history.rows("UPDATE orders SET total_minor = 1 WHERE status = 'completed'")
    await history.rows("DELETE FROM order_timeline WHERE event = 'paid'")
    report = await a_rebuild(history, topics).run()
    assert report.swapped
    assert found(report) == {"orders": (1, 0, 1), "order_timeline": (4, 0, 0)}
    assert await contents(history) == before


@pytest.mark.parametrize(
    "unknown",
    [
        """
        INSERT INTO orders (order_id, status, rank, created_at, updated_at, origin_from)
        VALUES (gen_random_uuid(), 'pending', 1, now(), now(), '\\x00')
        """,
        "UPDATE orders SET rank = 7, status = 'cancelled' WHERE status = 'completed'",
        """
        INSERT INTO order_timeline (order_id, event, ce_id, at)
        SELECT order_id, 'refunded', order_id, now() FROM orders WHERE status = 'completed'
        """,
    ],
)
async def test_what_the_topics_do_not_hold_is_not_lost_unasked(
    history: Database, topics: Topics, unknown: str
) -> None:
    await follow(history, topics, *some_batches(4))
    truth = await contents(history)
    await history.rows(unknown)
    live = await contents(history)
    with pytest.raises(RebuildRefused, match="would be lost"):
        await a_rebuild(history, topics).run()
    assert await contents(history) == live
    report = await a_rebuild(history, topics).run(accept_losses=True)
    assert sum(lost for _, lost, _ in found(report).values()) == 1
    assert await contents(history) == truth


async def test_a_second_rebuild_waits_for_nobody(history: Database, topics: Topics) -> None:
    async with await psycopg.AsyncConnection.connect(history.owner_dsn) as other:
        await other.execute("SELECT pg_advisory_lock(hashtext('order_history rebuild'))")
        with pytest.raises(RebuildRefused, match="Another rebuild"):
            await a_rebuild(history, topics).run()


async def test_a_topic_that_ends_before_the_live_tables_is_another_topic(
    history: Database, topics: Topics
) -> None:
    await follow(history, topics, *some_batches(2))
    await history.rows("UPDATE consumer_offsets SET next_offset = next_offset + 100")
    with pytest.raises(RebuildRefused, match="not the one that they were made from"):
        await a_rebuild(history, topics).run()


async def test_the_live_tables_are_followed_and_not_overtaken(history: Database, topics: Topics) -> None:
    """What lies behind the stored offsets is not folded yet: live will do that after the swap."""
    await follow(history, topics, *some_batches(2))
    before = await contents(history)
    await topics.publish(*(record_of(m) for messages in some_batches(2) for m in messages))
    report = await a_rebuild(history, topics).run()
    assert found(report) == NOTHING
    assert await contents(history) == before


async def test_records_that_nobody_can_read_are_left_out(history: Database, topics: Topics) -> None:
    await follow(history, topics, *some_batches(2))
    whole = a_record(Story().reserved())
    [broken] = await topics.publish(replace(whole, value=b"{"))
    await history.rows(MOVE, topics.prefix + broken.topic, broken.partition, broken.offset + 1)
    report = await a_rebuild(history, topics).run()
    assert report.left_out == 1
    assert found(report) == NOTHING


async def test_streams_find_their_place_again(history: Database, topics: Topics) -> None:
    """The order of arrival of an order under way is the live one, whatever the rebuild read first."""
    story = Story()
    created, validated, reserved = told(story.created(), story.validated(), story.reserved())
    await follow(history, topics, [reserved], [validated], [created])
    before = [event for _, event, _ in await history.rows(ARRIVALS)]
    await a_rebuild(history, topics).run()
    assert [event for _, event, _ in await history.rows(ARRIVALS)] == before
    await folded(history, told(story.paid()))
    assert [event for _, event, _ in await history.rows(ARRIVALS)] == [*before, "paid"]


async def test_a_rebuild_under_traffic_loses_nothing(
    history: Database, topics: Topics, service: Services
) -> None:
    """REBUILD_ORDERS=20000 makes this the measurement of a rebuild; `-s` shows what it took."""
    await service("order_history", history)
    batches = some_batches(int(os.environ.get("REBUILD_ORDERS", "200")))
    at_first = len(batches)
    stop = asyncio.Event()

    async def all_folded() -> bool:
        [(read,)] = await history.rows("SELECT sum(next_offset) FROM consumer_offsets")
        return bool(read == sum(map(len, batches)))

    async def traffic() -> None:
        while not stop.is_set():
            more = some_batches(20)
            await topics.publish(*(record_of(m) for messages in more for m in messages))
            batches.extend(more)

    for start in range(0, at_first, 1_000):
        await topics.publish(*(record_of(m) for told in batches[start : start + 1_000] for m in told))
    await eventually(all_folded, within=120, every=0.5, what=f"{at_first} orders folded")
    talking = asyncio.create_task(traffic())
    reports = [await a_rebuild(history, topics).run() for _ in range(3)]
    stop.set()
    await talking
    for report in reports:
        print(f"{at_first:,} orders and more: {report}")  # noqa: T201 - the measurement
    assert [found(report) for report in reports] == [NOTHING] * 3
    assert len(batches) > at_first
    await eventually(all_folded, within=60, every=0.1, what=f"{len(batches)} orders folded")
    live = await contents(history)
    await history.rows("TRUNCATE orders, order_timeline")
    in_order = [message for messages in batches for message in messages]
    await folded(history, *(in_order[n : n + 5_000] for n in range(0, len(in_order), 5_000)))
    assert await contents(history) == live
    assert await history.rows("SELECT FROM parked_messages UNION ALL SELECT FROM dead_letters") == []


async def run_command(folder: Path, *arguments: str, **environment: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "order_history",
        *arguments,
        stdout=PIPE,
        stderr=PIPE,
        cwd=folder,
        env={**clean(os.environ), "PYTHONPATH": str(ROOT), **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    named = {"DATABASE_OWNER_URL", "KAFKA_BOOTSTRAP_SERVERS", "TOPIC_PREFIX", "STACK_DIR"}
    return {name: value for name, value in environ.items() if name not in named}


async def test_the_command_says_what_it_did(history: Database, topics: Topics, tmp_path: Path) -> None:
    await follow(history, topics, *some_batches(4))
    where = {"KAFKA_BOOTSTRAP_SERVERS": topics.bootstrap_servers, "TOPIC_PREFIX": topics.prefix}
    code, out, err = await run_command(tmp_path, "rebuild", DATABASE_OWNER_URL=history.owner_dsn, **where)
    assert code == 0, err
    assert "27 events folded" in out
    assert "Row for row equal. Swapped." in out
    assert "100%" in err
    await history.rows("UPDATE orders SET reason = 'another' WHERE reason IS NOT NULL")
    code, out, _ = await run_command(
        tmp_path, "rebuild", "--compare-only", DATABASE_OWNER_URL=history.owner_dsn, **where
    )
    assert code == 1
    assert "orders: 0 rows added, 3 changed, 0 lost" in out


async def test_the_command_finds_the_stack_that_runs_here(
    history: Database, topics: Topics, tmp_path: Path
) -> None:
    code, _, err = await run_command(tmp_path, "rebuild")
    assert (code, err) == (1, "\nNot rebuilt: DATABASE_OWNER_URL is not set, and no stack is running here.\n")
    (tmp_path / ".stack").mkdir()
    stack = {"postgres_admin": history.admin_dsn, "kafka_bootstrap": topics.bootstrap_servers}
    (tmp_path / ".stack" / "stack.json").write_text(json.dumps(stack))
    code, _, err = await run_command(tmp_path, "rebuild", TOPIC_PREFIX=topics.prefix)
    assert code == 1
    assert 'database "order_history" does not exist' in err


def test_progress_on_a_terminal_is_a_bar_and_elsewhere_lines() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, elsewhere = Terminal(), io.StringIO()
    for out in (terminal, elsewhere):
        progress = Progress(out, "events")
        progress.expect(200)
        progress.advance(50)
        progress.close()
    assert "25%  50 of 200 events" in terminal.getvalue()
    assert terminal.getvalue().count("\r") == 2
    assert elsewhere.getvalue().count("\n") == 2
