"""A database server: rows, transactions at READ COMMITTED, row locks, unique keys; what it is told arrives over a network."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

import psycopg
from psycopg import errors

from tests.simulation.clock import Process
from tests.simulation.world import World

Row: TypeAlias = dict[str, Any]
Key: TypeAlias = Any
Rows: TypeAlias = list[tuple[Any, ...]]
Handler: TypeAlias = Callable[["Tx", Sequence[Any]], Rows]
LockName: TypeAlias = tuple[Any, ...]

BEGIN: Final = "BEGIN"
COMMIT: Final = "COMMIT"
ROLLBACK: Final = "ROLLBACK"
CLOSE: Final = "CLOSE"
LOCK_SECONDS: Final = 2.0
YIELDS: Final = 0.06
"""How often a server turns to another session between two statements."""


class Table:
    """Committed rows by primary key, with the columns that are unique beside it and the rules that a row obeys."""

    def __init__(
        self,
        name: str,
        *key: str,
        unique: Sequence[tuple[str, ...]] = (),
        rule: Callable[[Row], bool] | None = None,
    ) -> None:
        self.name = name
        self.columns = key
        self.unique = unique
        self.rule = rule
        self.rows: dict[Key, Row] = {}
        self.born: dict[Key, int] = {}
        self.index: list[dict[Key, Key]] = [{} for _ in unique]
        self._column = key[0] if len(key) == 1 else None

    def key(self, row: Row) -> Key:
        """A row's primary key: a value, or a tuple of several."""
        return row[self._column] if self._column is not None else tuple(row[name] for name in self.columns)

    def put(self, key: Key, row: Row | None, born: int) -> None:
        """Make a committed change."""
        before = self.rows.get(key)
        for columns, index in zip(self.unique, self.index, strict=True):
            if before is not None:
                index.pop(_values(before, columns), None)
            if row is not None and (values := _values(row, columns)) is not None:
                index[values] = key
        if row is None:
            self.rows.pop(key, None)
            self.born.pop(key, None)
            return
        if before is None:
            self.born[key] = born
        self.rows[key] = row


def _values(row: Row, columns: Sequence[str]) -> Key:
    """The values of a unique index; None where one of them is NULL, which is equal to nothing."""
    values = tuple(row[name] for name in columns)
    return None if None in values else values


class Waiting(Exception):  # noqa: N818 - what a statement does
    """A statement has to wait until a lock is free; it is run again then, with its snapshot as it was."""

    def __init__(self, lock: LockName) -> None:
        super().__init__(lock)
        self.lock = lock


class Tx:
    """A transaction in progress, as the statements' handlers see it."""

    __slots__ = ("_held", "database", "session", "snapshot", "writes")

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.database = session.database
        self.writes: dict[str, dict[Key, Row | None]] = {}
        self.snapshot = 0
        self._held: list[LockName] = []

    @property
    def clock(self) -> datetime:
        """clock_timestamp()."""
        return self.database.world.now()

    def get(self, table: str, key: Key) -> Row | None:
        """A row as this transaction sees it."""
        mine = self.writes.get(table)
        if mine is not None and key in mine:
            return mine[key]
        return self.database.tables[table].rows.get(key)

    def all(self, table: str) -> Iterator[Row]:
        """Every row of a table as this transaction sees it, in no promised order."""
        rows = self.database.tables[table].rows
        mine = self.writes.get(table)
        if not mine:
            yield from rows.values()
            return
        for key, row in rows.items():
            if key not in mine:
                yield row
        for changed in mine.values():
            if changed is not None:
                yield changed

    def lock(self, table: str, keys: Iterable[Key]) -> Iterator[Row]:
        """FOR UPDATE: the rows with these keys, each as it is once its lock is there."""
        committed = self.database.tables[table]
        mine = self.writes.get(table, {})
        for key in keys:
            if key in mine:
                row = mine[key]
            elif committed.born.get(key, self.snapshot + 1) > self.snapshot:
                continue
            else:
                self.take(table, key)
                row = committed.rows.get(key)
            if row is not None:
                yield row

    def conflicting(self, table: str, key: Key) -> Row | None:
        """ON CONFLICT DO UPDATE: the row that stands in the way, locked, whether the snapshot has it or not."""
        self.take(table, key)
        return self.get(table, key)

    def free(self, table: str, key: Key) -> bool:
        """SKIP LOCKED: whether no other transaction has the row; if so, this one has it from now on."""
        owner = self.database.locks.get((table, key))
        if owner is not None and owner is not self.session:
            return False
        self.take(table, key)
        return True

    def take(self, *lock: Any) -> None:
        """Take a lock until the transaction ends. Raises Waiting while another session has it."""
        owner = self.database.locks.get(lock)
        if owner is None:
            self.database.locks[lock] = self.session
            self._held.append(lock)
        elif owner is not self.session:
            raise Waiting(lock)

    def insert(self, table: str, row: Row) -> bool:
        """Insert a row, unless one with a key of its is there. Raises Waiting while another may insert that key."""
        target = self.database.tables[table]
        key = target.key(row)
        if self._present(target, table, key):
            return False
        self.take(table, key)
        values = [_values(row, columns) for columns in target.unique]
        for number, value in enumerate(values):
            if value is None:
                continue
            if (other := target.index[number].get(value)) is not None and self._present(target, table, other):
                return False
            self.take(table, target.unique[number], value)
        self._check(target, row)
        self.writes.setdefault(table, {})[key] = row
        return True

    def add(self, table: str, row: Row) -> None:
        """Insert a row that must be new."""
        if not self.insert(table, row):
            raise errors.UniqueViolation(f"{table}: {self.database.tables[table].key(row)} is there already")

    def change(self, table: str, row: Row, **values: Any) -> Row:
        """Update a row. Raises Waiting while another transaction has it."""
        target = self.database.tables[table]
        key = target.key(row)
        self.take(table, key)
        changed = {**(self.get(table, key) or row), **values}
        self._check(target, changed)
        self.writes.setdefault(table, {})[key] = changed
        return changed

    def delete(self, table: str, key: Key) -> None:
        """Delete a row, if it is there."""
        if self.get(table, key) is not None:
            self.take(table, key)
            self.writes.setdefault(table, {})[key] = None

    def number(self, sequence: str) -> int:
        """The next value of an identity column; numbers of what is rolled back stay unused."""
        given = self.database.numbers.get(sequence, 0) + 1
        self.database.numbers[sequence] = given
        return given

    def end(self) -> None:
        """Let go of all locks."""
        self.database.release(self._held, self.session)
        self._held = []

    def _present(self, target: Table, table: str, key: Key) -> bool:
        mine = self.writes.get(table)
        if mine is not None and key in mine:
            return mine[key] is not None
        if key not in target.rows:
            return False
        owner = self.database.locks.get((table, key))
        if owner is not None and owner is not self.session and owner.deletes(table, key):
            raise Waiting((table, key))
        return True

    @staticmethod
    def _check(target: Table, row: Row) -> None:
        if target.rule is not None and not target.rule(row):
            raise errors.CheckViolation(f"{target.name}: {row}")


@dataclass(slots=True, eq=False)
class Request:
    """Statements that travelled together, and what comes of them."""

    statements: Sequence[tuple[str, Sequence[Any]]]
    answer: Callable[[list[Rows] | BaseException], None]
    done: list[Rows] = field(default_factory=list)


class Played(NamedTuple):
    """A statement as it was done: when, by which session, and what came of it.

    `rows` are its rows or the error that it met; `waited` says that it had to wait for a lock, `statement`
    may be COMMIT, ROLLBACK or CLOSE too.
    """

    at: datetime
    session: "Session"
    statement: str
    parameters: Sequence[Any]
    rows: Rows | psycopg.Error
    waited: bool = False


class Session:
    """A connection as the server has it: does one request after the other, waits for locks, may die."""

    def __init__(self, database: "Database", process: Process | None, name: str) -> None:
        self.database = database
        self.process = process
        self.name = name
        self.begun = False
        """Whether a transaction was begun; without one, each statement is its own."""
        self.dead = False
        self.lost = False
        """Whether the answer to its last commit is lost, and with it the connection."""
        self.tx: Tx | None = None
        self.advisory: set[LockName] = set()
        self.notes: list[Any] = []
        self._requests: deque[Request] = deque()
        self._rested = False
        self._waits_for: LockName | None = None
        self._timer: Any = None

    def deletes(self, table: str, key: Key) -> bool:
        """Whether its transaction has deleted a row."""
        mine = None if self.tx is None else self.tx.writes.get(table)
        return mine is not None and key in mine and mine[key] is None

    def arrive(self, request: Request) -> None:
        """A request has come over the network."""
        if self.dead:
            request.answer(psycopg.OperationalError("the connection is lost"))
            return
        self._requests.append(request)
        if len(self._requests) == 1:
            self._serve()

    def wake(self, lock: LockName) -> None:
        """A lock that this session waits for may be free now."""
        if self._waits_for == lock:
            self._proceed()
            self._serve()

    def die(self, error: BaseException | None = None) -> None:
        """End the session: its transaction never was, its locks are free, who waits hears of an error."""
        if self.dead:
            return
        self.dead = True
        self._proceed()
        if self.tx is not None:
            tx, self.tx = self.tx, None
            tx.end()
        self._play(CLOSE)
        self.database.shared.pop(self, None)
        self.database.release(self.advisory, self)
        self.advisory.clear()
        self.database.sessions.pop(self, None)
        requests, self._requests = self._requests, deque()
        for request in requests:
            request.answer(error or psycopg.OperationalError("the connection is lost"))

    def _serve(self) -> None:
        while self._requests and not self.dead:
            request = self._requests[0]
            try:
                while len(request.done) < len(request.statements) and not self.lost:
                    if self._lets_others_go_first():
                        return
                    statement, parameters = request.statements[len(request.done)]
                    request.done.append(self._execute(statement, parameters))
            except Waiting as waiting:
                self._wait(waiting.lock)
                return
            except psycopg.Error as error:
                self._abort()
                self._answer(request, error)
            else:
                self._answer(request, request.done)

    def _lets_others_go_first(self) -> bool:
        """Between two statements that came together other sessions may do something, now and then."""
        world = self.database.world
        if self._waits_for is not None or self._rested or world.chance.random() > YIELDS:
            self._rested = False
            return False
        self._rested = True
        world.later(world.delay(), self._serve)
        return True

    def _answer(self, request: Request, result: list[Rows] | BaseException) -> None:
        """Answer a request, unless the session's end has done so."""
        if self.lost:
            self.die(psycopg.OperationalError("the answer to the commit was lost"))
        elif not self.dead:
            self._requests.popleft()
            request.answer(result)

    def _execute(self, statement: str, parameters: Sequence[Any]) -> Rows:
        if statement == BEGIN:
            self.begun = True
            self._play(BEGIN)
            return []
        if statement == COMMIT:
            return self._commit()
        if statement == ROLLBACK:
            self._abort()
            return []
        tx = self.tx
        if tx is None:
            tx = self.tx = Tx(self)
        waited, self._waits_for = self._waits_for is not None, None
        if not waited:
            tx.snapshot = self.database.version
            if (mishap := self.database.mishap(self)) is not None:
                raise mishap
        before = {name: dict(changed) for name, changed in tx.writes.items()}
        try:
            rows = self.database.handlers[statement](tx, parameters)
        except Waiting:
            tx.writes = before  # it will be done from its beginning, and must not meet its own rows
            raise
        except psycopg.Error as error:
            self._play(statement, parameters, error, waited=waited)
            raise
        if self.begun or self._ends_well(tx):
            self._play(statement, parameters, rows, waited=waited)
        return rows

    def _commit(self) -> Rows:
        if self.tx is None or self._ends_well(self.tx):
            self._play(COMMIT)
        self.begun = False
        return []

    def _ends_well(self, tx: Tx) -> bool:
        """Commit; whether that has happened, although its answer may be lost."""
        survives = self.database.commits()
        self.tx = None
        if survives is not False:
            self.database.apply(tx)
        tx.end()
        if survives is not None:
            self.lost = True
        return survives is not False

    def _abort(self) -> None:
        self.notes.clear()
        if self.begun:
            self.begun = False
            self._play(ROLLBACK)
        if self.tx is not None:
            tx, self.tx = self.tx, None
            tx.end()

    def _play(
        self,
        statement: str,
        parameters: Sequence[Any] = (),
        rows: Rows | psycopg.Error = (),  # type: ignore[assignment]
        *,
        waited: bool = False,
    ) -> None:
        if (tape := self.database.tape) is not None:
            tape.append(Played(self.database.world.now(), self, statement, parameters, rows, waited))

    def _wait(self, lock: LockName) -> None:
        self._waits_for = lock
        if self._deadlocked():
            self._proceed()
            self._fail(errors.DeadlockDetected("deadlock detected"))
            return
        self.database.waiters.setdefault(lock, []).append(self)
        if self._timer is None:
            self._timer = self.database.world.loop.call_later(
                LOCK_SECONDS,
                self._fail,
                errors.LockNotAvailable("canceling statement due to lock timeout"),
                context=self.database.world.outside,
            )

    def _deadlocked(self) -> bool:
        seen = self
        while (wanted := seen._waits_for) is not None:
            owner = self.database.locks.get(wanted)
            if owner is None:
                return False
            if owner is self:
                return True
            seen = owner
        return False

    def _proceed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        queue = self.database.waiters.get(self._waits_for or (), [])
        if self in queue:
            queue.remove(self)

    def _fail(self, error: psycopg.Error) -> None:
        self._proceed()
        self._waits_for = None
        self._abort()
        request = self._requests.popleft()
        request.answer(error)
        self._serve()


class Database:
    """One service's database on its server."""

    def __init__(
        self, world: World, name: str, tables: Iterable[Table], handlers: Mapping[str, Handler]
    ) -> None:
        self.world = world
        self.name = name
        self.tables = {table.name: table for table in tables}
        self.handlers = handlers
        self.locks: dict[LockName, Session] = {}
        self.waiters: dict[LockName, list[Session]] = {}
        self.numbers: dict[str, int] = {}
        self.sessions: dict[Session, None] = {}
        self.shared: dict[Session, int] = {}
        """Who has the shared advisory lock of those who write to the outbox, and for which process."""
        self.version = 0
        self.up = True
        self.lose_commits = 0.0
        """With which chance the answer to a commit is lost at present."""
        self.refuse: list[psycopg.Error] = []
        """Errors that the next statements of transactions get."""
        self.tape: list[Played] | None = None
        """What sessions do, in the order in which it is done, where somebody wants to do it again."""
        self.watch: Callable[[Session, dict[str, dict[Key, Row | None]]], None] = lambda *_: None

    def open(self, process: Process | None, name: str) -> Session:
        """A new session. Raises OperationalError while the server is down."""
        if not self.up:
            raise psycopg.OperationalError("connection refused")
        session = Session(self, process, name)
        self.sessions[session] = None
        return session

    def go_down(self) -> None:
        """Stop at once, as after a power cut: what is committed stays."""
        self.up = False
        for session in list(self.sessions):
            session.die(errors.AdminShutdown("terminating connection due to administrator command"))

    def apply(self, tx: Tx) -> None:
        """Make a transaction's changes visible."""
        if tx.writes:
            self.version += 1
            self.watch(tx.session, tx.writes)
            for name, changed in tx.writes.items():
                table = self.tables[name]
                for key, row in changed.items():
                    table.put(key, row, self.version)

    def commits(self) -> bool | None:
        """Whether a commit whose answer is lost happens all the same; None for one that goes well."""
        if not self.lose_commits:
            return None
        if self.world.chance.random() >= self.lose_commits:
            return None
        self.world.faults["commit unknown"] += 1
        return self.world.chance.random() < 0.5

    def mishap(self, session: Session) -> psycopg.Error | None:
        """What befalls a statement."""
        if self.refuse and session.begun:
            error = self.refuse.pop()
            self.world.faults[type(error).__name__] += 1
            return error
        return None

    def release(self, locks: Iterable[LockName], session: Session) -> None:
        """Free locks, and let those go on who wait for them."""
        freed = [lock for lock in locks if self.locks.get(lock) is session]
        for lock in freed:
            del self.locks[lock]
        for lock in freed:
            for waiter in self.waiters.pop(lock, ()):
                self.world.soon(waiter.wake, lock)

    def shifted(self, seconds: float) -> datetime:
        """A moment from now."""
        return self.world.now() + timedelta(seconds=seconds)
