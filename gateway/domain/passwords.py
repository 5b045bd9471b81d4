"""Which passwords are refused: the common ones, long as they are (NIST SP 800-63B, section 3.1.1.2)."""

import re
from typing import Final

MIN_LENGTH: Final = 10
MAX_LENGTH: Final = 128

_WORDS: Final = (
    "password passwort passw0rd p@ssword p@ssw0rd qwerty qwertz azerty asdfgh zxcvbn letmein welcome "
    "iloveyou admin administrator monkey dragon master sunshine princess football baseball superman batman "
    "trustno1 abc123 abcd1234 whatever starwars computer internet secret changeme default guest hello "
    "login michael jordan jennifer liverpool chelsea arsenal barcelona pokemon minecraft charlie "
    "shadow ashley bailey access mustang freedom summer winter spring autumn samsung google facebook"
)
_COMMON_WORDS: Final = frozenset(_WORDS.split())
_WELL_KNOWN: Final = (
    "1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc 1qazxsw23edc qazwsxedcrfv zaq12wsxcde3 q1w2e3r4t5 q1w2e3r4t5y6 "
    "a1b2c3d4e5 qwertyuiop qwertzuiop asdfghjkl1 asdfghjkl; zxcvbnm123 zxcvbnm,./ 1234qwerasdf "
    "qwer1234asdf asdf1234qwer abcdefghij abcdefghijkl 123qweasdzxc 123qwe123qwe aa12345678 a123456789 "
    "0987654321 9876543210 1029384756 147258369 1472583690 3141592653 correcthorsebatterystaple "
    "thisisapassword mypassword mypassword1 mypassword123 yourpassword nopassword iloveyou1234 "
    "loveyou123 iloveyou12 princess12 sunshine12 football12 baseball12 administrator rootrootroot "
    "testtesttest changemenow changeme123 letmein123 letmeinnow welcome123 welcome2024 welcome2025 "
    "welcome2026 summer2024! summer2025! summer2026! winter2024! winter2025! winter2026!"
)
_COMMON: Final = frozenset(_WELL_KNOWN.split())
_ROWS: Final = (
    "01234567890123456789",
    "98765432109876543210",
    "abcdefghijklmnopqrstuvwxyz",
    "zyxwvutsrqponmlkjihgfedcba",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
)
_TAIL: Final = re.compile(r"[\d\W_]+$")
_FEW: Final = 3


def is_common(password: str, *, about: tuple[str, ...] = ()) -> bool:
    """Whether a password is among the first that anybody would try.

    Common are the well-known ones, a well-known word with digits and signs behind it, a run along
    the keyboard, the alphabet or the digits, a short piece repeated, and what is in `about` (the
    account's own name and address).
    """
    folded = password.casefold()
    bare = _TAIL.sub("", folded)
    return (
        folded in _COMMON
        or bare in _COMMON_WORDS
        or bare in {word.casefold() for word in about if word}
        or folded in {word.casefold() for word in about}
        or any(folded in row for row in _ROWS)
        or _repeats(folded)
        or (bool(bare) and _repeats(bare))
    )


def _repeats(text: str) -> bool:
    """Whether the text is one short piece over and over, or hardly varies at all."""
    if len(set(text)) <= _FEW and len(text) >= MIN_LENGTH:
        return True
    return any(
        (text[:size] * (len(text) // size + 1)).startswith(text)
        and (text[:size] in _COMMON_WORDS or any(text[:size] in row for row in _ROWS))
        for size in range(1, len(text) // 2 + 1)
    )
