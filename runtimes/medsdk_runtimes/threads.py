"""One thread budget for the process.

The stages of a pipeline and the folds of an ensemble run one after the other, so each takes the
whole budget: three sessions of two threads on two cores are no over-subscription as long as
spinning is off (three ONNX Runtime sessions in series took 19.5 ms spinning and 8.9 ms not).
Only sessions that really run at the same time divide it.
"""

from __future__ import annotations

import threading
from typing import ClassVar

from medsdk_runtimes.errors import SettingRefusedError
from medsdk_runtimes.operating_system import usable_cores


class ThreadBudget:
    """How many worker threads the sessions of this process may use together.

    Use `ThreadBudget.process()`. An instance of one's own is for tests.
    """

    _process: ClassVar[ThreadBudget | None] = None
    _process_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, total: int | None = None) -> None:
        self._lock = threading.Lock()
        self._total = usable_cores() if total is None else _checked(total)
        self._taken = False

    @classmethod
    def process(cls) -> ThreadBudget:
        """The budget of this process; by default the cores it may use."""
        with cls._process_lock:
            if cls._process is None:
                cls._process = cls()
            return cls._process

    @property
    def total(self) -> int:
        """Threads in all, at least 1."""
        return self._total

    def set(self, total: int) -> None:
        """Choose the budget, before the first session takes from it.

        Args:
            total: Threads in all, at least 1.

        Raises:
            SettingRefusedError: Less than 1, or changed after a session took its share.
        """
        checked = _checked(total)
        with self._lock:
            if self._taken and checked != self._total:
                raise SettingRefusedError(
                    "the thread budget cannot change once sessions have taken from it",
                    got=f"{checked} threads",
                    expected=f"{self._total} threads, which the open sessions use",
                    remedy="set the budget at the start of the process, before the first load",
                )
            self._total = checked

    def share(self, concurrent: int = 1) -> int:
        """Take the threads of one session; from then on the budget is fixed.

        Args:
            concurrent: Sessions that run at the same time; 1 for stages in series.

        Returns:
            Threads for each of them, at least 1.

        Raises:
            SettingRefusedError: `concurrent` is less than 1.
        """
        if concurrent < 1:
            raise SettingRefusedError(
                "a share of the thread budget needs at least one session",
                got=str(concurrent),
                expected="1 or more",
            )
        with self._lock:
            self._taken = True
            return max(1, self._total // concurrent)


def _checked(total: int) -> int:
    if total < 1:
        raise SettingRefusedError(
            "the thread budget is too small", got=f"{total} threads", expected="1 or more"
        )
    return total
