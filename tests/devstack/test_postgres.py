"""The embedded PostgreSQL as a library: it starts, keeps what it was told, and comes back after a crash."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from devstack import processes, server_account
from devstack.errors import ProcessDiedError, StackError
from devstack.postgres import EmbeddedPostgres
from devstack.readiness import free_port, port_is_free

pytestmark = pytest.mark.integration

SMALL = {"shared_buffers": "32MB", "max_connections": "20"}


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "pg", free_port(), settings=SMALL)
    yield server
    await server.stop()
    server.remove()


async def _ask(server: EmbeddedPostgres, statement: str) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(server.admin_dsn, autocommit=True) as session:
        cursor = await session.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


async def test_data_survive_a_stop(postgres: EmbeddedPostgres) -> None:
    await postgres.start()
    await _ask(postgres, "CREATE TABLE kept AS SELECT 1 AS n")
    await postgres.stop()
    assert port_is_free(postgres.port)
    await postgres.start()
    assert await _ask(postgres, "SELECT n FROM kept") == [(1,)]


async def test_data_survive_a_kill(postgres: EmbeddedPostgres) -> None:
    process = await postgres.start()
    await _ask(postgres, "CREATE TABLE kept AS SELECT 1 AS n")
    await processes.stop(process, by=signal.SIGKILL)
    await postgres.start()
    assert await _ask(postgres, "SELECT n FROM kept") == [(1,)]


async def test_it_is_durable_and_closed_to_strangers(postgres: EmbeddedPostgres) -> None:
    await postgres.start()
    for setting, value in {
        "fsync": "on",
        "synchronous_commit": "on",
        "listen_addresses": "127.0.0.1",
    }.items():
        assert await _ask(postgres, f"SHOW {setting}") == [(value,)]
    assert await _ask(postgres, "SHOW password_encryption") == [("scram-sha-256",)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await psycopg.AsyncConnection.connect(postgres.admin_dsn, password="wrong")


async def test_programs_on_this_machine_come_by_a_socket_also_after_a_kill(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", free_port(), settings=SMALL, sockets=True)
    folder = server_account.socket_folder(tmp_path / "pg")
    try:
        await processes.stop(await server.start(), by=signal.SIGKILL)
        assert list(folder.iterdir())
        await server.start()
        async with await psycopg.AsyncConnection.connect(server.local_dsn) as session:
            assert session.info.host == str(folder)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            await psycopg.AsyncConnection.connect(server.local_dsn, password="wrong")
        assert await _ask(server, "SELECT 1") == [(1,)]
    finally:
        await server.stop()
        server.remove()
    assert not folder.exists()


def test_a_socket_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(StackError, match="another user's"):
        server_account.make_socket_folder(tmp_path / "link", None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give it another user")
async def test_as_root_it_runs_as_a_user_of_its_own(postgres: EmbeddedPostgres) -> None:
    process = await postgres.start()
    assert Path(f"/proc/{process.pid}").stat().st_uid != 0


async def test_a_lock_file_with_a_recycled_pid_does_not_hinder(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", free_port(), settings=SMALL)
    process = await server.start()
    [(folder,)] = await _ask(server, "SHOW data_directory")
    lock = Path(str(folder)) / "postmaster.pid"
    kept = lock.read_text()
    await processes.stop(process, by=signal.SIGKILL)
    lock.write_text(kept.replace(str(process.pid), str(os.getpid()), 1))
    try:
        await server.start()
    finally:
        await server.stop()
        server.remove()


async def test_a_server_that_the_stack_lost_sight_of_is_named(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    process = await postgres.start()
    twin = EmbeddedPostgres(tmp_path / "pg", free_port(), settings=SMALL)
    with pytest.raises(StackError, match=f"pid {process.pid}"):
        await twin.start()


async def test_other_data_than_expected_are_named(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    await postgres.start()
    await postgres.stop()
    stranger = EmbeddedPostgres(tmp_path / "pg", postgres.port, password="another", settings=SMALL)
    try:
        with pytest.raises(StackError, match="another password"):
            await stranger.start()
    finally:
        await stranger.stop()


async def test_a_start_that_fails_shows_the_end_of_the_log(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", free_port(), settings={"shared_buffers": "much"})
    try:
        with pytest.raises(ProcessDiedError, match="shared_buffers"):
            await server.start()
    finally:
        await server.stop()
        server.remove()
