"""`.env.example` is complete: every field of every settings class of the platform stands in it."""

import importlib
import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

EXAMPLE = (Path(__file__).parents[1] / ".env.example").read_text()
NAMED = set(re.findall(r"^# ([A-Z_]+)=", EXAMPLE, re.MULTILINE))
MODULES = ("libs.service.settings", "gateway.settings", "order_saga.settings", "payment.settings")


@pytest.mark.parametrize("module", MODULES)
def test_every_setting_is_named(module: str) -> None:
    settings = [
        each
        for each in vars(importlib.import_module(module)).values()
        if isinstance(each, type) and issubclass(each, BaseSettings) and each is not BaseSettings
    ]
    assert settings
    missing = {name.upper() for each in settings for name in each.model_fields} - NAMED
    assert not missing
