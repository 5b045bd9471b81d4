"""`python -m libs.service` from its first moment on."""

import subprocess
import sys

from devstack.layout import CHECKOUT

TOLD_WHILE_IT_IMPORTS = """
import os, runpy, signal, sys

class Told:
    def find_spec(self, name, path=None, target=None):
        if name == "pydantic":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Told())
sys.argv = ["libs.service", "inventory"]
runpy.run_module("libs.service", run_name="__main__")
"""


def test_told_to_stop_before_it_runs_it_ends_with_0() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOLD_WHILE_IT_IMPORTS], cwd=CHECKOUT, timeout=60, check=False
    )
    assert done.returncode == 0


def test_words_that_mean_nothing_are_told_what_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "libs.service", "nothing"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m libs.service <service>")
