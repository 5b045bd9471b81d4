"""What the words after `python -m libs.service` mean: run a service, look after its dead letters and offsets."""

import importlib
import sys
from typing import Final

import uvloop
from pydantic import ValidationError

from libs.service.errors import StartupRefused
from libs.service.host import run
from libs.service.operations import OPERATIONS, OperationRefused
from libs.service.service import Service

SERVICES: Final = (
    "gateway",
    "order_saga",
    "order",
    "product",
    "inventory",
    "payment",
    "order_history",
)
USAGE: Final = f"""usage: python -m libs.service <service> …
       python -m libs.service dead-letters <service>
       python -m libs.service redrive <service> <id>
       python -m libs.service accept-offset <service> <topic> <partition> <offset>
services: {", ".join(SERVICES)}"""


def load(name: str) -> Service[object]:
    """The service that `<name>/app.py` composes."""
    service = importlib.import_module(f"{name}.app").service
    if not isinstance(service, Service):
        raise TypeError(f"{name}.app.service is no Service")
    return service


def _wrong_settings(error: ValidationError) -> str:
    named = "; ".join(
        f"{'.'.join(map(str, wrong['loc'])).upper()}: {wrong['msg']}" for wrong in error.errors()
    )
    return f"the settings are wrong: {named} (see .env.example)\n"


def main(arguments: list[str]) -> int:
    """Do what the command line says; 0 when done, 1 when refused, 2 when not understood."""
    match arguments:
        case [_, *_] if set(arguments) <= set(SERVICES):
            work = run(*map(load, dict.fromkeys(arguments)))
        case [operation, name, *rest] if operation in OPERATIONS and name in SERVICES:
            work = OPERATIONS[operation](load(name), rest)
        case _:
            sys.stderr.write(USAGE + "\n")
            return 2
    try:
        uvloop.run(work)
    except ValidationError as error:
        sys.stderr.write(_wrong_settings(error))
        return 1
    except (StartupRefused, OperationRefused) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
