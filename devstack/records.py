"""What a stack remembers between two runs of the tool: its processes, its secrets, its number of brokers."""

import fcntl
import json
import os
import secrets
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from devstack.errors import StackError
from devstack.kafka import new_cluster_id
from devstack.layout import SHARED, TOGETHER, Layout
from devstack.processes import ProcessId


def write_private(file: Path, content: object) -> None:
    """Replace a JSON file in one step; only its owner can read it."""
    half = file.with_name(f"{file.name}.half")
    half.unlink(missing_ok=True)
    descriptor = os.open(half, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        json.dump(content, opened, indent=2)
        opened.write("\n")
    half.replace(file)


def read_json(file: Path) -> Any:
    """Return a JSON file's content, an empty object where there is none."""
    return json.loads(file.read_text()) if file.exists() else {}


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Keep a second tool from working on the same stack at the same time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(f"Another command works on the stack in {folder}: wait for its end.") from None
        yield


class Processes:
    """The processes that this stack started, by name."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "processes.json"
        self._writing = threading.Lock()

    def all(self) -> dict[str, ProcessId]:
        """Return all that were started and not yet stopped, dead ones included."""
        return {name: ProcessId(**kept) for name, kept in read_json(self._file).items()}

    def alive(self) -> dict[str, ProcessId]:
        """Return those that run."""
        return {name: process for name, process in self.all().items() if process.alive}

    def record(self, name: str, process: ProcessId) -> None:
        """Remember a process, as soon as it is started."""
        with self._writing:
            self._write({**self.all(), name: process})

    def forget(self, name: str) -> None:
        """Drop a process that has ended."""
        with self._writing:
            self._write({other: process for other, process in self.all().items() if other != name})

    def _write(self, kept: dict[str, ProcessId]) -> None:
        write_private(self._file, {name: {"pid": p.pid, "born": p.born} for name, p in kept.items()})


class Secrets:
    """Random passwords by name, made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "secrets.json"

    @property
    def kept(self) -> bool:
        """Whether any was made: without, there are no data that it opens."""
        return bool(read_json(self._file))

    def __call__(self, name: str) -> str:
        """Return the same password for the same name for as long as the stack's data live."""
        kept: dict[str, str] = read_json(self._file)
        if name not in kept:
            kept[name] = secrets.token_urlsafe(24)
            write_private(self._file, kept)
        return kept[name]


def kafka_cluster(folder: Path, asked_brokers: int | None) -> tuple[str, int]:
    """Return the cluster's id and its number of brokers, fixed when the data were made."""
    file = folder / "kafka.json"
    kept = read_json(file)
    if not kept:
        kept = {"cluster_id": new_cluster_id(), "brokers": asked_brokers or 1}
        write_private(file, kept)
    if asked_brokers not in (None, kept["brokers"]):
        raise StackError(
            f"The data in {folder} were made with BROKERS={kept['brokers']}:"
            " `make clean` first, or choose another STACK_DIR."
        )
    return str(kept["cluster_id"]), int(kept["brokers"])


def as_started(layout: Layout) -> Layout:
    """Return the layout with the external servers that the running stack was started on, whatever is set now."""
    told, started = read_json(layout.stack_file), Processes(layout.folder).all()
    environ = dict(layout.environ)
    if told and "postgres" not in started:
        environ["POSTGRES_URL"] = told["postgres_admin"]
    if told and "kafka" not in started:
        environ["KAFKA_BOOTSTRAP_SERVERS"] = told["kafka_bootstrap"]
    return same_processes(replace(layout, environ=environ, together=None), started)


def same_processes(layout: Layout, started: Collection[str]) -> Layout:
    """Return the layout with services in the processes that they were started in; raises where others are asked for."""
    if not {SHARED, *TOGETHER} & set(started):
        return layout
    together = SHARED in started
    if layout.together not in (None, together):
        asked, was = ("together", "apart") if layout.together else ("apart", "together")
        raise StackError(
            f"LAYOUT={asked}: the stack in {layout.folder} was started with LAYOUT={was}; `make down` first."
        )
    return replace(layout, together=together)
