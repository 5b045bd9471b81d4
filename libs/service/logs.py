"""Logs: one JSON object a line, or a readable line on a terminal; noisy clients counted, not quoted."""

import logging
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, TextIO

import orjson
import structlog
from structlog.typing import Processor

from libs.service.settings import Settings

QUIET_SECONDS: Final = 5.0
_SERVICE: Final[ContextVar[str]] = ContextVar("service")


class Sparse(logging.Filter):
    """Lets one record of a logger and level pass in five seconds, with the count of those held back.

    A broker that is away makes each client log some hundred lines a second.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._passed: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.name, record.levelno
        passed_at, held_back = self._passed.get(kind, (float("-inf"), 0))
        if self._clock() - passed_at < QUIET_SECONDS:
            self._passed[kind] = passed_at, held_back + 1
            return False
        self._passed[kind] = self._clock(), 0
        if held_back:
            record.msg = f"{record.getMessage()} (and {held_back} more)"
            record.args = ()
        return True


def speak_for(service: str) -> None:
    """Name the service in every line of this task and of those that it starts."""
    _SERVICE.set(service)


def configure(settings: Settings, stream: TextIO = sys.stdout) -> None:
    """Set up structlog and the standard library's logging for this process."""
    pretty = settings.log_format == "pretty" or (settings.log_format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if pretty
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
    )

    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*shared, _name_service, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _name_logger, _name_service],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    handler.addFilter(Sparse())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _json(event: structlog.typing.EventDict, **_: object) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _name_service(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    if service := _SERVICE.get(None):
        event["service"] = service
    return event


def _name_logger(
    logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    record = event.get("_record")
    name = record.name if isinstance(record, logging.LogRecord) else str(logger)
    event["logger"] = name
    return event
