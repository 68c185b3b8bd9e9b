"""Flips that rise on an older instruction set, counted by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from scipy.stats import beta

from medsdk.parity.evidence import Claim, Scope
from medsdk.parity.isa_ladder import isa_ladder
from tests.sdk.parity.made_answers import LABELS, bound_of, pairs_of

T, N = "tumour", "none"
SCOPE = Scope(candidate="openvino limited to avx2 int8-cpu")


def ladder(
    rows: Sequence[tuple[str, str, str]], limit: float = 0.01, patients: Sequence[int] = ()
) -> Claim:
    """Rows of what the reference said, the variant natively, and the variant on less."""
    native, lower = (
        pairs_of([(N, row[0], row[side]) for row in rows], patients) for side in (1, 2)
    )
    return isa_ladder(limit, 0.95, LABELS, native, lower, SCOPE)


ROWS = (
    [(N, N, N)] * 290
    + [(N, T, T)] * 3  # flip on both
    + [(N, N, T)] * 5  # newly flip
    + [(N, T, N)] * 2  # flip natively alone
)


def test_the_rise_is_observed_and_what_flips_newly_is_bounded() -> None:
    claim = ladder(ROWS)
    assert (claim.n, claim.events) == (300, 5)
    assert claim.value == pytest.approx((8 - 5) / 300)
    assert bound_of(claim) == (None, pytest.approx(beta.ppf(0.95, 6, 295), abs=1e-9))
    assert (claim.verdict, claim.reason) == ("pass", "")
    worse = ladder([*ROWS[1:], (N, N, T)])
    assert worse.verdict == "fail"
    assert "limited to avx2 int8-cpu: flips rise by 1.33%" in worse.reason


def test_cases_of_one_patient_bound_less() -> None:
    claim = ladder([(N, N, N)] * 300, patients=[at // 10 for at in range(300)])
    assert (claim.n, claim.patients, claim.verdict) == (300, 30, "pass")
    assert bound_of(claim)[1] == pytest.approx(1 - 0.05 ** (1 / 30))


def test_only_cases_that_were_compared_on_both_count() -> None:
    rows = [(N, N, N)] * 10 + [("error", T, "error"), ("error", "error", N)]
    claim = ladder(rows)
    assert (claim.n, claim.events, claim.value) == (10, 0, 0.0)
    nothing = ladder([("error", "error", "error")] * 5)
    assert (nothing.n, nothing.value, nothing.verdict) == (0, None, "not-conclusive")
    assert "no case was compared" in nothing.reason


def test_other_cases_are_no_comparison() -> None:
    native = pairs_of([(N, N, N)] * 2)
    with pytest.raises(ValueError, match="same cases"):
        isa_ladder(0.01, 0.95, LABELS, native, native[::-1], SCOPE)
