"""The statements of order_saga."""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from order_saga import store
from tests.simulation.statements.mailbox import transposed
from tests.simulation.store import Handler, Row, Rows, Table, Tx

_SAGA: Final = (
    "id",
    "type",
    "version",
    "business_key",
    "partition",
    "status",
    "parked_at",
    "step",
    "attempt",
    "awaiting",
    "data",
    "deadline",
    "revision",
    "reason_code",
    "started_at",
    "updated_at",
    "finished_at",
)
_ALTERED: Final = (
    "id",
    "status",
    "parked_at",
    "step",
    "attempt",
    "awaiting",
    "data",
    "deadline",
    "revision",
    "reason_code",
    "updated_at",
    "finished_at",
)
_LINE: Final = ("saga_id", "revision", "seq", "kind", "step", "attempt", "message_id", "detail")
_LOADED: Final = (
    "id",
    "type",
    "version",
    "business_key",
    "partition",
    "status",
    "parked_at",
    "data",
    "revision",
    "started_at",
    "finished_at",
)
_loaded: Final = itemgetter(*_LOADED)
_due: Final = itemgetter("id", "business_key", "step", "attempt", "deadline", "partition")


def _sound(row: Row) -> bool:
    under_way = row["status"] in {"running", "compensating"}
    return (
        under_way == (row["deadline"] is not None)
        and under_way == (row["finished_at"] is None)
        and (row["parked_at"] is None or row["deadline"] is not None)
        and (row["type"] != "create_order" or row["id"] == row["business_key"])
    )


def tables() -> list[Table]:
    """Its own tables."""
    return [
        Table("sagas", "id", unique=[("business_key", "type")], rule=_sound),
        Table("saga_journal", "saga", "revision", "seq"),
    ]


def _locked(tx: Tx, rows: Iterable[Row]) -> Rows:
    keys = sorted(row["id"] for row in rows)
    return [_loaded(row) for row in tx.lock("sagas", keys)]


def by_id(tx: Tx, parameters: Sequence[Any]) -> Rows:
    known = {key: left for key, *left in transposed(parameters)}
    rows = _locked(tx, [row for key in known if (row := tx.get("sagas", key))])
    return [_unless_known(row, known[row[0]], tx.get("sagas", row[0])) for row in rows]


def _unless_known(loaded: tuple[Any, ...], known: list[Any], row: Row | None) -> tuple[Any, ...]:
    if row is None or known != [row["revision"], row["updated_at"]]:
        return loaded
    data = _LOADED.index("data")
    return (*loaded[:data], None, *loaded[data + 1 :])


def by_order(tx: Tx, parameters: Sequence[Any]) -> Rows:
    wanted = set(parameters[0])
    return _locked(tx, [row for row in tx.all("sagas") if row["business_key"] in wanted])


def by_either(tx: Tx, parameters: Sequence[Any]) -> Rows:
    ids, orders = set(parameters[0]), set(parameters[1])
    return _locked(tx, [row for row in tx.all("sagas") if row["id"] in ids or row["business_key"] in orders])


def _open(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for values in transposed(parameters):
        tx.add("sagas", dict(zip(_SAGA, values, strict=True)))
    return []


def _alter(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for values in transposed(parameters):
        changed = dict(zip(_ALTERED, values, strict=True))
        if (row := tx.get("sagas", changed["id"])) is not None:
            tx.change("sagas", row, **changed)
    return []


def _write(tx: Tx, parameters: Sequence[Any]) -> Rows:
    at, *columns = parameters
    for values in transposed(columns):
        tx.add("saga_journal", {"at": at, "saga": values[0].int, **dict(zip(_LINE, values, strict=True))})
    return []


def read(tx: Tx, topics: Sequence[str], count: int) -> dict[int, Any]:
    """By partition, up to when every one of the topics was read."""
    wanted, until = set(topics), {}  # type: tuple[set[str], dict[int, list[Any]]]
    for row in tx.all("consumer_offsets"):
        if row["topic"] in wanted and row["caught_up_at"] is not None:
            until.setdefault(row["partition"], []).append(row["caught_up_at"])
    return {partition: min(seen) for partition, seen in until.items() if len(seen) == count}


def due(tx: Tx, parameters: Sequence[Any]) -> Rows:
    topics, count, types, versions, leave, limit = parameters
    now = tx.clock
    until = {partition: min(at, now) for partition, at in read(tx, topics, count).items()}
    return claimed(tx, until, types, versions, leave, limit)


def claimed(
    tx: Tx,
    until: Mapping[int, Any],
    types: Sequence[str],
    versions: Sequence[int],
    leave: Sequence[Any],
    limit: int,
) -> Rows:
    """The sagas that are due by what was read of their partitions."""
    known = set(zip(types, versions, strict=True))
    rows = [
        row
        for row in tx.all("sagas")
        if row["finished_at"] is None
        and row["partition"] in until
        and row["deadline"] <= until[row["partition"]]
        and (row["type"], row["version"]) in known
        and row["id"] not in leave
    ]
    rows.sort(key=lambda row: (row["deadline"], row["id"]))
    taken: Rows = []
    for row in rows:
        if len(taken) < limit and tx.free("sagas", row["id"]):
            taken.append(_due(row))
    return taken


def _read_until(tx: Tx, parameters: Sequence[Any]) -> Rows:
    return list(read(tx, *parameters).items())


def _under_way(tx: Tx) -> list[Row]:
    return [row for row in tx.all("sagas") if row["finished_at"] is None]


def _next_deadline(tx: Tx, _: Sequence[Any]) -> Rows:
    return [(min((row["deadline"] for row in _under_way(tx)), default=None),)]


def _versions(tx: Tx, _: Sequence[Any]) -> Rows:
    return sorted({(row["type"], row["version"]) for row in _under_way(tx)})


def _census(tx: Tx, _: Sequence[Any]) -> Rows:
    counted: dict[tuple[str, bool], int] = {}
    for row in _under_way(tx):
        name = row["status"], row["parked_at"] is not None
        counted[name] = counted.get(name, 0) + 1
    return [(*name, count) for name, count in counted.items()]


HANDLERS: Final[Mapping[str, Handler]] = {
    store.BY_ID: by_id,
    store.BY_ORDER: by_order,
    store.BY_EITHER: by_either,
    store.OPEN: _open,
    store.ALTER: _alter,
    store.WRITE: _write,
    store.DUE: due,
    store.READ_UNTIL: _read_until,
    store.NEXT_DEADLINE: _next_deadline,
    store.VERSIONS_UNDER_WAY: _versions,
    store.CENSUS: _census,
}
