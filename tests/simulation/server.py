"""A database server: sessions, what they are told over a network, and how they wait for one another."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import errors

from tests.simulation.clock import Handle, Process
from tests.simulation.store import Handler, Key, LockName, Rows, Table, Tx, Waiting, Writes
from tests.simulation.world import World

BEGIN: Final = "BEGIN"
COMMIT: Final = "COMMIT"
ROLLBACK: Final = "ROLLBACK"
CLOSE: Final = "CLOSE"
LOCK_SECONDS: Final = 2.0
YIELDS: Final = 0.06
"""How often a server turns to another session between two statements."""
ADVISORY: Final = "advisory"
"""What the names of advisory locks begin with; those of others begin with their table's."""


class Request:
    """Statements that travelled together, and what comes of them: the rows of each, or an error."""

    __slots__ = ("done", "result", "statements")

    def __init__(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        self.statements = statements
        self.done: list[Rows] = []
        self.result: list[Rows] | BaseException | None = None

    def answer(self, result: list[Rows] | BaseException) -> None:
        """Tell who has asked."""
        self.result = result


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
        self.advisory: dict[LockName, None] = {}
        self.notes: list[Any] = []
        self.world = database.world
        self._chance = database.world.chance.random
        self._requests: deque[Request] = deque()
        self._rested = False
        self._waits_for: LockName | None = None
        self._timer: Handle | None = None

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

    def try_lock(self, lock: LockName) -> bool:
        """Take an advisory lock until the session's end, unless another session has it."""
        owner = self.database.locks.get(lock)
        if owner is None:
            self.database.locks[lock] = self
            self.advisory[lock] = None
        return owner is None or owner is self

    def unlock(self, lock: LockName) -> bool:
        """Let go of an advisory lock; whether this session had it."""
        if lock not in self.advisory:
            return False
        del self.advisory[lock], self.database.locks[lock]
        self.database.call_waiters(lock)
        return True

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
        for lock in list(self.advisory):
            self.unlock(lock)
        self.database.sessions.pop(self, None)
        requests, self._requests = self._requests, deque()
        for request in requests:
            request.answer(error or psycopg.OperationalError("the connection is lost"))

    def _serve(self) -> None:
        requests = self._requests
        while requests and not self.dead:
            request = requests[0]
            statements, done = request.statements, request.done
            try:
                while (number := len(done)) < len(statements) and not self.lost:
                    if self._rested or self._waits_for is not None:
                        self._rested = False
                    elif number and statements[number - 1][0] != BEGIN and self._chance() < YIELDS:
                        self._rested = True
                        self.world.later(self.world.delay(), self._serve)
                        return
                    done.append(self._execute(*statements[number]))
            except Waiting as waiting:
                self._wait(waiting.lock)
                return
            except psycopg.Error as error:
                self._abort()
                self._answer(request, error)
            else:
                self._answer(request, done)

    def _answer(self, request: Request, result: list[Rows] | BaseException) -> None:
        """Answer a request, unless the session's end has done so."""
        if self.lost:
            self.die(psycopg.OperationalError("the answer to the commit was lost"))
        elif not self.dead:
            self._requests.popleft()
            request.answer(result)

    def _execute(self, statement: str, parameters: Sequence[Any]) -> Rows:
        database = self.database
        handler = database.handlers.get(statement)
        if handler is None:
            return self._control(statement)
        tx = self.tx
        if tx is None:
            tx = self.tx = Tx(self)
        if waited := self._waits_for is not None:
            self._waits_for = None
        else:
            tx.snapshot = database.version
            if database.refuse and self.begun:
                raise database.mishap()
        tx.begin_statement()
        try:
            rows = handler(tx, parameters)
        except Waiting:
            tx.undo_statement()
            raise
        except psycopg.Error as error:
            self._play(statement, parameters, error, waited=waited)
            raise
        if (self.begun or self._ends_well(tx)) and database.tape is not None:
            self._play(statement, parameters, rows, waited=waited)
        return rows

    def _control(self, statement: str) -> Rows:
        match statement:
            case "COMMIT":
                self._commit()
            case "BEGIN":
                self.begun = True
                self._play(BEGIN)
            case "ROLLBACK":
                self._abort()
            case _:
                raise LookupError(f"a statement without a handler: {statement}")
        return []

    def _commit(self) -> None:
        ended = self.tx is None or self._ends_well(self.tx)
        if ended and self.database.tape is not None:
            self._play(COMMIT)
        self.begun = False

    def _ends_well(self, tx: Tx) -> bool:
        """Commit; whether that has happened, although its answer may be lost."""
        survives = self.database.commits() if self.database.lose_commits else None
        self.tx = None
        if survives is not False and tx.writes:
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
            self._timer = self.world.loop.call_later(
                LOCK_SECONDS,
                self._fail,
                errors.LockNotAvailable("canceling statement due to lock timeout"),
                context=self.world.outside,
            )

    def _deadlocked(self) -> bool:
        seen = self
        while (wanted := seen._waits_for) is not None:
            owner = self.database.owner(wanted)
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
        if self._waits_for is not None:
            self.database.give_up(self._waits_for, self)

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
        """Who has which advisory lock."""
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
        self.watch: Callable[[Session, Writes], None] = lambda *_: None

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
        self.version += 1
        self.watch(tx.session, tx.writes)
        for name, changed in tx.writes.items():
            self.tables[name].apply(changed, self.version)

    def commits(self) -> bool | None:
        """Whether a commit whose answer is lost happens all the same; None for one that goes well."""
        if self.world.chance.random() >= self.lose_commits:
            return None
        self.world.faults["commit unknown"] += 1
        return self.world.chance.random() < 0.5

    def mishap(self) -> psycopg.Error:
        """What befalls a statement of a transaction."""
        error = self.refuse.pop()
        self.world.faults[type(error).__name__] += 1
        return error

    def owner(self, lock: LockName) -> Session | None:
        """Which session has a lock."""
        name, *key = lock
        return self.locks.get(lock) if name == ADVISORY else self.tables[name].locks.get(key[0])

    def call_waiters(self, lock: LockName) -> None:
        """Let those go on who wait for a lock that is free now."""
        for waiter in self.waiters.pop(lock, ()):
            self.world.soon(waiter.wake, lock)

    def give_up(self, lock: LockName, session: Session) -> None:
        """A session waits for a lock no longer."""
        queue = self.waiters.get(lock)
        if queue is not None and session in queue:
            queue.remove(session)
            if not queue:
                del self.waiters[lock]
