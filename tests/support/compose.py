"""The platform of docker-compose.yml as a stack of a test: started, killed and found like the embedded one."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.stack import AS_IT_IS, ROOT, Stack, StackFailedError, StackInfo, runs
from devstack.compose import container

UP_SECONDS: Final = 900
"""The first time, the image is built."""

PULL_SECONDS: Final = 300


class ComposeStack(Stack):
    """What `docker compose` runs with this environment, beside the process's own; stack.json lies in `folder`."""

    def __init__(self, folder: Path, environment: Mapping[str, str] = AS_IT_IS) -> None:
        super().__init__(folder, port_offset=0)
        self._begun = False
        self._own = {**os.environ, **environment, "STACK_DIR": str(folder.absolute())}

    async def up(self, environment: Mapping[str, str] = AS_IT_IS) -> StackInfo:
        """Start what does not run, wait until it is healthy, and say where everything is.

        The first time the jobs run too; later only what has died is started.
        """
        dead = await asyncio.to_thread(self._dead) if self._begun else []
        if dead or not self._begun:
            wanted = ["--no-deps", *dead] if self._begun else []
            await asyncio.to_thread(
                self.compose, "up", "--detach", "--wait", *wanted, environment=environment
            )
            await asyncio.to_thread(self._run, [sys.executable, "-m", "devstack.compose"], self._own)
            self._begun = True
        return self.info

    async def down(self) -> None:
        """Stop everything; the data stay."""
        await asyncio.to_thread(self.compose, "stop")
        self._begun = False

    async def clean(self) -> None:
        """Remove everything, the data too."""
        await asyncio.to_thread(self.compose, "down", "--volumes", "--remove-orphans", "--timeout", "15")

    def signal(self, process: str, number: signal.Signals) -> int:
        """Send a signal to the process in a container; its id on this machine, as stack.json has it."""
        self.compose("kill", "--signal", number.name, container(process))
        return self.info.pids[process]

    def exit_codes(self) -> dict[str, int]:
        """How the containers ended that do not run, by their names in the compose file."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        shown = [json.loads(line) for line in lines]
        return {each["Service"]: int(each["ExitCode"]) for each in shown if each["State"] == "exited"}

    def images(self) -> set[str]:
        """What is to be here, or to be pulled, before anything can run: the servers', and the one that ours is built on."""
        services = json.loads(self.compose("config", "--format", "json"))["services"]
        ours, built = services["migrate"]["image"], services["migrate"]["build"]
        return {each["image"] for each in services.values()} - {ours} | {built["args"]["PYTHON_IMAGE"]}

    def _dead(self) -> list[str]:
        """The containers whose process has ended, once the engine knows it too."""
        dead = [container(name) for name, pid in self.info.pids.items() if not runs(pid)]
        for each in self.compose("ps", "--all", "--quiet", *dead).split() if dead else []:
            pid = self._run(["docker", "inspect", "--format", "{{.State.Pid}}", each], self._own).strip()
            if not runs(int(pid)):  # it is told of an end up to seconds later
                self._run(["docker", "wait", each], self._own)
        return dead

    def compose(self, *arguments: str, environment: Mapping[str, str] = AS_IT_IS) -> str:
        """What `docker compose …` prints. Raises StackFailedError with its complaint."""
        return self._run(
            ["docker", "compose", "--progress", "quiet", *arguments], {**self._own, **environment}
        )

    @staticmethod
    def _run(argv: list[str], environment: Mapping[str, str]) -> str:
        done = subprocess.run(
            argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=UP_SECONDS, check=False
        )
        if done.returncode != 0:
            raise StackFailedError(f"{' '.join(argv)}: {done.stdout[-1_000:]}{done.stderr[-3_000:]}")
        return done.stdout


def engine_answers() -> bool:
    """Whether there are a container engine and compose."""
    try:
        asked = [
            subprocess.run(["docker", *words], capture_output=True, timeout=20, check=False)
            for words in (["info"], ["compose", "version"])
        ]
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return all(each.returncode == 0 for each in asked)


def obtained(image: str) -> bool:
    """Whether an image is here, pulled now if need be."""
    for words in (["image", "inspect"], ["pull", "--quiet"]):
        try:
            done = subprocess.run(
                ["docker", *words, image], capture_output=True, timeout=PULL_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        if done.returncode == 0:
            return True
    return False
