"""Which text is taken, and in what form."""

import re
import unicodedata
from typing import Final

import pytest

from gateway.domain.text import PATTERN, VISIBLE_PATTERN, clean


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


def _taken(character: str) -> str:
    try:
        return clean(character)
    except ValueError:
        return ""


BEYOND: Final = (0x1D400, 0x1F44B, 0x20000, 0x95E46, 0xE0100, 0x10FFFD)
"""Characters of other planes than the first, an unassigned one among them."""


def test_the_patterns_refuse_what_the_rules_refuse_and_nothing_else() -> None:
    for number in (*range(0xD800), *range(0xE000, 0x10000), *BEYOND):
        character = chr(number)
        taken = _taken(character)
        assert bool(re.search(PATTERN, f"x{character}x")) == bool(taken), f"U+{number:04X}"
        assert bool(re.search(VISIBLE_PATTERN, f" {character} ")) == bool(taken.strip()), (
            f"U+{number:04X} alone"
        )


@pytest.mark.parametrize(
    "name", ["نجيب محفوظ", "שמואל", "ひらがな", "한강", "สุนทรภู่", "\u3000山田", "\U00095e46"]
)
def test_a_name_is_visible_in_every_script(name: str) -> None:
    assert re.search(VISIBLE_PATTERN, name)


@pytest.mark.parametrize("text", ["", " ", "\u3000\u00a0 \u2009", "a\u202eb", "\u0000"])
def test_blanks_are_no_name_nor_is_what_is_refused(text: str) -> None:
    assert not re.search(VISIBLE_PATTERN, text)
