"""`python -m devstack.compose`: writes stack.json for the platform that runs in containers, so that every tool finds it.

What `docker compose config` says in this checkout is the truth: the files of COMPOSE_FILE, the ports and passwords of
.env. The file lies in STACK_DIR, `.stack-compose` by default. Process ids are those of the containers, as the host sees
them; where the engine runs elsewhere they mean nothing here.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from devstack.errors import StackError
from devstack.layout import CHECKOUT, SERVICE_PORTS
from devstack.records import write_private

FOLDER: Final = ".stack-compose"
_SERVERS: Final = ("postgres", "kafka")
Config = Mapping[str, Any]


def container(service: str) -> str:
    """A service's name in docker-compose.yml: names of hosts have no underscores."""
    return service.replace("_", "-")


def docker_compose(*arguments: str) -> str:
    """What `docker compose …` prints. Raises StackError with its complaint."""
    done = subprocess.run(
        ["docker", "compose", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise StackError(f"docker compose {arguments[0]}: {done.stderr.strip()[-2_000:]}")
    return done.stdout


def write_stack_file(folder: Path) -> None:
    """Write stack.json for what runs now."""
    config: Config = json.loads(docker_compose("config", "--format", "json"))["services"]
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / "stack.json", {**described(config), "pids": _pids(config)})


def described(config: Config) -> dict[str, object]:
    """The content of stack.json, without process ids, from the services of a compose configuration."""
    urls = {service: _url(config, container(service)) for service in SERVICE_PORTS}
    environment = config["operator"]["environment"]
    return {
        "gateway_url": urls["gateway"],
        "service_urls": urls,
        "kafka_bootstrap": ",".join(_advertised(config)),
        "postgres": {service: _dsn(config, service) for service in SERVICE_PORTS},
        "postgres_admin": _admin(config),
        "operator": {"email": environment["OPERATOR_EMAIL"], "password": environment["OPERATOR_PASSWORD"]},
        "card_provider": {"url": _url(config, "card-provider"), "pid": None},
    }


def _published(config: Config, name: str) -> int:
    [port] = config[name]["ports"]
    return int(port["published"])


def _url(config: Config, name: str) -> str:
    return f"http://127.0.0.1:{_published(config, name)}"


def _advertised(config: Config) -> list[str]:
    """The brokers' addresses for clients on this machine."""
    listeners = [
        each.get("environment", {}).get("KAFKA_ADVERTISED_LISTENERS", "") for each in config.values()
    ]
    return sorted(address for each in listeners for address in re.findall(r"EXTERNAL://([^,]+)", each))


def _dsn(config: Config, service: str) -> str:
    """A service's own DSN, by way of the port that its server has on this machine."""
    inside: str = config[container(service)]["environment"]["DATABASE_URL"]
    return _from_here(config, inside)


def _from_here(config: Config, dsn: str) -> str:
    """The DSN with the published port instead of the server's name in the containers' network."""
    found = re.fullmatch(r"(postgresql://[^@]+)@([^:/]+):\d+/(.*)", dsn)
    if found is None:
        raise StackError(f"not a DSN of this compose file: {dsn}")
    return f"{found[1]}@127.0.0.1:{_published(config, found[2])}/{found[3]}"


def _admin(config: Config) -> str:
    """The superuser's DSN; empty where every service has a server of its own."""
    given = config["migrate"]["environment"].get("POSTGRES_ADMIN_URL")
    return _from_here(config, given) if given else ""


def _pids(config: Config) -> dict[str, int]:
    ids = docker_compose("ps", "--quiet", "--no-trunc").split()
    if not ids:
        return {}
    shown = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, check=True)
    running = {
        each["Config"]["Labels"]["com.docker.compose.service"]: int(each["State"]["Pid"])
        for each in json.loads(shown.stdout)
        if each["State"]["Running"]
    }
    names = {name: container(name) for name in (*_SERVERS, *SERVICE_PORTS) if container(name) in config}
    return {name: running[inside] for name, inside in names.items() if inside in running}


def main() -> int:
    """Write the file; 1 where compose does not answer."""
    folder = CHECKOUT / os.environ.get("STACK_DIR", FOLDER)
    try:
        write_stack_file(folder)
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    print(f"{os.path.relpath(folder / 'stack.json')} says where everything is")
    return 0


if __name__ == "__main__":
    sys.exit(main())
