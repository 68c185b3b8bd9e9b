"""What explains outputs and probabilities that are not those of the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from medsdk.decode.classification import class_probabilities
from medsdk.parity.explaining import EQUAL, explain_order, linear_relation, same, where_it_is
from medsdk.tasks.decoding import ClassificationDecode
from medsdk_runtimes.contract import Array
from medsdk_runtimes.errors import MedsdkError

BFLOAT16_STEP = 2.0**-8
"""Largest relative error of rounding to bfloat16, which keeps 8 significant bits."""

_LARGE, _ENOUGH_VALUES, _NEAR, _MOST = 10.0, 4, 0.05, 0.75
"""A value tells a factor where it is so many tolerances large; so many values are needed, of which
this part lies so near, relative, to the median factor."""


def to_bfloat16(array: Array) -> NDArray[np.float32]:
    """Round to bfloat16, half to even, and widen again; NaN and infinity stay what they are."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(
        0xFFFF0000
    )
    return np.where(np.isfinite(array), rounded.view(np.float32), array).astype(np.float32)


def explain_output(
    got: Array, want: Array, tolerance: float, others: Mapping[str, Array] | None = None
) -> str | None:
    """What is wrong with one output of a network.

    Args:
        got: What it gave, first axis the batch of 1.
        want: What it should have given.
        tolerance: How far a value may differ.
        others: What else is stored of it, by a description ("variant 'int8-cpu'").

    Returns:
        Sentences joined by semicolons, without a full stop; None where nothing can be said.
    """
    if got.dtype != want.dtype or got.shape != want.shape or got.ndim < 2:
        return None
    bad = ~np.isfinite(got)
    if bad.any():
        first = ", ".join(str(int(axis[0])) for axis in np.nonzero(bad))
        return f"{np.count_nonzero(bad)} of {got.size} values not finite, the first at [{first}]"
    if not np.isfinite(want).all():
        return "the stored output is not finite"
    words = ["value", "row", "column"] if got.ndim <= 4 else ["axis"] * (got.ndim - 1)
    found = [where_it_is(got[0], want[0], words[: got.ndim - 1], tolerance)]
    for other, array in (others or {}).items():
        if same(got, array, tolerance) and not same(array, want, tolerance):
            return f"{found[0]}; it is what is stored of {other}"
    found += filter(
        None,
        (
            explain_order(list(got[0]), list(want[0]), "values of the output", tolerance),
            _scaled(got, want) or _mostly_scaled(got, want, tolerance),
            _like_bfloat16(got, want),
        ),
    )
    return "; ".join(found)


def explain_problems(
    texts: Sequence[str],
    got: Mapping[str, Array],
    want: Mapping[str, Array],
    tolerance: Mapping[str, float],
    others: Mapping[str, Mapping[str, Array]],
) -> tuple[str, ...]:
    """The problems of a set of outputs, each followed by what explains it.

    Args:
        texts: As `comparison.beyond` words them: `output 'NAME' ...`.
        got: The outputs.
        want: What they should be.
        tolerance: Of each output, as `beyond` took it.
        others: What else is stored of the network, by a description.
    """
    found = []
    for text in texts:
        why = None
        for name, array in want.items():
            if not text.startswith(f"output {name!r} "):
                continue
            if name in got:
                elsewhere = {title: item[name] for title, item in others.items() if name in item}
                why = explain_output(got[name], array, tolerance.get(name, 0.0), elsewhere)
            else:
                why = explain_names(got, want)
        found.append(f"{text}; {why}" if why else text)
    return tuple(found)


def explain_names(got: Mapping[str, Array], want: Mapping[str, Array]) -> str | None:
    """Whether an output that is missing is there under another name."""
    missing, extra = want.keys() - got.keys(), got.keys() - want.keys()
    for lost in sorted(missing):
        for name in sorted(extra):
            if same(got[name], want[lost]):
                return f"{name!r} holds what {lost!r} should: it was renamed"
    if missing and not extra:
        return f"the graph was cut: it still gives {', '.join(sorted(got)) or 'nothing'}"
    return None


def _scaled(got: Array, want: Array) -> str | None:
    relation = linear_relation(want, got)
    if relation is None:
        return None
    factor, offset = relation
    if abs(offset) > EQUAL * max(1.0, float(np.abs(got).max())):
        return f"every value is {factor:.4g} times what it should be, and {offset:+.4g}"
    return f"every value is {factor:.4g} times what it should be"


def _mostly_scaled(got: Array, want: Array, tolerance: float) -> str | None:
    """One factor of most values: behind a scale that is off, rounding and ReLU bend the others."""
    values = want.astype(np.float64).ravel()
    large = np.abs(values) > _LARGE * tolerance
    ratios = got.astype(np.float64).ravel()[large] / np.where(large, values, 1.0)[large]
    if ratios.size < _ENOUGH_VALUES:
        return None
    factor = float(np.median(ratios))
    near = int((np.abs(ratios - factor) <= _NEAR * abs(factor)).sum())
    if abs(factor - 1) <= 2 * _NEAR or near < _MOST * ratios.size:
        return None
    return (
        f"{near} of the {ratios.size} values that are large enough to tell are about {factor:.1g} "
        "times what they should be: a scale before it is off"
    )


def _like_bfloat16(got: Array, want: Array) -> str | None:
    """Values that bfloat16 holds exactly, or differences of the size of its rounding."""
    if got.dtype != np.float32 or want.dtype != np.float32:
        return None
    nonzero = got[got != 0]
    if nonzero.size and np.array_equal(to_bfloat16(nonzero), nonzero):
        if not np.array_equal(to_bfloat16(want), want):
            return "the numbers look like bfloat16: none has more than 8 significant bits"
        return None
    size = float(np.abs(want).max())
    gap = float(np.abs(got.astype(np.float64) - want.astype(np.float64)).max())
    if size and BFLOAT16_STEP / 16 <= gap / size <= BFLOAT16_STEP:
        return (
            f"off by {gap / size:.2%} of the largest value, within the rounding of bfloat16 "
            f"({BFLOAT16_STEP:.2%}): is the precision what it says?"
        )
    return None


def explain_probabilities(
    got: Mapping[str, float],
    want: Mapping[str, float],
    outputs: Mapping[str, Array],
    decode: ClassificationDecode,
) -> str | None:
    """What is wrong with decoded probabilities.

    Args:
        got: Label to probability.
        want: The stored ones, of the same labels.
        outputs: What was decoded.
        decode: How.
    """
    labels = list(want)
    order = _label_order(got, want)
    if order is not None:
        return order
    for activation in ("none", "softmax", "sigmoid"):
        if activation == decode.activation:
            continue
        other = decode.model_copy(update={"activation": activation})
        try:
            values = class_probabilities(other, outputs)
        except MedsdkError:
            continue
        if all(abs(values[label] - want[label]) <= EQUAL for label in labels):
            return (
                f"the stored ones are what activation {activation!r} gives, the task says "
                f"{decode.activation!r}"
            )
    return None


def _label_order(got: Mapping[str, float], want: Mapping[str, float]) -> str | None:
    moved = [label for label in want if abs(got[label] - want[label]) > EQUAL]
    mine = sorted(got[label] for label in moved)
    theirs = sorted(want[label] for label in moved)
    if len(moved) < 2 or not np.allclose(mine, theirs, rtol=0, atol=EQUAL):
        return None
    order = sorted(moved, key=lambda label: got[label])
    stands = dict(zip(order, sorted(moved, key=lambda label: want[label]), strict=True))
    told = ", ".join(f"{label!r} has what {stands[label]!r} should have" for label in moved)
    return f"the labels are in another order: {told}"
