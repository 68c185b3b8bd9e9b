"""Intervals where the patient, not the case, is the unit.

Cases of one patient resemble each other; an interval that takes them for independent is too
narrow. Patients are resampled, each with all its cases (the cluster bootstrap: Field and Welsh,
Journal of the Royal Statistical Society B 69, 2007, after Efron, Annals of Statistics 7, 1979).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from medsdk.parity.statistics import binomial_lower_bound

Floats = npt.NDArray[np.float64]

RESAMPLES = 2000
"""Percentiles of 2.5 and 97.5 % then rest on fifty resamples each."""

SEED = 20
"""Of the generator, so that one set of results has one interval."""

FEWEST_PATIENTS = 10
"""With fewer, resamples are too much alike: a 95 % interval of 2, 3 and 5 patients holds 54, 74
and 85 times of 100."""

_WEIGHTS_AT_ONCE = 1 << 20


def patient_codes(patients: Sequence[str]) -> npt.NDArray[np.intp]:
    """Number the patients in the order in which they first occur.

    Args:
        patients: One name a case.

    Returns:
        One number a case, shape (cases,), from 0.
    """
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in patients], np.intp)


def per_patient(patients: npt.NDArray[np.intp], columns: Sequence[npt.ArrayLike]) -> Floats:
    """Sum columns of cases over each patient.

    Args:
        patients: Number of each case's patient, shape (cases,).
        columns: k columns of shape (cases,), numbers or truth values.

    Returns:
        Shape (patients, k).
    """
    count = int(patients.max(initial=-1)) + 1
    sums = [
        np.bincount(patients, np.asarray(column, np.float64), minlength=count) for column in columns
    ]
    return np.stack(sums, axis=1)


def resampled_sums(sums: Floats, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """Sums over patients that are drawn with replacement.

    A resample draws as many patients as there are. What is wanted is a ratio of sums, so a
    patient needs only its sums and how often it was drawn; the memory is bounded whatever the
    number of patients.

    Args:
        sums: What each patient contributes, shape (patients, k).
        resamples: How often to draw.
        seed: Of the generator. The draws are those of `integers(patients, size=(resamples,
            patients))` of numpy's default generator.

    Returns:
        Shape (resamples, k).
    """
    if not len(sums):
        return np.zeros((resamples, sums.shape[1]))
    return np.concatenate([times @ sums for times in times_drawn(len(sums), resamples, seed)])


def times_drawn(
    patients: int, resamples: int = RESAMPLES, seed: int = SEED
) -> Iterator[npt.NDArray[np.intp]]:
    """How often each patient is in each resample, some resamples at a time.

    Args:
        patients: How many there are, at least one; a resample draws as many.
        resamples: How often to draw.
        seed: Of the generator.

    Yields:
        Shape (some resamples, patients); all together `resamples` rows.
    """
    generator = np.random.default_rng(seed)
    rows = max(1, _WEIGHTS_AT_ONCE // patients)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        picks = generator.integers(0, patients, size=(count, patients))
        picks += np.arange(count)[:, None] * patients
        times = np.bincount(picks.ravel(), minlength=count * patients)
        yield times.reshape(count, patients)


def percentile_interval(values: Floats, confidence: float) -> tuple[float, float] | None:
    """Efron's percentile interval, half of the error on each side.

    Args:
        values: The statistic of each resample, shape (resamples,); NaN where a resample has no
            denominator (it drew no patient of a label), which is left out.
        confidence: Of the two-sided interval.

    Returns:
        Both ends; None where no resample has a value.
    """
    kept = values[~np.isnan(values)]
    if not kept.size:
        return None
    low, high = np.quantile(kept, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def effective_cases(cases_per_patient: npt.ArrayLike) -> float:
    """How many independent cases some cases are worth at the least.

    Kish's effective sample size (Survey Sampling, 1965), with all cases of a patient taken for
    copies of one, which needs no estimate of how alike they are. It takes what is counted to go
    with no number of cases: where patients with many cases go wrong more often, they are worth
    less (`cases_of_the_largest`).

    Args:
        cases_per_patient: How many of the cases each patient has.

    Returns:
        (sum of m)^2 / (sum of m^2): the number of patients where each has as many cases, the
        number of cases where each patient has one; 0 without cases.
    """
    counts = np.asarray(cases_per_patient, np.float64)
    squares = float((counts**2).sum())
    return float(counts.sum()) ** 2 / squares if squares else 0.0


def cases_of_the_largest(cases_per_patient: npt.ArrayLike) -> float:
    """How many independent cases some are worth, each patient weighing as much as the largest.

    A patient's share of what is counted is then at most one of so many, also where it is those
    with many cases that go wrong. Never more than `effective_cases`.

    Args:
        cases_per_patient: How many of the cases each patient has.

    Returns:
        (sum of m) / (largest m): the number of patients where each has as many cases, the number
        of cases where each patient has one; 0 without cases.
    """
    counts = np.asarray(cases_per_patient, np.float64)
    largest = float(counts.max(initial=0.0))
    return float(counts.sum()) / largest if largest else 0.0


def fewer(independent: float, cases: int) -> float | None:
    """How many independent cases there are, where that is not their number (`Bound.effective_n`).

    Args:
        independent: Of `effective_cases` or `cases_of_the_largest`.
        cases: How many there are.
    """
    return None if independent == cases else independent


def quantile_upper_bound(
    values: npt.ArrayLike, share: float, confidence: float, effective: float | None = None
) -> float | None:
    """One-sided upper bound of a quantile, whatever the distribution.

    The smallest value below or at which so many cases lie that the Clopper-Pearson lower bound of
    their share reaches `share` (Woodruff, Journal of the American Statistical Association 47,
    1952, with the exact interval). Where each patient has one case it is an order statistic.

    Args:
        values: One a case, shape (cases,).
        share: Which quantile, for instance 0.95.
        confidence: Of the one-sided bound.
        effective: How many independent cases they are worth; None where all are independent.

    Returns:
        The bound, in the unit of the values; None where there are too few cases for any (59
        decide a 95th percentile at a confidence of 0.95).
    """
    ordered = np.sort(np.asarray(values, np.float64))
    cases = len(ordered)
    worth = float(cases) if effective is None else effective

    def reaches(count: int) -> bool:
        return cases > 0 and binomial_lower_bound(count * worth / cases, worth, confidence) >= share

    if not reaches(cases):
        return None
    low, high = 0, cases
    while high - low > 1:
        middle = (low + high) // 2
        if reaches(middle):
            high = middle
        else:
            low = middle
    return float(ordered[high - 1])


def quantile_cases_needed(share: float, confidence: float) -> int:
    """How many independent cases bound a quantile at all.

    Args:
        share: Which quantile, for instance 0.95.
        confidence: Of the one-sided bound.

    Returns:
        The smallest n with share ** n <= 1 - confidence.
    """
    return math.ceil(math.log(1 - confidence) / math.log(share))


def widened(
    interval: tuple[float, float] | None, estimate: float, room: float
) -> tuple[float, float]:
    """An interval that claims no more than its number of cases allows.

    Where nothing happened in any case, every resample agrees and a bootstrap's interval has no
    width, however few the cases.

    Args:
        interval: Of the bootstrap; None where no resample had a value.
        estimate: What it is of.
        room: What no event in so many cases leaves open, each case moving the estimate by one
            over their number: `binomial_upper_bound(0, n, ...)`.

    Returns:
        The interval, at least `room` wide on each side of the estimate.
    """
    low, high = interval or (estimate, estimate)
    return min(low, estimate - room), max(high, estimate + room)
