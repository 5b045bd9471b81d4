"""`python -m gateway keys rotate | users create | openapi`: what operators and builders do from a shell.

    python -m gateway keys rotate [--revoke]
    python -m gateway users create --email … --name … --role customer|operator|admin --password-stdin
    python -m gateway openapi > docs/openapi.json

The settings are the gateway's (DATABASE_URL, SIGNING_KEY_SECRET); `openapi` needs none.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable

import uuid_utils.compat
from fastapi import FastAPI
from pydantic import ValidationError

from gateway import api
from gateway.api.bodies.accounts import Registration
from gateway.api.hashing import hash_password
from gateway.api.openapi import document
from gateway.app import service
from gateway.domain.passwords import is_common
from gateway.settings import GatewaySettings
from gateway.store import accounts, keys
from gateway.store.accounts import Candidate
from libs.contracts.values import UserId
from libs.service.database import Database
from libs.service.host import Host


class RefusedError(Exception):
    """What was asked for cannot be done; the message says why."""


async def rotate(settings: GatewaySettings, database: Database, *, revoke: bool) -> str:
    """Make a new signing key; with `revoke`, tokens signed with those before are refused at once."""
    kid = await keys.rotate(database, settings.secret, 0 if revoke else settings.retired_key_seconds)
    return f"tokens are signed with {kid} from now on"


async def create_user(database: Database, *, email: str, name: str, role: str, password: str) -> str:
    """Create an account, or give the one with this address this password and role."""
    try:
        who = Registration(email=email, name=name, password=password)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise RefusedError(faults) from None
    if is_common(who.password, about=(who.name, who.email, who.email.partition("@")[0])):
        raise RefusedError("password: this is one of the first that anybody would try")
    candidate = Candidate(
        UserId(uuid_utils.compat.uuid7()), who.email, who.name, role, hash_password(who.password)
    )
    async with database.transaction() as tx:
        account = await accounts.put(tx, candidate)
    return f"{account.email} is {account.role} {account.id}"


def openapi() -> str:
    """The OpenAPI document as JSON, made without a database."""
    app = FastAPI()
    settings = GatewaySettings(profile="dev", database_url="postgresql:///unused")
    app.include_router(api.router(Host(service, settings).runtime))
    return json.dumps(document(app), indent=2, ensure_ascii=False) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gateway")
    nouns = parser.add_subparsers(dest="noun", required=True)
    rotate_parser = nouns.add_parser("keys").add_subparsers(dest="verb", required=True).add_parser("rotate")
    rotate_parser.add_argument(
        "--revoke", action="store_true", help="refuse tokens of the keys before at once"
    )
    create = nouns.add_parser("users").add_subparsers(dest="verb", required=True).add_parser("create")
    create.add_argument("--email", required=True)
    create.add_argument("--name", required=True)
    create.add_argument("--role", required=True, choices=["customer", "operator", "admin"])
    create.add_argument(
        "--password-stdin", required=True, action="store_true", help="the password is read from there"
    )
    nouns.add_parser("openapi")
    return parser


async def _with_database(settings: GatewaySettings, work: Callable[[Database], Awaitable[str]]) -> str:
    database = Database(settings.database_url, "gateway")
    await database.open()
    try:
        return await work(database)
    finally:
        await database.close()


def main(arguments: list[str]) -> int:
    """Do what the command line says; 0 when done, 1 when refused."""
    given = _parser().parse_args(arguments)
    if given.noun == "openapi":
        sys.stdout.write(openapi())
        return 0
    settings = GatewaySettings()

    async def work(database: Database) -> str:
        if given.noun == "keys":
            return await rotate(settings, database, revoke=given.revoke)
        password = sys.stdin.readline().rstrip("\n")
        return await create_user(
            database, email=given.email, name=given.name, role=given.role, password=password
        )

    try:
        sys.stdout.write(asyncio.run(_with_database(settings, work)) + "\n")
    except RefusedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
