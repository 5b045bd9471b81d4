"""`python -m devstack <action>`: what the Makefile calls."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping

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
_WITH_SERVICE = ("migrate", "run", "dead-letters", "redrive")


def main() -> int:
    """Return the exit code; what the user can mend is one sentence, not a traceback."""
    parser = argparse.ArgumentParser(prog="python -m devstack")
    parser.add_argument("action", choices=[*_ACTIONS, *_WITH_SERVICE, "check-migrations"])
    parser.add_argument("service", nargs="?", choices=list(SERVICE_PORTS))
    parser.add_argument("id", nargs="?", help="of a dead letter, for redrive")
    given = parser.parse_args()
    code = 0
    try:
        code = _act(given.action, given.service, given.id)
    except* StackError as errors:
        code = 1
        for error in _flat(errors):
            print(f"\n{error}", file=sys.stderr)
    except* KeyboardInterrupt:
        code = 130
        print("\nInterrupted; `make down` stops what was started.", file=sys.stderr)
    return code


def _act(action: str, service: str | None, letter: str | None) -> int:
    layout = Layout.from_environ()
    match action, service:
        case "migrate", _:
            foreground.migrate(layout, service)
        case (("run" | "dead-letters" | "redrive"), None):
            raise StackError(f"Which service? For instance: make {action} s=inventory")
        case "run", str(named):
            asyncio.run(foreground.take_over(layout, named))
            foreground.become(layout, named)
        case "dead-letters", str(named):
            foreground.command(layout, named, "dead-letters", named)
        case "redrive", str(named):
            if letter is None:
                raise StackError(
                    f"Which one? `make dead-letters s={named}` lists them; then: make redrive s={named} id=…"
                )
            foreground.command(layout, named, "redrive", named, letter)
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
