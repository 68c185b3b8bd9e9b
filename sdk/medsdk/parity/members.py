"""Members of a whole (slices of a series, folds of an ensemble), each held to its own reference.

The answer of the whole may stay as it was where two slices change places or one fold stands in for
another; its members do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medsdk.parity.comparison import beyond, compare_outputs
from medsdk.parity.explaining import explain_order, explain_replaced
from medsdk_runtimes.contract import Array


@dataclass(frozen=True)
class MembersResult:
    """What the members of a whole showed.

    Attributes:
        problems: One sentence an output that differs, starting with the member's name, with what
            explains it; empty where every member gives what it should.
        order: That the members agree once they are put in another order; None where they do not,
            and where nothing differs.
    """

    problems: tuple[str, ...]
    order: str | None


def check_members(
    what: str,
    got: Mapping[str, Mapping[str, Array]],
    want: Mapping[str, Mapping[str, Array]],
    tolerance: Mapping[str, float],
) -> MembersResult:
    """Hold every member of a whole to its own stored reference.

    Args:
        what: What the members are, in the plural ("slices").
        got: Member to its outputs by name, in the order in which they are walked.
        want: What each should give, in the order in which they should be.
        tolerance: For each output, how far a value may differ.

    Returns:
        What they showed. A member that is missing or too many is a problem.
    """
    problems = [f"{name}: it is missing" for name in want if name not in got]
    problems += [f"{name}: no such member is stored" for name in got if name not in want]
    for name, outputs in got.items():
        if name not in want:
            continue
        for text in beyond(compare_outputs(outputs, want[name]), tolerance):
            why = _replaced(name, text, outputs, want, tolerance)
            problems.append(f"{name}: {text}" + (f"; {why}" if why else ""))
    if not problems or got.keys() != want.keys():
        return MembersResult(tuple(problems), None)
    orders = set()
    for output in next(iter(want.values())):
        mine, theirs = (
            [one[output] for one in side.values() if output in one] for side in (got, want)
        )
        orders.add(explain_order(mine, theirs, what, tolerance.get(output)))
    return MembersResult(tuple(problems), orders.pop() if len(orders) == 1 else None)


def _replaced(
    name: str,
    text: str,
    outputs: Mapping[str, Array],
    want: Mapping[str, Mapping[str, Array]],
    tolerance: Mapping[str, float],
) -> str | None:
    """Whether the output that a problem speaks of is another member's."""
    for output, array in outputs.items():
        if text.startswith(f"output {output!r} "):
            stored = {member: one[output] for member, one in want.items() if output in one}
            return explain_replaced(name, array, stored, tolerance.get(output))
    return None
