"""A claim in words, for a terminal or a log; `medsdk.reports` has the same words for its page."""

from __future__ import annotations

from medsdk.parity.evidence import Claim


def says(claim: Claim) -> str:
    """A claim in one English sentence that states its n and its bound.

    An upper bound is rounded up and a lower one down, so that no more is said than was proved.

    Args:
        claim: Any.

    Returns:
        For instance `Changed decisions (flips): 0 in 300 slices; under 1.00 % (one-sided 95 %
        upper bound, Clopper-Pearson); limit 2.00 %`.
    """
    from medsdk.reports.wording import Wording

    return Wording.of("en").statement(claim)
