"""What lies around the platform: customers who want one thing, cards that do not answer, clocks that are wrong."""

from datetime import timedelta
from pathlib import Path
from typing import Final

from tests.faults.harness.load import Mix
from tests.faults.harness.rounds import Kind, Skipped, Trial

SILENT_CARDS: Final[Mix] = (
    ("wallet", 50),
    ("captured_silent", 22),
    ("silent", 8),
    ("card", 6),
    ("broke", 6),
    ("cancelled", 8),
)
FAKETIME: Final = "faketime/libfaketime.so.1"
LIBRARIES: Final = (Path("/usr/lib"), Path("/usr/lib64"), Path("/usr/local/lib"))


async def hot_product(trial: Trial) -> None:
    """Eighty of a hundred orders want the same product: every reservation meets the same row."""
    trial.note("80 % of the orders are for one product")
    await trial.under_load(200)


async def cards_silent(trial: Trial) -> None:
    """The provider captures and does not answer; and it dies, and is cut off, for a while."""
    trial.note("charges that are captured without an answer, and charges that are not")
    await trial.under_load(60)
    await trial.stage.kill("card_provider")
    trial.note("SIGKILL to the card provider")
    await trial.last(1, 3)
    await trial.stage.start("card_provider")
    trial.note("the card provider is back")
    trial.stage.proxies["payment", "cards"].weather.blackhole()
    trial.note("nothing passes between payment and the card provider")
    await trial.last(3, 5)


async def clock_skew(trial: Trial) -> None:
    """Each service believes that it is an hour later or earlier."""
    library = faketime()
    if library is None:
        raise Skipped("libfaketime is not installed (Debian: apt-get install libfaketime)")
    services = list(trial.stage.services)
    skews = {service: trial.random.choice(("+1h", "-1h")) for service in services}
    skews[services[0]] = "-1h" if set(skews.values()) == {"+1h"} else skews[services[0]]
    for service, skew in skews.items():
        await trial.stage.stop(service)
        trial.stage.launch(
            service,
            {"LD_PRELOAD": str(library), "FAKETIME": skew, "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
        )
    await trial.stage.ready(*services)
    trial.note("clocks: " + ", ".join(f"{service} {skew}" for service, skew in skews.items()))
    await trial.under_load(60)
    for service in services:
        await trial.stage.stop(service)
        trial.stage.launch(service)
    await trial.stage.ready(*services)
    trial.note("clocks are right again")


def faketime() -> Path | None:
    """Where the library lies that tells processes another time."""
    return next((file for place in LIBRARIES for file in sorted(place.glob(f"**/{FAKETIME}"))), None)


KINDS: Final = (
    Kind("hot_product", "80 % of the orders on one product", hot_product, hot=0.8, rate=60, orders=300),
    Kind("cards_silent", "the card provider times out but captured", cards_silent, mix=SILENT_CARDS, rate=20),
    Kind(
        "clock_skew",
        "clocks an hour early and an hour late",
        clock_skew,
        rate=15,
        looks_back=timedelta(hours=2),
    ),
)
