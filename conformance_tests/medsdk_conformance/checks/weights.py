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

_GIVEN = np.arange(1, 9, dtype=np.float32)[None]


def _weights(seed: int) -> NDArray[np.float32]:
    """Small integers, so that every sum is exact."""
    return np.random.default_rng(seed).integers(-8, 9, (8, 6)).astype(np.float32)


def _answers(session: Session, weights: NDArray[np.float32]) -> None:
    equal(session.run({"x": _GIVEN})["y"], _GIVEN @ weights)


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
        "sessions-independent",
        None,
        "Closing one session of a graph leaves another one working.",
        _sessions_of_one_graph,
    ),
)
"""Every rule about weights."""
