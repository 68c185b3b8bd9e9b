"""Class scores to probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping

from medsdk.tasks.decoding import ClassificationDecode
from medsdk_runtimes.contract import Array
from medsdk_runtimes.errors import OutputMismatchError

ROUNDING = 1e-5
"""What a softmax in float32 inside a graph may leave of 0..1."""


def class_probabilities(
    decode: ClassificationDecode, outputs: Mapping[str, Array], row: int = 0
) -> dict[str, float]:
    """Probability of each label for one row of the batch.

    Args:
        decode: What the output means.
        outputs: The network's outputs by name; `decode.output` is N x labels, or N x 1 for a
            sigmoid over two labels, where the one score speaks for the second label.
        row: Which of the N.

    Returns:
        Label to probability in 0..1, in the order of the labels, computed in float64.

    Raises:
        OutputMismatchError: The output is missing, has another shape, is not finite, or with
            activation `none` holds no probabilities.
    """
    output = outputs.get(decode.output)
    if output is None:
        raise OutputMismatchError(
            f"the output {decode.output!r} is missing",
            got=", ".join(sorted(outputs)) or "no output",
            expected=decode.output,
        )
    if output.ndim < 2 or row >= output.shape[0]:
        raise OutputMismatchError(
            f"output {decode.output!r} does not fit the labels",
            got=f"shape {output.shape}",
            expected="N x labels",
        )
    scores = [float(value) for value in output[row].ravel()]
    labels = decode.labels
    single = decode.activation == "sigmoid" and len(scores) == 1 and len(labels) == 2
    if len(scores) != len(labels) and not single:
        raise OutputMismatchError(
            f"output {decode.output!r} does not fit the labels",
            got=f"{len(scores)} scores",
            expected=f"{len(labels)}, one for each label",
        )
    if not all(map(math.isfinite, scores)):
        raise OutputMismatchError(
            f"output {decode.output!r} holds NaN or infinity",
            got="a value that is not finite",
            expected="finite scores",
            remedy="`medsdk verify` shows whether this machine reproduces the known answers",
        )
    match decode.activation:
        case "softmax":
            top = max(scores)
            powers = [math.exp(score - top) for score in scores]
            total = sum(powers)
            values = [power / total for power in powers]
        case "sigmoid":
            values = [_sigmoid(score) for score in scores]
        case "none":
            values = [_probability(score, decode.output) for score in scores]
    if single:
        values = [1.0 - values[0], values[0]]
    return dict(zip(labels, values, strict=True))


def _probability(score: float, output: str) -> float:
    """A foreign graph's own probability, without what its float32 rounded beyond 0..1."""
    if not -ROUNDING <= score <= 1.0 + ROUNDING:
        raise OutputMismatchError(
            f"output {output!r} holds no probabilities",
            got=f"{score:g}",
            expected="0 to 1, since the task says activation = 'none'",
            remedy="give the task the activation that the graph leaves out",
        )
    return min(max(score, 0.0), 1.0)


def _sigmoid(score: float) -> float:
    if score >= 0:
        return 1.0 / (1.0 + math.exp(-score))
    power = math.exp(score)
    return power / (1.0 + power)
