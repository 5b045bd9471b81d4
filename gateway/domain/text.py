"""What text people may send: normalised, and nothing in it that shows differently than it reads."""

import unicodedata
from typing import Final

_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_BIDI_CONTROLS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reorder what follows (Unicode TR 36, section 3.1; CVE-2021-42574)."""

_REFUSED: Final = "\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069"
_BLANK: Final = "\\u0020\\u00a0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u3000"

PATTERN: Final = f"^[^{_REFUSED}]*$"
"""The same as a regular expression for schemas, as far as it can be said there."""
VISIBLE_PATTERN: Final = f"^[{_BLANK}]*[^{_REFUSED}{_BLANK}][^{_REFUSED}]*$"
"""The same, of text that is not only blanks; in every script, beyond the first 65,536 characters too."""


def clean(text: str) -> str:
    """The text in Unicode's form NFC.

    Raises ValueError where it holds control, bidirectional control or unpaired surrogate characters.
    """
    for character in text:
        if character in _BIDI_CONTROLS or unicodedata.category(character) in _REFUSED_CATEGORIES:
            raise ValueError(f"the character U+{ord(character):04X} is not allowed")
    return unicodedata.normalize("NFC", text)
