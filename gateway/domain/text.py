"""What text people may send: normalised, and nothing in it that shows differently than it reads."""

import unicodedata
from typing import Final

_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_BIDI_CONTROLS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reorder what follows (Unicode TR 36, section 3.1; CVE-2021-42574)."""


def clean(text: str) -> str:
    """The text in Unicode's form NFC without blanks at its ends.

    Raises ValueError where it holds control, bidirectional control or unpaired surrogate characters.
    """
    for character in text:
        if character in _BIDI_CONTROLS or unicodedata.category(character) in _REFUSED_CATEGORIES:
            raise ValueError(f"the character U+{ord(character):04X} is not allowed")
    return unicodedata.normalize("NFC", text).strip()
