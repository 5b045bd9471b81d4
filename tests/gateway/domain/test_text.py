"""Which text is taken, and in what form."""

import re
import unicodedata

import pytest

from gateway.domain.text import PATTERN, clean


def test_text_is_normalised() -> None:
    assert clean("e\u0301") == "\u00e9"
    assert clean("Łódź 東京 👋🏽 قهوة") == unicodedata.normalize("NFC", "Łódź 東京 👋🏽 قهوة")


@pytest.mark.parametrize(
    "character",
    [
        "\x00",
        "\x07",
        "\n",
        "\t",
        "\x1b",
        "\x7f",
        "\x85",
        "\u061c",
        "\u200e",
        "\u202e",
        "\u2028",
        "\u2029",
        "\u2066",
    ],
)
def test_what_cannot_be_seen_or_reorders_is_refused(character: str) -> None:
    with pytest.raises(ValueError, match=f"U\\+{ord(character):04X}"):
        clean(f"a{character}b")
    assert not re.search(PATTERN, f"a{character}b"), "the schema says so too"


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match="U\\+D800"):
        clean("\ud800")


def test_the_pattern_refuses_what_the_rule_refuses_and_nothing_else() -> None:
    for number in range(0x3000):
        character = chr(number)
        try:
            clean(character)
        except ValueError:
            taken = False
        else:
            taken = True
        assert bool(re.search(PATTERN, f"x{character}x")) == taken, f"U+{number:04X}"
