"""Good records with chance at work on them: the same seed, the same records."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Final

from tests.fuzz.good import TOPICS, Draft, any_good

Mutation = Callable[[Random, Draft], Draft]
TOKENS: Final = (
    *(b"null", b"true", b"-1", b"0", b"1e999", b"9007199254740993", b"123456789012345678901234567890"),
    *(
        b'""',
        b"[]",
        b"{}",
        b'"\\u0000"',
        b'"\\ud800"',
        b"\x00",
        b"\xff",
        b"\xc3\x28",
        b"\\",
        b'"',
        b"}",
        b",",
    ),
)


def _flipped(random: Random, text: bytes) -> bytes:
    """With one to three bits turned over."""
    if not text:
        return b"\x00"
    turned = bytearray(text)
    for _ in range(random.randint(1, 3)):
        turned[random.randrange(len(turned))] ^= 1 << random.randrange(8)
    return bytes(turned)


def _spliced(random: Random, text: bytes) -> bytes:
    """With a token in place of a part."""
    start = random.randrange(len(text) + 1)
    return text[:start] + random.choice(TOKENS) + text[start + random.randrange(8) :]


def _trimmed(random: Random, text: bytes) -> bytes:
    start, end = sorted(random.randrange(len(text) + 1) for _ in range(2))
    return text[:start] + text[end:]


def _repeated(random: Random, text: bytes) -> bytes:
    start, end = sorted(random.randrange(len(text) + 1) for _ in range(2))
    return text[:end] + text[start:end] * random.randint(1, 50) + text[end:]


BYTES: Final = (_flipped, _spliced, _trimmed, _repeated)


def _value(random: Random, draft: Draft) -> Draft:
    return replace(draft, value=random.choice(BYTES)(random, draft.value or b""))


def _key(random: Random, draft: Draft) -> Draft:
    return replace(draft, key=random.choice(BYTES)(random, draft.key or b""))


def _header_value(random: Random, draft: Draft) -> Draft:
    name, value = random.choice(draft.headers)
    return draft.with_header(name, random.choice(BYTES)(random, value))


def _header_gone(random: Random, draft: Draft) -> Draft:
    return draft.with_header(random.choice(draft.headers)[0], None)


def _header_twice(random: Random, draft: Draft) -> Draft:
    return replace(draft, headers=(*draft.headers, random.choice(draft.headers)))


def _header_more(random: Random, draft: Draft) -> Draft:
    name = random.choice(["saga_id", "step", "attempt", "traceparent", "tracestate", "causation_id", "x"])
    return draft.with_header(name, random.choice(BYTES)(random, b"01920000-0000-7000-8000-000000000001"))


def _field(random: Random, draft: Draft) -> Draft:
    """With another value in a field, however deep, or without it."""
    try:
        body = draft.body
    except ValueError:
        return draft  # another mutation has been here
    if not body:
        return draft
    place: object = body
    while True:
        keys: Sequence[object] = list(place) if isinstance(place, dict) else range(len(place))  # type: ignore[arg-type]
        key = random.choice(keys)
        inner = place[key]  # type: ignore[index]
        if not isinstance(inner, dict | list) or not inner or random.random() < 1 / 3:
            break
        place = inner
    if isinstance(place, dict) and random.random() < 1 / 4:
        del place[key]
    else:
        place[key] = random.choice(VALUES)  # type: ignore[index]
    return draft.with_body(**body) if "order_id" in body else draft.without_field("order_id")


VALUES: Final[tuple[object, ...]] = (
    *(None, True, -1, 0, 1, 1.5, 2**31, 2**53, 2**63, 10**30, "", "x", "\x00", "\ud83d\ude00", "x" * 5_000),
    *([], {}, [None], {"amount_minor": 1}, "01920000-0000-7000-8000-000000000001"),
)


def _elsewhere(random: Random, draft: Draft) -> Draft:
    return replace(draft, topic=random.choice(TOPICS))


MUTATIONS: Final[Sequence[Mutation]] = (
    *(_value, _value, _value, _key, _header_value, _header_value),
    *(_header_gone, _header_twice, _header_more, _field, _field, _field, _elsewhere),
)


def mutants(seed: int, count: int) -> Iterator[Draft]:
    """So many records, the topics in turn, each with one to three mutations."""
    random = Random(seed)  # noqa: S311 - the same seed, the same records
    for number in range(count):
        draft = any_good(random, TOPICS[number % len(TOPICS)])
        for _ in range(random.choice([1, 1, 1, 2, 3])):
            draft = random.choice(MUTATIONS)(random, draft) if draft.headers else draft
        yield draft
