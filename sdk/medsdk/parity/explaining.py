"""What explains a disagreement: hypotheses, tried one after the other, the first that fits is said.

Only runs once a stage has disagreed, so it costs nothing otherwise, and decides nothing: a verdict
is the comparison's, a sentence from here only leads to the cause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsdk_runtimes.contract import Array

EQUAL = 1e-5
"""Values that differ by less, relative to the largest one, are the same in float32."""

_MOST_MEMBERS = 6
"""Permutations of more than so many members are not tried one by one."""


def same(first: Array, second: Array, within: float | None = None) -> bool:
    """Whether two arrays have one shape and one content.

    Args:
        first: One.
        second: The other.
        within: How far two values may differ; None for the rounding of float32.
    """
    if first.shape != second.shape:
        return False
    a, b = first.astype(np.float64), second.astype(np.float64)
    if within is None:
        within = EQUAL * max(1.0, float(np.abs(b).max(initial=0.0)))
    return bool((np.abs(a - b) <= within).all())


def explain_order(
    got: Sequence[Array], want: Sequence[Array], what: str, within: float | None = None
) -> str | None:
    """Whether members (channels, slices, folds, labels) agree once they are put in another order.

    Args:
        got: The members as they are.
        want: The members as they should be, as many.
        what: Their name in the plural.
        within: How far two values may differ; None for the rounding of float32.

    Returns:
        A sentence without its full stop; None where no other order explains it.
    """
    count = len(want)
    if len(got) != count or count < 2:
        return None
    matches = [[same(mine, other, within) for mine in got] for other in want]
    if all(matches[place][place] for place in range(count)):
        return None  # whatever is wrong is smaller; equal members agree in every order
    backwards = tuple(reversed(range(count)))
    every = permutations(range(count)) if count <= _MOST_MEMBERS else ()
    for order in chain([backwards], every):
        if all(matches[place][member] for place, member in enumerate(order)):
            if order == backwards:
                return f"the {what} are in another order: reversed, all {count} agree"
            listed = ", ".join(str(member + 1) for member in order)
            return f"the {what} are in another order: {listed} agree with 1 to {count}"
    return None


def explain_replaced(
    name: str, got: Array, stored: Mapping[str, Array], within: float | None = None
) -> str | None:
    """Whether what one member gave is what another one should have given.

    Args:
        name: The member's.
        got: What it gave.
        stored: What every member should give, by name.
        within: How far two values may differ; None for the rounding of float32.
    """
    for other, array in stored.items():
        if other != name and same(got, array, within):
            return f"{name} gives what {other} should give: one stands in place of the other"
    return None


def explain_planes(got: Array, want: Array, within: float | None = None) -> str | None:
    """Whether an image agrees once it is flipped, turned or transposed.

    Args:
        got: C x H x W, or H x W.
        want: The same.
        within: How far two values may differ; None for the rounding of float32.
    """
    if same(got, want, within):
        return None  # whatever is wrong is smaller
    for how, turned in (
        ("flipped left to right", got[..., ::-1]),
        ("flipped top to bottom", got[..., ::-1, :]),
        ("turned by 180 degrees", got[..., ::-1, ::-1]),
        ("transposed: rows are columns", np.swapaxes(got, -1, -2)),
        ("turned by 90 degrees", np.rot90(got, 1, (-2, -1))),
        ("turned by 270 degrees", np.rot90(got, 3, (-2, -1))),
    ):
        if same(turned, want, within):
            return f"the image is {how}"
    return None


def linear_relation(got: Array, want: Array) -> tuple[float, float] | None:
    """Factor and offset with which `want = factor * got + offset`; None where none fits.

    A constant image has many; the factor 1 is taken. Fewer than three values prove nothing.
    """
    a, b = got.astype(np.float64).ravel(), want.astype(np.float64).ravel()
    if a.shape != b.shape or a.size < 3 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    spread = a - a.mean()
    power = float(spread @ spread)
    factor = 1.0 if power == 0.0 else float(spread @ (b - b.mean())) / power
    offset = float(b.mean() - factor * a.mean())
    size = max(1.0, float(np.abs(b).max()))
    fits = bool((np.abs(factor * a + offset - b) <= EQUAL * size).all())
    return (factor, offset) if fits and factor != 0.0 else None


def where_it_is(got: Array, want: Array, words: Sequence[str], within: float | None = None) -> str:
    """The place of the largest difference, and which members of the first axis are off alone.

    Args:
        got: Without NaN.
        want: Of the same shape.
        words: Name of each axis.
        within: A member is off where a value differs by more; None for the rounding of float32.
    """
    gaps = np.abs(got.astype(np.float64) - want.astype(np.float64))
    at = tuple(int(index) for index in np.unravel_index(int(gaps.argmax()), gaps.shape))
    place = ", ".join(f"{word} {index}" for word, index in zip(words, at, strict=True))
    found = f"largest at {place}: {got[at]:.6g} in place of {want[at]:.6g}"
    off = [not same(*pair, within) for pair in zip(got, want, strict=True)]
    if len(off) > 1 and sum(off) == 1:
        found += f"; only {words[0]} {off.index(True)} is off"
    return found


def denormalised(
    planes: NDArray[Any], divide_by: float, mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float64]:
    """Working values of a normalised tensor, C x H x W, in float64."""
    shape = (-1, 1, 1)
    values = planes.astype(np.float64) * np.reshape(std, shape) + np.reshape(mean, shape)
    return np.asarray(values * divide_by)
