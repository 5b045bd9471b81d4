"""Which passwords are refused."""

import pytest

from gateway.domain.passwords import is_common


@pytest.mark.parametrize(
    "password",
    [
        "password123",
        "Password2024!",
        "PASSWORD!!!",
        "qwertyuiop",
        "1234567890",
        "0987654321",
        "aaaaaaaaaa",
        "abababababab",
        "abcabcabcabc",
        "passwordpassword",
        "iloveyou1234",
        "correcthorsebatterystaple",
        "administrator",
        "abcdefghijklm",
        "letmein12345",
        "1q2w3e4r5t",
        "sunshine2020",
    ],
)
def test_common_ones_are_refused(password: str) -> None:
    assert is_common(password)


@pytest.mark.parametrize(
    "password",
    ["difference-engine-2", "a long way to the market", "xK9$mQ2#vL5p", "tromboneLadder7", "ünïcödé-pässt"],
)
def test_others_are_taken(password: str) -> None:
    assert not is_common(password)


def test_ones_own_name_and_address_are_common() -> None:
    about = ("Ada Lovelace", "ada.lovelace@example.com", "ada.lovelace")
    assert is_common("ada lovelace", about=about)
    assert is_common("Ada.Lovelace2024", about=about)
    assert is_common("ada.lovelace@example.com", about=about)
    assert not is_common("countess of engines", about=about)
