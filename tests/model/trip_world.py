"""A second world, of a saga with what orders do not need: parallel steps, a pivot, an awaited event, a deadline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from libs.contracts.message import Event, Refusal
from libs.contracts.reasons import ALREADY_UNDONE
from libs.contracts.values import SagaId
from libs.saga import reducer
from libs.saga.decision import Decision
from libs.saga.definition import Join, Role, Step
from libs.saga.inputs import (
    Action,
    Cancel,
    Compensate,
    Force,
    Happened,
    Input,
    Outcome,
    Reply,
    Resend,
    Resume,
    Timeout,
)
from libs.saga.instance import Instance, Reason, Status
from tests.libs.saga import trips
from tests.libs.saga.trips import Trip, booking_of
from tests.model.interning import Interned
from tests.model.scenario import NOW
from tests.model.state import Effect, Label, Move, State
from tests.model.turns import earlier, judged, moved, not_a_step, read_out

Done: TypeAlias = Literal["none", "done", "refused", "undone"]
Queues: TypeAlias = tuple[tuple[int, ...], ...]

SAGA_ID: Final = SagaId(trips.TRIP_ID)
SERVICES: Final = ("hotel", "airline", "bank", "post")
ANSWERS: Final[dict[str, tuple[Event, Refusal | None]]] = {
    "book_hotel": (trips.HOTEL_BOOKED, trips.HOTEL_FULL),
    "book_flight": (trips.FLIGHT_BOOKED, trips.FLIGHT_FULL),
    "pay_trip": (trips.TRIP_PAID, trips.PAYMENT_DECLINED),
    "send_tickets": (trips.TICKETS_SENT, None),
    "cancel_hotel": (trips.HOTEL_CANCELLED, None),
    "cancel_flight": (trips.FLIGHT_CANCELLED, None),
    "tell_traveller": (trips.TRAVELLER_TOLD, None),
}
NOBODY: Final[tuple[Done, ...]] = ("none", "none", "none", "none")
REASON: Final = Reason("cancelled_by_customer", "The traveller stays at home.")
SAGA, MAIL, PARTNERS, TIMERS, OUTSIDE = range(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class TripScenario:
    """One variant of the saga, and how often each thing may go wrong."""

    name: str
    about: str
    join: Join = Join.FAIL_FAST
    deadline: timedelta | None = None
    duplicates: int = 0
    timeouts: int = 0
    operator: int = 0


@dataclass(frozen=True, slots=True)
class Slip:
    """A command or an answer on its way."""

    step: str
    attempt: int
    answer: Event | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Journey:
    """The saga, which undos it owes, and how many cancels it has passed on."""

    saga: Instance[Trip]
    owed: tuple[str, ...] = ()
    passed_on: int = 0


@dataclass(frozen=True, slots=True)
class Outside:
    """Whether the visa was granted, and while it was of use; whether the traveller has cancelled; what may go wrong."""

    granted: bool
    in_time: bool
    cancelled: bool
    duplicates: int
    timeouts: int
    operator: int


class TripWorld:
    """The transition system; its states are numbers of a journey, queues, partners, timers and the outside."""

    def __init__(self, scenario: TripScenario) -> None:
        self.name = scenario.name
        self._scenario = scenario
        self._saga = booking_of(scenario.join, deadline=scenario.deadline)
        self._journeys = Interned[Journey]()
        self._mail = Interned[Queues]()
        self._partners = Interned[tuple[Done, ...]]()
        self._timers = Interned[tuple[Timeout, ...]]()
        self._outside = Interned[Outside]()
        self._slips = Interned[Slip]()
        self._turns: dict[tuple[int, Input], Effect] = {}

    def initial(self) -> State:
        """The trip has been asked for."""
        first = reducer.start(self._saga, SAGA_ID, Trip(), NOW)
        effect = self._taken(None, first)
        scenario = self._scenario
        outside = Outside(False, False, False, scenario.duplicates, scenario.timeouts, scenario.operator)
        return (
            effect.number,
            self._posted(((),) * (2 * len(SERVICES)), effect.sent),
            self._partners.number(NOBODY),
            self._timers.number(()),
            self._outside.number(outside),
        )

    def moves(self, state: State) -> Iterator[Move]:
        """Everything that may happen next; what is listed first leads on without faults."""
        for channel, queue in enumerate(self._mail[state[MAIL]]):
            if queue:
                yield from self._read(state, channel, queue)
        yield from self._clock(state)
        outside = self._outside[state[OUTSIDE]]
        if not outside.granted:
            in_time = self._journeys[state[SAGA]].saga.status is Status.RUNNING
            after = self._outside.number(replace(outside, granted=True, in_time=in_time))
            yield self._heard(state, ("visa",), Happened(trips.VISA_GRANTED), {OUTSIDE: after})
        if not outside.cancelled:
            after = self._outside.number(replace(outside, cancelled=True))
            yield self._heard(state, ("cancel",), Cancel(REASON), {OUTSIDE: after})
        if outside.operator:
            after = self._outside.number(replace(outside, operator=outside.operator - 1))
            for action in self._actions(state):
                yield self._heard(state, ("operator", action), action, {OUTSIDE: after})

    def _actions(self, state: State) -> Iterator[Action]:
        """What an honest operator may do: success is declared only of what is so."""
        saga, partners = self._journeys[state[SAGA]].saga, self._partners[state[PARTNERS]]
        for kind in (Resume, Resend, Compensate):
            yield kind(saga.revision, "ann", "model")
        for flight in saga.flights:
            yield Force(saga.revision, "ann", "model", flight.step, Outcome.REFUSED)
            step = self._saga.steps[flight.step]
            if step.command is not None:
                done = partners[SERVICES.index(step.service)]
                if done == "done" if step.role is not Role.UNDO else done in {"undone", "refused"}:
                    good = ANSWERS[step.name][0]
                    yield Force(saga.revision, "ann", "model", flight.step, Outcome.SUCCEEDED, good)

    # Messages

    def _read(self, state: State, channel: int, queue: Sequence[int]) -> Iterator[Move]:
        slip = self._slips[queue[0]]
        outside = self._outside[state[OUTSIDE]]
        for copied in (False, True):
            if copied and (slip.again or outside.duplicates == 0):
                continue
            rest = list(self._mail[state[MAIL]])
            copies = (self._slips.number(replace(slip, again=True)),) if copied else ()
            rest[channel] = (*queue[1:], *copies)
            left = replace(outside, duplicates=outside.duplicates - copied)
            base = {MAIL: self._mail.number(tuple(rest)), OUTSIDE: self._outside.number(left)}
            label = ("read twice" if copied else "read", channel, queue[0])
            if channel >= len(SERVICES) and slip.answer is not None:
                reply = Reply(slip.step, slip.answer, slip.attempt)
                yield self._heard(state, label, reply, base, optional=copied)
                continue
            for done, answer in self._answers(state, channel, slip):
                there = self._slips.number(Slip(slip.step, slip.attempt, answer))
                mail = self._posted(self._mail[base[MAIL]], (there,))
                changes = base | {PARTNERS: done, MAIL: mail}
                effect = Effect(done, (there,), (f"{SERVICES[channel]}: {type(answer).__name__}",))
                yield Move((*label, type(answer).__name__), _with(state, changes), effect, copied)

    def _answers(self, state: State, channel: int, slip: Slip) -> Iterator[tuple[int, Event]]:
        """What a partner may make of a command; it remembers, and keeps a tombstone."""
        partners = self._partners[state[PARTNERS]]
        step = self._step(slip)
        good, refusal = ANSWERS[step.name]
        match step.role, partners[channel]:
            case Role.NOTICE, _:
                yield state[PARTNERS], good
            case Role.UNDO, before:
                yield self._partner(partners, channel, "refused" if before == "refused" else "undone"), good
            case _, "none":
                yield self._partner(partners, channel, "done"), good
                if refusal is not None:
                    yield self._partner(partners, channel, "refused"), refusal
            case _, "undone" if refusal is not None:
                yield state[PARTNERS], refusal.model_copy(update={"reason_code": ALREADY_UNDONE})
            case _, "refused" if refusal is not None:
                yield state[PARTNERS], refusal
            case _:
                yield state[PARTNERS], good

    def _partner(self, partners: tuple[Done, ...], channel: int, done: Done) -> int:
        return self._partners.number((*partners[:channel], done, *partners[channel + 1 :]))

    def _step(self, slip: Slip) -> Step[Trip]:
        return self._saga.steps[slip.step]

    def _posted(self, queues: Queues, slips: tuple[int, ...]) -> int:
        held = list(queues)
        for number in slips:
            slip = self._slips[number]
            channel = SERVICES.index(self._step(slip).service) + (len(SERVICES) if slip.answer else 0)
            held[channel] = (*held[channel], number)
        return self._mail.number(tuple(held))

    # Time

    def _clock(self, state: State) -> Iterator[Move]:
        timers = self._timers[state[TIMERS]]
        for place, timer in enumerate(timers):
            left = self._timers.number((*timers[:place], *timers[place + 1 :]))
            yield self._heard(state, ("fire", timer), timer, {TIMERS: left}, optional=False)
        journey, outside = self._journeys[state[SAGA]], self._outside[state[OUTSIDE]]
        timeout = Timeout.of(journey.saga)
        if timeout is None or any(self._mail[state[MAIL]][len(SERVICES) :]):
            return  # answers come first
        idle = not any(self._mail[state[MAIL]]) and not timers
        if not idle and outside.timeouts == 0:
            return
        passes = max(timeout.deadline - NOW, timedelta(0))
        claimed = sorted([*(moved(timer, passes) for timer in timers), moved(timeout, passes)], key=repr)
        after = replace(journey, saga=earlier(journey.saga, passes))
        left_over = outside if idle else replace(outside, timeouts=outside.timeouts - 1)
        changes = {
            SAGA: self._journeys.number(after),
            TIMERS: self._timers.number(tuple(claimed)),
            OUTSIDE: self._outside.number(left_over),
        }
        yield Move(("due",), _with(state, changes), optional=not idle)

    # The saga

    def _heard(
        self, state: State, label: Label, heard: Input, changes: dict[int, int], *, optional: bool = True
    ) -> Move:
        key = (state[SAGA], heard)
        effect = self._turns.get(key)
        if effect is None:
            journey = self._journeys[state[SAGA]]
            effect = self._turns[key] = self._decided(journey, heard)
        queues = self._mail[changes.get(MAIL, state[MAIL])]
        after = {SAGA: effect.number, MAIL: self._posted(queues, effect.sent)}
        return Move(label, _with(state, changes | after), effect, optional)

    def _decided(self, journey: Journey, heard: Input) -> Effect:
        try:
            decision = reducer.on(self._saga, journey.saga, heard, NOW)
        except Exception as error:  # noqa: BLE001 - whatever it raises, it is a violation
            return Effect(self._journeys.number(journey), wrong=f"the reducer raised {error!r}")
        if decision.rejected is not None:
            return Effect(self._journeys.number(journey), said=(f"rejected: {decision.rejected.value}",))
        return self._taken(journey, decision)

    def _taken(self, journey: Journey | None, decision: Decision[Trip]) -> Effect:
        before = None if journey is None else journey.saga
        owed, wrong = judged(self._saga, before, decision.journal, () if journey is None else journey.owed)
        wrong = not_a_step(self._saga, before, decision.instance) or wrong
        parked = None if decision.instance.parked_at is None else NOW
        after = Journey(
            decision.instance._replace(revision=1, parked_at=parked),
            owed,
            (0 if journey is None else journey.passed_on) + (decision.cancel_due is not None),
        )
        sent = tuple(self._slips.number(Slip(send.step, send.attempt)) for send in decision.commands)
        return Effect(self._journeys.number(after), sent, tuple(map(read_out, decision.journal)), wrong)

    # What must hold

    def wrong(self, state: State) -> str | None:
        """The first thing that is wrong with a state, if anything is."""
        journey, partners = self._journeys[state[SAGA]], self._partners[state[PARTNERS]]
        done = dict(zip(SERVICES, partners, strict=True))
        back = journey.saga.status in {Status.COMPENSATING, Status.COMPENSATED}
        if back and done["bank"] == "done":
            return "the trip is paid, and undone"
        if done["bank"] == "done" and (done["hotel"], done["airline"]) != ("done", "done"):
            return "the trip is paid, and not booked"
        if done["post"] == "done" and done["bank"] != "done":
            return "there are tickets for what is not paid"
        reason, outside = journey.saga.reason, self._outside[state[OUTSIDE]]
        if reason is not None and reason.code == "wait_for_visa_timeout" and outside.in_time:
            return "the visa came in time, and the trip is given up for it"
        return self._ended(journey, done, state) if self.quiet(state) else None

    def _ended(self, journey: Journey, done: dict[str, Done], state: State) -> str | None:
        match journey.saga.status:
            case Status.COMPLETED if set(done.values()) != {"done"}:
                return f"completed, and {done}"
            case Status.COMPLETED if self._outside[state[OUTSIDE]].cancelled and journey.passed_on != 1:
                return f"a cancel was passed on {journey.passed_on} times"
            case Status.COMPENSATED if "done" in done.values():
                return f"compensated, and {done}"
            case _:
                return None

    def quiet(self, state: State) -> bool:
        """Whether the trip has ended, and nothing is under way."""
        ended = self._journeys[state[SAGA]].saga.finished
        return ended and not any(self._mail[state[MAIL]]) and not self._timers[state[TIMERS]]

    def tell(self, move: Move) -> list[str]:
        """What happened, and then what followed from it."""
        match move.label:
            case (("read" | "read twice") as how, int(channel), int(number), *_):
                slip = self._slips[number]
                who = SERVICES[channel] if channel < len(SERVICES) else "the saga"
                what = type(slip.answer).__name__ if slip.answer else slip.step
                copy = ", and there is a copy of it" if how == "read twice" else ""
                happened = f"{who} reads {what} [{slip.attempt}]{copy}"
            case ("fire", Timeout(step=step, attempt=attempt)):
                happened = f"the saga decides on the deadline of {step} {attempt}"
            case ("operator", action):
                happened = f"the operator acts: {action}"
            case (what, *_):
                happened = _PLAIN[str(what)]
            case _:
                happened = str(move.label)
        slips = (self._slips[number] for number in move.effect.sent)
        sent = (
            f"-> {self._step(slip).service}: {slip.step} {slip.attempt}" for slip in slips if not slip.answer
        )
        said = ["; ".join(move.effect.said)] if move.effect.said else []
        return [happened, *said, *sent]


_PLAIN: Final = {
    "visa": "the embassy grants the visa",
    "cancel": "the traveller cancels",
    "due": "a deadline is claimed",
}


def _with(state: State, changes: dict[int, int]) -> State:
    return tuple(changes.get(place, value) for place, value in enumerate(state))
