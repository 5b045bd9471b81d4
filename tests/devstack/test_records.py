"""What a stack remembers on disk."""

import os
from pathlib import Path

import pytest

from devstack.errors import StackError
from devstack.layout import Layout
from devstack.processes import ProcessId
from devstack.records import Processes, Secrets, kafka_cluster, only_one, same_processes


def test_a_secret_stays_the_same_and_is_the_owners_alone(tmp_path: Path) -> None:
    first = Secrets(tmp_path)("operator")
    assert Secrets(tmp_path)("operator") == first
    assert Secrets(tmp_path)("postgres") != first
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_processes_are_known_again_and_dead_ones_are_told_apart(tmp_path: Path) -> None:
    running, dead = ProcessId.of(os.getpid()), ProcessId(os.getpid(), "another boot:1")
    Processes(tmp_path).record("running", running)
    Processes(tmp_path).record("dead", dead)
    assert Processes(tmp_path).all() == {"running": running, "dead": dead}
    assert Processes(tmp_path).alive() == {"running": running}
    Processes(tmp_path).forget("dead")
    Processes(tmp_path).forget("never there")
    assert Processes(tmp_path).all() == {"running": running}


def test_the_number_of_brokers_is_fixed_with_the_data(tmp_path: Path) -> None:
    cluster_id, brokers = kafka_cluster(tmp_path, 3)
    assert brokers == 3
    assert kafka_cluster(tmp_path, None) == (cluster_id, 3)
    with pytest.raises(StackError, match="BROKERS=3"):
        kafka_cluster(tmp_path, 1)


def test_one_broker_without_asking(tmp_path: Path) -> None:
    assert kafka_cluster(tmp_path, None)[1] == 1


def test_two_commands_on_one_stack_do_not_mix(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(StackError, match="Another command"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


@pytest.mark.parametrize(
    ("running", "together"), [(["gateway", "shared"], True), (["gateway", "order"], False)]
)
def test_services_stay_in_the_processes_that_run(running: list[str], together: bool) -> None:
    unasked, asked = Layout(Path()), Layout(Path(), together=together)
    assert same_processes(unasked, running) == same_processes(asked, running) == asked
    with pytest.raises(StackError, match="make down"):
        same_processes(Layout(Path(), together=not together), running)


@pytest.mark.parametrize("together", [True, False, None])
def test_nothing_that_runs_says_which_processes_services_have(together: bool | None) -> None:
    asked = Layout(Path(), together=together)
    assert same_processes(asked, []) == same_processes(asked, ["postgres", "gateway"]) == asked
