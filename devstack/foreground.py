"""Commands beside a stack that runs: one service in the foreground, and migrations."""

import os
import sys

from devstack import processes, supervisor
from devstack.errors import StackError
from devstack.layout import CHECKOUT, Layout
from devstack.preparation import migrate as migrate_databases
from devstack.processes import ProcessId
from devstack.records import Processes, Secrets, as_started
from devstack.units import plan, service_environment


async def take_over(layout: Layout, service: str) -> None:
    """Stop the service where it runs in the background, so that the terminal can have it."""
    supervisor.require_running(layout)
    if as_started(layout).process_of(service) != service:
        raise StackError(f"{service} shares a process with others: `make down`, then `make up LAYOUT=apart`.")
    running = Processes(layout.folder).alive().get(service)
    if running is not None:
        print(
            f"Stopping {service} (pid {running.pid}) in the background; `make up` brings it back there.",
            flush=True,
        )
        await processes.stop(running)


def become(layout: Layout, service: str) -> None:
    """Turn this process into the service, with the environment that the stack gives it."""
    secrets = Secrets(layout.folder)
    wanted = plan(as_started(layout), secrets)
    Processes(layout.folder).record(service, ProcessId.of(os.getpid()))  # so that status and down know it
    supervisor.write_stack_file(layout, wanted, secrets)
    command(layout, service, "libs.service", service)


def command(layout: Layout, service: str, *arguments: str) -> None:
    """Turn this process into `python -m <arguments>` with the environment that the service has in the stack."""
    supervisor.require_running(layout)
    secrets = Secrets(layout.folder)
    wanted = plan(as_started(layout), secrets)
    environment = service_environment(layout, service, wanted.local_dsn, wanted.kafka_bootstrap, secrets)
    environment["LOG_FORMAT"] = layout.environ.get("LOG_FORMAT", "auto")
    os.chdir(CHECKOUT)
    os.execve(sys.executable, [sys.executable, "-m", *arguments], environment)  # noqa: S606


def migrate(layout: Layout, service: str | None) -> None:
    """Migrate the databases of a stack that runs."""
    supervisor.require_running(layout)
    secrets = Secrets(layout.folder)
    migrate_databases(plan(as_started(layout), secrets).admin_dsn, secrets, service)
    print(f"{service or 'all services'}: at the newest revision")
