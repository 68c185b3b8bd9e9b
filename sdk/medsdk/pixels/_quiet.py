"""Keep pydicom from speaking of an object's values while this thread reads it.

pydicom warns and logs with values and tags of what it reads. Both are silenced for the reading
thread alone: `warnings.catch_warnings` would swap the filters of the whole process, and two
threads that leave it in another order than they entered would leave the wrong ones behind.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from medsdk.pixels.errors import PixelInputUnreadableError
from medsdk_runtimes.errors import MedsdkError

_thread = threading.local()


def _is_quiet() -> bool:
    return getattr(_thread, "depth", 0) > 0


class _QuietThread:
    """Stands where a warning filter has its message pattern: matches in a quiet thread only."""

    def match(self, text: str) -> bool:
        del text
        return _is_quiet()


class _QuietLogs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        del record
        return not _is_quiet()


_WARNING_FILTER = ("ignore", _QuietThread(), Warning, None, 0)
_LOG_FILTER = _QuietLogs()
_installing = threading.Lock()
_looked_at = (0, 0)
"""Modules and loggers of the process when the loggers were last looked through."""


def _install() -> None:
    """Put our two filters where they are asked first; without a quiet thread they do nothing."""
    filters: list[object] = warnings.filters  # type: ignore[assignment]  # a list, typed Sequence
    if not filters or filters[0] is not _WARNING_FILTER:
        filters.insert(0, _WARNING_FILTER)
        for index in range(len(filters) - 1, 0, -1):
            if filters[index] is _WARNING_FILTER:
                del filters[index]
    # A process may have thousands of loggers: they are looked through again only where a module
    # was imported or a logger made since.
    global _looked_at
    loggers = logging.root.manager.loggerDict
    state = (len(sys.modules), len(loggers))
    if state == _looked_at:
        return
    _looked_at = state
    for name, logger in list(loggers.items()):
        if name.split(".")[0] == "pydicom" and isinstance(logger, logging.Logger):
            logger.addFilter(_LOG_FILTER)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Read hostile data: no warning, no log record, and one kind of error.

    Args:
        what: What is being read, for the message.

    Raises:
        PixelInputUnreadableError: The block raised anything but an error of ours.
    """
    import pydicom  # noqa: F401  # its loggers exist from here on

    with _installing:
        _install()
    _thread.depth = getattr(_thread, "depth", 0) + 1
    try:
        yield
    except MedsdkError:
        raise
    except Exception:  # noqa: BLE001  # pydicom raises most built-in kinds on broken objects
        # `from None`: the cause's text holds values of the object.
        raise PixelInputUnreadableError.malformed(what) from None
    finally:
        _thread.depth -= 1
