"""Tells what happened in the world of orders: who said what to whom, and what was decided."""

from collections.abc import Iterator

from libs.saga.inputs import Force
from tests.model.mail import Letter, Mail
from tests.model.orchestrator import Away, Timer
from tests.model.scenario import NAMES
from tests.model.state import Effect, Label, Move


def tell(mail: Mail, move: Move) -> list[str]:
    """What happened, and then what was decided and sent."""
    return [_happened(mail, move.label), *_followed(mail, move.effect)]


def _followed(mail: Mail, effect: Effect) -> Iterator[str]:
    said = [part for part in effect.said if part]
    if said:
        yield "; ".join(said)
    for number in effect.sent:
        letter = mail.letters[number]
        readers = ", ".join(mail.readers(letter)) or "nobody"
        yield f"-> {readers}: {_letter(letter)}"


def _letter(letter: Letter) -> str:
    asked = f" [{letter.step} {letter.attempt}]" if letter.step else ""
    return f"{type(letter.body).__name__}{asked}{' (a copy)' if letter.again else ''}"


def _happened(mail: Mail, label: Label) -> str:  # noqa: PLR0911 - a table: one sentence each
    match label:
        case (
            ("read" | "read twice" | "read by the old" | "crash" | "lost") as how,
            int(number),
            int(channel),
            int(letter),
        ):
            consumer, topic = mail.channels[channel]
            read = f"{consumer} reads {_letter(mail.letters[letter])} of {NAMES[number]}"
            lost = f"{_letter(mail.letters[letter])} of {NAMES[number]} is gone from {topic}"
            return {
                "read": read,
                "read by the old": f"{read}, in a process without the next version",
                "read twice": f"{read}, and there is a copy of it in the topic",
                "crash": f"{read}, commits, and dies before it acknowledges",
                "lost": lost,
            }[how]
        case ("due", int(number), Away(value=when)):
            return f"a deadline of {NAMES[number]} is claimed; the orchestrator was away {when}"
        case ("due", int(number), None):
            return f"a deadline of {NAMES[number]} is claimed"
        case ("fire", int(number), Timer(due=due)):
            step = due.timeout.step
            return f"order_saga decides on the deadline of {NAMES[number]}'s {step} {due.timeout.attempt}"
        case ("provider", int(number), ask, verdict, stray):
            given_up = " that was given up" if stray else ""
            return f"the provider gets the {ask}{given_up} of {NAMES[number]}: {verdict}"
        case ("answer", int(number), ask, verdict):
            return f"payment hears of its {ask} of {NAMES[number]}: {verdict}"
        case ("operator", int(number), action):
            return f"the operator acts on {NAMES[number]}: {_action(action)}"
        case (what, int(number)):
            return _PLAIN[str(what)].format(NAMES[number])
        case _:
            return " ".join(map(str, label))


def _action(action: object) -> str:
    match action:
        case Force(step=step, outcome=outcome):
            return f"declares {step} {outcome}"
        case _:
            return type(action).__name__.lower()


_PLAIN = {
    "orders": "the customer asks for {}",
    "cancels": "the customer cancels {}",
    "looks": "an operator looks at {}'s saga",
    "call": "payment calls the provider about {}",
    "captures late": "the provider captures {}'s charge at last",
    "half a day": "half a day passes in which nobody asks about {}",
    "lease ends": "payment's claim on {} runs out",
    "catalogue": "the catalogue changes",
}
