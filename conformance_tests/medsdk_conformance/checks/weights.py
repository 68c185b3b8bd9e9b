"""Two graphs that differ in nothing but their weights, which a cache might take for one.

Names, sizes, shapes and the length of the file are the same.
"""

from __future__ import annotations

from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from medsdk_conformance.check import Check, Subject, equal
from medsdk_conformance.graphs import product
from medsdk_runtimes import Session

_LARGE = (256, 64)
"""Shape of 64 KiB of weights: more than the head of a file that a hasty cache looks at."""


def _weights(seed: int, shape: tuple[int, int] = (8, 6)) -> NDArray[np.float32]:
    """Small integers, so that every sum is exact."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float32)


def _answers(session: Session, weights: NDArray[np.float32]) -> None:
    given = np.arange(1, len(weights) + 1, dtype=np.float32)[None]
    equal(session.run({"x": given})["y"], given @ weights)


def _one_after_the_other(subject: Subject) -> None:
    for seed in (1, 2, 1, 3):
        weights = _weights(seed)
        with closing(subject.open(product(weights))) as session:
            _answers(session, weights)


def _at_the_same_time(subject: Subject) -> None:
    first, second = _weights(1), _weights(2)
    one = subject.open(product(first))
    two = subject.open(product(second))
    try:
        for _ in range(3):
            _answers(one, first)
            _answers(two, second)
        one.close()
        _answers(two, second)
        with closing(subject.open(product(first))) as again:
            _answers(again, first)
            _answers(two, second)
    finally:
        one.close()
        two.close()


def _one_value_apart(subject: Subject) -> None:
    """One value near the start, in the middle or near the end, while the first graph is open."""
    weights = _weights(5, _LARGE)
    with closing(subject.open(product(weights))) as first:
        _answers(first, weights)
        for where in (1, weights.size // 2, weights.size - 2):
            changed = weights.copy()
            changed.flat[where] += 1
            with closing(subject.open(product(changed))) as session:
                _answers(session, changed)
            _answers(first, weights)


def _sessions_of_one_graph(subject: Subject) -> None:
    weights = _weights(4)
    one, two = subject.open(product(weights)), subject.open(product(weights))
    try:
        _answers(one, weights)
        one.close()
        _answers(two, weights)
    finally:
        one.close()
        two.close()


CHECKS: tuple[Check, ...] = (
    Check(
        "weights-in-turn",
        None,
        "Each of several like graphs, opened in turn, has its own weights.",
        _one_after_the_other,
    ),
    Check(
        "weights-at-once",
        None,
        "Two like graphs, open at once, have their own weights.",
        _at_the_same_time,
    ),
    Check(
        "weights-one-value",
        None,
        "Graphs of 64 KiB that differ in one value, anywhere, have their own weights.",
        _one_value_apart,
    ),
    Check(
        "sessions-independent",
        None,
        "Closing one session of a graph leaves another one working.",
        _sessions_of_one_graph,
    ),
)
"""Every rule about weights."""
