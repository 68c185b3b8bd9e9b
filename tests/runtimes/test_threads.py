"""One thread budget a process."""

from __future__ import annotations

import pytest

from medsdk_runtimes.errors import SettingRefusedError
from medsdk_runtimes.operating_system import usable_cores
from medsdk_runtimes.threads import ThreadBudget


def test_the_process_has_one_budget_of_its_cores(monkeypatch):
    monkeypatch.setattr(ThreadBudget, "_process", None)
    assert ThreadBudget.process() is ThreadBudget.process()
    assert ThreadBudget.process().total == usable_cores()


def test_stages_in_series_each_take_all():
    budget = ThreadBudget(4)
    assert [budget.share(), budget.share()] == [4, 4]


def test_what_runs_at_once_divides_it():
    budget = ThreadBudget(5)
    assert budget.share(concurrent=2) == 2
    assert budget.share(concurrent=8) == 1


def test_it_is_fixed_once_something_was_taken():
    budget = ThreadBudget(4)
    budget.set(3)
    budget.share()
    budget.set(3)
    with pytest.raises(SettingRefusedError, match="cannot change"):
        budget.set(2)
    assert budget.total == 3


@pytest.mark.parametrize("total", [0, -1])
def test_less_than_one_thread_is_refused(total):
    with pytest.raises(SettingRefusedError):
        ThreadBudget(total)
    with pytest.raises(SettingRefusedError):
        ThreadBudget(2).set(total)
    with pytest.raises(SettingRefusedError):
        ThreadBudget(2).share(concurrent=total)
