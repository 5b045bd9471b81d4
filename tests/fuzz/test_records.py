"""What the codec makes of bad records, without a server: it says no with a reason, and never anything else."""

from collections.abc import Iterator
from random import Random

import pytest

from tests.fuzz.good import TOPICS, Draft, any_good, good, wires
from tests.fuzz.handmade import ANYWHERE, OF_TYPE
from tests.fuzz.mutation import mutants
from tests.fuzz.oracle import deaths, readers


def handmade() -> Iterator[tuple[str, str, Draft]]:
    """Every hand-made record: its name, its reason, itself."""
    random = Random(1)  # noqa: S311 - the same records each time
    for name, (reason, spoil) in ANYWHERE.items():
        for topic in TOPICS:
            yield f"{name} on {topic}", reason, spoil(any_good(random, topic))
    for wire, spoils in OF_TYPE.items():
        for name, spoil in spoils:
            yield f"{name} in {wire}", "invalid_payload", spoil(good(random, wire))


HANDMADE = list(handmade())


def test_there_are_enough_of_them() -> None:
    assert len(ANYWHERE) + sum(map(len, OF_TYPE.values())) >= 60


@pytest.mark.parametrize("topic", TOPICS)
def test_what_is_good_dies_of_nothing(topic: str) -> None:
    assert readers(topic)
    for wire in wires(topic):
        assert deaths(good(Random(2), wire)) == {}  # noqa: S311


@pytest.mark.parametrize(("name", "reason", "draft"), HANDMADE, ids=[name for name, _, _ in HANDMADE])
def test_what_is_bad_dies_of_what_is_wrong_with_it(name: str, reason: str, draft: Draft) -> None:
    found = deaths(draft)
    assert set(found.values()) == {reason}, name


def test_mutants_are_read_or_refused_and_nothing_else() -> None:
    drafts = list(mutants(1, 2_000))
    dead = sum(bool(deaths(draft)) for draft in drafts)
    assert {draft.topic for draft in drafts} == set(TOPICS)
    assert 1_000 < dead < 2_000


def test_the_same_seed_gives_the_same_mutants() -> None:
    assert [draft.value for draft in mutants(7, 50)] == [draft.value for draft in mutants(7, 50)]
