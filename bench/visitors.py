"""`python -m bench.visitors`: places orders in a shop that runs already, and says how they fared.

    GATEWAY_URL, KAFKA_BOOTSTRAP_SERVERS    where the shop is
    OPERATOR_EMAIL, OPERATOR_PASSWORD       who may put products on its shelves
    RATE                                    orders a second, by a schedule that waits for no answer; 20 by default
    DURATION                                seconds; 60 by default

A tenth of the customers cannot pay, so some orders are cancelled. It ends with 1 when an order was not accepted, or its
end was not seen.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Final

import uvloop

from bench.load import generate
from bench.plan import Placed, Plan
from bench.shop import buyers, filled
from bench.stack import Operator, StackInfo

PRODUCTS: Final = 20
CUSTOMERS: Final = 40
ROUND_SECONDS: Final = 240.0
"""Access tokens live ten minutes; each round begins with fresh ones."""


async def main(environ: Mapping[str, str] = os.environ) -> int:
    """Fill the shop, place orders in rounds, print a line for each; 1 when any went wrong."""
    info = StackInfo(
        gateway_url=environ["GATEWAY_URL"],
        service_urls={},
        kafka_bootstrap=environ["KAFKA_BOOTSTRAP_SERVERS"],
        postgres={},
        postgres_admin="",
        pids={},
        operator=Operator(environ["OPERATOR_EMAIL"], environ["OPERATOR_PASSWORD"]),
    )
    rate = float(environ.get("RATE") or 20)
    wrong = 0
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        shop = await filled(info, folder, products=PRODUCTS, customers=CUSTOMERS, broke=CUSTOMERS // 10)
        for number, seconds in enumerate(_rounds(float(environ.get("DURATION") or 60))):
            outcome = await generate(
                Plan(
                    info.gateway_url,
                    info.kafka_bootstrap,
                    await buyers(info, folder),
                    shop.products,
                    loop="open",
                    seconds=seconds,
                    rate=rate,
                    seed=number,
                )
            )
            wrong += sum(order.error is not None for order in outcome.orders)
            sys.stdout.write(told(outcome.orders, seconds) + "\n")
            sys.stdout.flush()
    return int(wrong > 0)


def _rounds(seconds: float) -> Iterator[float]:
    while seconds > 0:
        yield min(seconds, ROUND_SECONDS)
        seconds -= ROUND_SECONDS


def told(orders: Sequence[Placed], seconds: float) -> str:
    """One line: how many, how fast, what went wrong; milliseconds from when an order was due to its end."""
    took = [(order.ended - order.due) * 1_000 for order in orders if order.ended is not None]
    cuts = quantiles(took, n=100, method="inclusive") if len(took) > 1 else [0.0] * 99
    errors = [order.error for order in orders if order.error is not None]
    first = f", the first: {errors[0]}" if errors else ""
    return (
        f"{len(orders)} orders in {seconds:.0f} s, {len(took)} ended, p50 {cuts[49]:.0f} ms,"
        f" p99 {cuts[98]:.0f} ms, {len(errors)} went wrong{first}"
    )


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
