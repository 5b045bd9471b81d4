"""What a database consists of: rows, and transactions at READ COMMITTED with their row locks and unique keys."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from psycopg import errors

if TYPE_CHECKING:
    from tests.simulation.server import Session

Row: TypeAlias = dict[str, Any]
Key: TypeAlias = Any
Rows: TypeAlias = list[tuple[Any, ...]]
Handler: TypeAlias = Callable[["Tx", Sequence[Any]], Rows]
LockName: TypeAlias = tuple[Any, ...]
Writes: TypeAlias = dict[str, dict[Key, Row | None]]
"""The rows that a transaction has written, by table and key; None for those that it has deleted."""
_UNWRITTEN: Final[Any] = object()
_NEVER: Final = 1 << 62


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
        self.key: Callable[[Row], Key] = itemgetter(*key)
        """A row's primary key: a value, or a tuple of several."""
        self.unique = [Unique(columns) for columns in unique]
        self.rule = rule
        self.rows: dict[Key, Row] = {}
        self.born: dict[Key, int] = {}
        self.locks: dict[Key, Session] = {}
        """Which session has the lock of a row, or of a key that is to be one's."""

    def put(self, key: Key, row: Row | None, born: int) -> None:
        """Make a committed change."""
        self.apply({key: row}, born)

    def apply(self, changed: Mapping[Key, Row | None], born: int) -> None:
        """Make committed changes."""
        rows = self.rows
        for unique in self.unique:
            for key, row in changed.items():
                unique.reindex(key, rows.get(key), row)
        for key, row in changed.items():
            if row is None:
                rows.pop(key, None)
                self.born.pop(key, None)
            else:
                self.born.setdefault(key, born)
                rows[key] = row


class Unique:
    """A unique index: by the values of its columns, the key of the row that has them."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.keys: dict[Key, Key] = {}
        self._values = itemgetter(*columns)

    def values(self, row: Row) -> Key:
        """A row's values; None where one of them is NULL, which is equal to nothing."""
        values = self._values(row)
        return None if values.__class__ is tuple and None in values else values

    def reindex(self, key: Key, before: Row | None, row: Row | None) -> None:
        """Take note of a committed change."""
        if before is not None:
            self.keys.pop(self.values(before), None)
        if row is not None and (values := self.values(row)) is not None:
            self.keys[values] = key


class Waiting(Exception):  # noqa: N818 - what a statement does
    """A statement has to wait until a lock is free; it is run again then, with its snapshot as it was."""

    def __init__(self, lock: LockName) -> None:
        super().__init__(lock)
        self.lock = lock


class Tx:
    """A transaction in progress, as the statements' handlers see it."""

    __slots__ = ("_before", "_held", "_tables", "database", "session", "snapshot", "writes")

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.database = session.database
        self.writes: Writes = {}
        self.snapshot = 0
        self._tables = session.database.tables
        self._held: list[tuple[str, Key]] = []
        self._before: list[tuple[str, Key, Any]] = []
        """What the statement in progress has written over: table, key, row."""

    @property
    def clock(self) -> datetime:
        """clock_timestamp()."""
        return self.database.world.now()

    def get(self, table: str, key: Key) -> Row | None:
        """A row as this transaction sees it."""
        mine = self.writes.get(table)
        if mine is not None and (row := mine.get(key, _UNWRITTEN)) is not _UNWRITTEN:
            return row  # type: ignore[no-any-return]
        return self._tables[table].rows.get(key)

    def all(self, table: str) -> Collection[Row]:
        """Every row of a table as this transaction sees it, in no promised order."""
        rows = self.database.tables[table].rows
        mine = self.writes.get(table)
        if not mine:
            return rows.values()
        seen = [row for key, row in rows.items() if key not in mine]
        seen += [changed for changed in mine.values() if changed is not None]
        return seen

    def lock(self, table: str, keys: Iterable[Key]) -> list[Row]:
        """FOR UPDATE: the rows with these keys, each as it is once its lock is there."""
        return [row for key in keys if (row := self.locked(table, key)) is not None]

    def locked(self, table: str, key: Key) -> Row | None:
        """FOR UPDATE of one row. Raises Waiting while another session has it."""
        mine = self.writes.get(table)
        if mine is not None and (row := mine.get(key, _UNWRITTEN)) is not _UNWRITTEN:
            return row  # type: ignore[no-any-return]
        committed = self._tables[table]
        if committed.born.get(key, _NEVER) > self.snapshot:
            return None
        self.take(table, key)
        return committed.rows.get(key)

    def conflicting(self, table: str, key: Key) -> Row | None:
        """ON CONFLICT DO UPDATE: the row that stands in the way, locked, whether the snapshot has it or not."""
        self.take(table, key)
        return self.get(table, key)

    def free(self, table: str, key: Key) -> bool:
        """SKIP LOCKED: whether no other transaction has the row; if so, this one has it from now on."""
        owner = self._tables[table].locks.get(key)
        if owner is not None and owner is not self.session:
            return False
        self.take(table, key)
        return True

    def take(self, table: str, key: Key) -> None:
        """Take a lock until the transaction ends. Raises Waiting while another session has it."""
        locks = self._tables[table].locks
        before = len(locks)
        owner = locks.setdefault(key, self.session)
        if len(locks) > before:
            self._held.append((table, key))
        elif owner is not self.session:
            raise Waiting((table, key))

    def insert(self, table: str, row: Row) -> bool:
        """Insert a row, unless one with a key of its is there. Raises Waiting while another may insert that key."""
        target = self._tables[table]
        key = target.key(row)
        if self._present(target, key):
            return False
        self.take(table, key)
        for unique in target.unique:
            value = unique.values(row)
            if value is None:
                continue
            if (other := unique.keys.get(value)) is not None and self._present(target, other):
                return False
            self.take(table, (unique.columns, value))
        self._write(target, key, row)
        return True

    def add(self, table: str, row: Row) -> None:
        """Insert a row that must be new."""
        if not self.insert(table, row):
            raise errors.UniqueViolation(f"{table}: {self._tables[table].key(row)} is there already")

    def change(self, table: str, row: Row, **values: Any) -> Row:
        """Update a row. Raises Waiting while another transaction has it."""
        target = self._tables[table]
        key = target.key(row)
        self.take(table, key)
        changed = {**(self.get(table, key) or row), **values}
        self._write(target, key, changed)
        return changed

    def delete(self, table: str, key: Key) -> None:
        """Delete a row, if it is there."""
        if self.get(table, key) is not None:
            self.take(table, key)
            self._write(self._tables[table], key, None)

    def number(self, sequence: str) -> int:
        """The next value of an identity column; numbers of what is rolled back stay unused."""
        given = self.database.numbers.get(sequence, 0) + 1
        self.database.numbers[sequence] = given
        return given

    def begin_statement(self) -> None:
        """What is written from now on belongs to the next statement."""
        self._before.clear()

    def undo_statement(self) -> None:
        """The statement will be done from its beginning, and must not meet its own rows."""
        for table, key, row in reversed(self._before):
            mine = self.writes[table]
            if row is not _UNWRITTEN:
                mine[key] = row
            else:
                del mine[key]
                if not mine:
                    del self.writes[table]
        self._before.clear()

    def end(self) -> None:
        """Let go of all locks."""
        held, self._held = self._held, []
        tables = self._tables
        for table, key in held:
            del tables[table].locks[key]
        if self.database.waiters:
            for lock in held:
                self.database.call_waiters(lock)

    def _write(self, target: Table, key: Key, row: Row | None) -> None:
        if row is not None and target.rule is not None and not target.rule(row):
            raise errors.CheckViolation(f"{target.name}: {row}")
        mine = self.writes.get(target.name)
        if mine is None:
            mine = self.writes[target.name] = {}
        self._before.append((target.name, key, mine.get(key, _UNWRITTEN)))
        mine[key] = row

    def _present(self, target: Table, key: Key) -> bool:
        mine = self.writes.get(target.name)
        if mine is not None and (row := mine.get(key, _UNWRITTEN)) is not _UNWRITTEN:
            return row is not None
        if key not in target.rows:
            return False
        owner = target.locks.get(key)
        if owner is not None and owner is not self.session and owner.deletes(target.name, key):
            raise Waiting((target.name, key))
        return True
