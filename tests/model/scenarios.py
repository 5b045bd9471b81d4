"""The worlds that are explored, each to its end, from the smallest to the largest."""

from datetime import timedelta
from typing import Final

from libs.saga.definition import Join
from tests.model.scenario import CARD, CHAIR, LAMP, PRICE, Budget, Plan, Scenario, catalogue
from tests.model.trip_world import TripScenario

BY_CARD: Final = Plan(method=CARD.id)
BOTH: Final = ((LAMP, 1), (CHAIR, 1))

SHORT: Final = {
    name: timedelta(seconds=5)
    for name in (
        "open_order",
        "validate_products",
        "reserve_inventory",
        "process_payment",
        "complete_order",
        "cancel_order",
        "release_inventory",
        "refund_payment",
        "begin_cancellation",
    )
}
"""Deadlines before the first retry of what is asked without end, so that one timeout parks."""

SCENARIOS: Final[tuple[Scenario | TripScenario, ...]] = (
    Scenario(
        name="cancel",
        about="an order paid from the wallet, cancelled twice, at any moment, before its start too",
        orders=(Plan(cancels=2),),
        budget=Budget(duplicates=1),
    ),
    Scenario(
        name="grace",
        about="an order that waits for second thoughts, and a clock that runs while messages are on their way",
        orders=(Plan(),),
        budget=Budget(duplicates=1, timeouts=1),
        times={"grace_period": timedelta(seconds=60)},
    ),
    Scenario(
        name="catalogue",
        about="the price rises and the product is withdrawn while the order is under way",
        orders=(Plan(),),
        budget=Budget(timeouts=2),
        catalogues=(catalogue(), catalogue(PRICE + 50), catalogue(active=False)),
    ),
    Scenario(
        name="rollout",
        about="a next version of the saga is deployed while processes without it still read",
        orders=(Plan(cancels=2),),
        budget=Budget(duplicates=1, timeouts=1),
        rollout=True,
    ),
    TripScenario(
        name="trip",
        about="parallel steps that turn back at the first refusal, a pivot, an event that may come early",
        duplicates=1,
        timeouts=1,
    ),
    TripScenario(
        name="trip for all",
        about="parallel steps that wait for all of them before they turn back",
        join=Join.WAIT_ALL,
        timeouts=1,
        operator=1,
    ),
    TripScenario(
        name="trip in time",
        about="a saga that has a deadline of its own, up to the point of no return",
        deadline=timedelta(seconds=40),
        timeouts=2,
    ),
    Scenario(
        name="outage",
        about="the orchestrator is away for a minute, before or past a deadline",
        orders=(Plan(),),
        budget=Budget(timeouts=2, crashes=1),
    ),
    Scenario(
        name="loss",
        about="two commands or answers are gone from their topics",
        orders=(Plan(),),
        budget=Budget(losses=2, timeouts=1),
    ),
    Scenario(
        name="forgotten",
        about="two messages come again after the inboxes have forgotten them",
        orders=(Plan(),),
        budget=Budget(duplicates=2, timeouts=1),
        forgetful=True,
    ),
    Scenario(
        name="card",
        about="a card that is charged or refused, calls that are given up, a process that dies with its answers",
        orders=(Plan(method=CARD.id, settlements=("captured", "refused")),),
        budget=Budget(crashes=1, timeouts=1, silences=1),
    ),
    Scenario(
        name="late card",
        about="a provider that captures when nobody waits any more, and calls that arrive after they were given up",
        orders=(Plan(method=CARD.id, settlements=("captured", "late")),),
        budget=Budget(silences=2),
    ),
    Scenario(
        name="denied",
        about="a provider that will not give the money back, yet; and an operator",
        orders=(BY_CARD,),
        budget=Budget(timeouts=2, denials=1, operator=1),
        times=SHORT,
    ),
    Scenario(
        name="operator",
        about="an operator who looks at what is parked or under way, and acts on it later",
        orders=(Plan(),),
        budget=Budget(timeouts=1, operator=2),
        times=SHORT,
        compensate_running=True,
    ),
    Scenario(
        name="overtaking",
        about="messages of one topic and key overtake each other",
        orders=(Plan(),),
        budget=Budget(timeouts=2),
        reordering=True,
    ),
    Scenario(
        name="overtaken again",
        about="messages overtake each other, and one comes again after the inboxes have forgotten it",
        orders=(Plan(),),
        budget=Budget(duplicates=1, timeouts=1),
        reordering=True,
        forgetful=True,
    ),
    Scenario(
        name="last one",
        about="two orders for one lamp, either may be cancelled",
        orders=(Plan(), Plan()),
        stock={LAMP: 1, CHAIR: 0},
        budget=Budget(timeouts=1),
    ),
    Scenario(
        name="crossed lines",
        about="two orders of two products each, of which one is there once; and money for one of them",
        orders=(Plan(lines=BOTH, cancels=0), Plan(lines=BOTH[::-1], cancels=1)),
        stock={LAMP: 1, CHAIR: 2},
        balance=250,
        budget=Budget(duplicates=1),
    ),
    Scenario(
        name="next morning",
        about="a charge of which nothing is known, and that is asked about half a day later",
        orders=(Plan(method=CARD.id, settlements=("captured", "refused")),),
        budget=Budget(silences=1, days=1, timeouts=1),
    ),
    Scenario(
        name="crashes",
        about="two processes die after a commit, and one calls the provider",
        orders=(BY_CARD,),
        budget=Budget(crashes=2, timeouts=1),
    ),
    Scenario(
        name="everything",
        about="duplicates, crashes, timeouts and a cancel",
        orders=(Plan(),),
        budget=Budget(duplicates=1, crashes=1, timeouts=2),
    ),
)
