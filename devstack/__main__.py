"""`python -m devstack <action>`: what the Makefile calls."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence

from devstack import foreground, migration_check, supervisor
from devstack.demo import demo
from devstack.errors import StackError
from devstack.layout import SERVICE_PORTS, Layout

_ACTIONS: Mapping[str, Callable[[Layout], Coroutine[None, None, object]]] = {
    "up": supervisor.up,
    "down": supervisor.down,
    "clean": supervisor.clean,
    "status": supervisor.status,
    "demo": demo,
}


def main() -> int:
    """Return the exit code; what the user can mend is one sentence, not a traceback."""
    parser = argparse.ArgumentParser(prog="python -m devstack")
    parser.add_argument("action", choices=[*_ACTIONS, "migrate", "run", "in", "check-migrations"])
    parser.add_argument("service", nargs="?", default="")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="for `in`: a module and its arguments")
    given = parser.parse_args()
    code = 0
    try:
        code = _act(given.action, given.service, given.command)
    except* StackError as errors:
        code = 1
        for error in _flat(errors):
            print(f"\n{error}", file=sys.stderr)
    except* KeyboardInterrupt:
        code = 130
        print("\nInterrupted; `make down` stops what was started.", file=sys.stderr)
    return code


def _act(action: str, service: str, command: Sequence[str]) -> int:
    if sys.platform != "linux":
        raise StackError(
            "The embedded stack needs Linux; elsewhere `docker compose up` brings the same platform."
        )
    layout = Layout.from_environ()
    if service not in ("", *SERVICE_PORTS):
        raise StackError(f"There is no service {service}: {', '.join(SERVICE_PORTS)}.")
    match action, service:
        case "migrate", _:
            foreground.migrate(layout, service or None)
        case (("run" | "in"), ""):
            raise StackError("Which service? For instance: s=inventory")
        case "run", _:
            asyncio.run(foreground.take_over(layout, service))
            foreground.become(layout, service)
        case "in", _:
            foreground.command(layout, service, *command)
        case "check-migrations", _:
            asyncio.run(migration_check.check_all())
        case _:
            return 0 if asyncio.run(_ACTIONS[action](layout)) is not False else 1
    return 0


def _flat(group: BaseExceptionGroup[StackError]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


if __name__ == "__main__":
    sys.exit(main())
