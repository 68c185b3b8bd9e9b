"""Runs the cases and checks on one runtime, in this process, and tells what came of each."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

from medsdk_conformance.capabilities import (
    OF_THE_PROCESSOR,
    capabilities_of,
    declaration_problems,
    exceptions_of,
)
from medsdk_conformance.case import Call, Case
from medsdk_conformance.cases import CASES
from medsdk_conformance.check import Check, NotTestableError, RuleBrokenError, Subject, require
from medsdk_conformance.checks import CHECKS, SILENT
from medsdk_conformance.comparing import compare
from medsdk_conformance.wording import one_line, words
from medsdk_runtimes import Capability, Runtime
from medsdk_runtimes.errors import (
    GraphRefusedError,
    InferenceFailedError,
    PrecisionMismatchError,
    SettingRefusedError,
    TensorMismatchError,
)

Item = Case | Check
Verdict = Literal["pass", "fail", "not-run", "advisory"]


def _declares(subject: Subject) -> None:
    problems = declaration_problems(subject.runtime, {item.id for item in ITEMS})
    problems += [
        f"no exception is taken for {name}: who uses the runtime would not notice the fault"
        for name in exceptions_of(subject.runtime)
        if name in NEVER_EXCUSED
    ]
    if problems:
        raise RuleBrokenError("; ".join(problems))


ENDS = "process-ends"
"""The item that only the kit can run, since it takes a process of its own."""


def _ends(subject: Subject) -> None:
    raise NotTestableError("only `medsdk conformance` can tell: it takes a process of its own")


ITEMS: tuple[Item, ...] = (
    Check(
        "declarations",
        None,
        "capabilities is a set of known ones, fp32 among them; exceptions name items and reasons.",
        _declares,
    ),
    *CHECKS,
    Check(ENDS, None, "A process that leaves a session open ends, and with exit status 0.", _ends),
    *CASES,
)
"""Everything that a runtime is asked."""

NEVER_EXCUSED: frozenset[str] = frozenset({"declarations"} | SILENT)
"""Items for which no exception is taken."""


@dataclass(frozen=True)
class Result:
    """What came of one case or check.

    Attributes:
        id: Of the case or check.
        capability: That it needs, or None.
        verdict: `not-run` where the runtime does not declare the capability, and does not break
            the rule for that (`_solve`), or where this machine cannot tell; `advisory` where it
            failed as the runtime says beforehand.
        detail: Why it is not `pass`; empty where it passed.
    """

    id: str
    capability: Capability | None
    verdict: Verdict
    detail: str = ""


def examine(
    runtime: Runtime, ids: Collection[str] | None = None, device: str | None = None
) -> tuple[Result, ...]:
    """Ask a runtime everything, or only the named items.

    Args:
        runtime: An available runtime.
        ids: Items to run; None runs all.
        device: One of the runtime's devices; None takes the first.

    Returns:
        One result an item, in the order of `ITEMS`.
    """
    return tuple(
        examine_item(runtime, item, device) for item in ITEMS if ids is None or item.id in ids
    )


def examine_item(runtime: Runtime, item: Item, device: str | None = None) -> Result:
    """Ask a runtime one thing; whatever exception it raises is a failure."""
    found = judge_item(runtime, item, device)
    return with_exception(found, exceptions_of(runtime).get(item.id))


def with_exception(result: Result, reason: str | None) -> Result:
    """What a declared exception makes of a result.

    A failure that was declared decides nothing. One that was declared and does not occur fails, so
    that no exception outlives its reason. Items of `NEVER_EXCUSED` take none.
    """
    if reason is None or result.verdict == "not-run" or result.id in NEVER_EXCUSED:
        return result
    if result.verdict == "fail":
        return replace(
            result, verdict="advisory", detail=one_line(f"{reason} (seen: {result.detail})")
        )
    return replace(
        result, verdict="fail", detail=one_line(f"it passes, though an exception says: {reason}")
    )


def judge_item(
    runtime: Runtime,
    item: Item,
    device: str | None = None,
    seen: Callable[[BaseException], None] = lambda error: None,
) -> Result:
    """`examine_item` without regard to the exceptions that the runtime declares.

    `seen` is given the exception that made it fail.
    """
    capabilities = capabilities_of(runtime)
    needed = item.capability
    missing = needs_of(item) - capabilities
    undeclared = bool(missing)
    without = f"the runtime does not declare {', '.join(map(repr, sorted(missing)))}"
    if undeclared and not isinstance(item, Case):
        return Result(item.id, needed, "not-run", without)
    try:
        subject = Subject(runtime, device, capabilities)
        if isinstance(item, Case):
            outcome = _solve(subject, item)
            if undeclared:
                return Result(item.id, needed, "not-run", f"{without}, and {outcome}")
        else:
            item.run(subject)
    except RuleBrokenError as broken:
        seen(broken)
        told = f"{without}, and does not refuse: {broken}" if undeclared else str(broken)
        return Result(item.id, needed, "fail", one_line(told))
    except NotTestableError as reason:
        return Result(item.id, needed, "not-run", str(reason))
    # A runtime may raise anything, and whatever it is, it is an answer.
    except Exception as error:  # noqa: BLE001
        seen(error)
        return Result(item.id, needed, "fail", words(error))
    return Result(item.id, needed, "pass")


def needs_of(item: Item) -> frozenset[Capability]:
    """The capabilities that a runtime needs to be held to an item."""
    besides = item.besides if isinstance(item, Case) else None
    return frozenset(needed for needed in (item.capability, besides) if needed is not None)


_GRAPH_REFUSED = (GraphRefusedError, PrecisionMismatchError, SettingRefusedError)
_CALL_REFUSED = (InferenceFailedError, TensorMismatchError)


def _solve(subject: Subject, case: Case) -> str:
    """Ask for a case's values.

    Who does not declare what the case needs may refuse the graph, and who does not declare
    `dynamic-batch` may refuse a call of other shapes than the first. What is not refused has to
    be right.

    Returns:
        What came of it, for a case that is not declared.

    Raises:
        RuleBrokenError: Other values, or another precision than asked.
    """
    problem = case.build()
    missing = needs_of(case) - subject.capabilities
    declared = not missing
    try:
        session = subject.open(problem.onnx, precision=case.precision)
    except _GRAPH_REFUSED as error:
        if declared:
            raise
        return f"refuses it with {type(error).__name__}"
    refused = 0
    with closing(session):
        found = session.effective.precision
        require(found == case.precision, f"{case.precision} asked, {found} runs")
        for call in problem.calls:
            must_take = declared and (
                "dynamic-batch" in subject.capabilities or _same_shapes(call, problem.calls[0])
            )
            try:
                outputs = session.run(call.inputs)
            except _CALL_REFUSED:
                if must_take:
                    raise
                refused += 1
                continue
            if not missing & OF_THE_PROCESSOR:
                compare(case, outputs, call.expected)
    if missing & OF_THE_PROCESSOR:
        return "its values were not compared"
    return "refuses the call" if refused == len(problem.calls) else "gives the right values"


def _same_shapes(one: Call, other: Call) -> bool:
    return all(array.shape == other.inputs[name].shape for name, array in one.inputs.items())
