"""Evidence: claims with their n and their bound, what is drawn of them, and the worst cases.

Every comparison of `medsdk.parity` gives one `Evidence`; `medsdk.reports` makes JSON, a page and
JUnit XML of it and knows nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from medsdk.bundle.manifest import Verdict
from medsdk.tasks.strict import Strict

Measure = Literal[
    # every kind
    "cases",
    "outputs",
    "output-difference",
    "float-difference",
    "known-answers",
    "stored-value",
    "flips",
    "flips-outside-margin",
    "flips-to-positive",
    "flips-to-negative",
    "patients-with-flips",
    "isa-ladder",
    "asymmetry",
    "no-result",
    # classification
    "positive-agreement",
    "negative-agreement",
    "accuracy",
    "probability-off-truth",
    "sensitivity",
    "specificity",
    "mean-of-sensitivity-and-specificity",
    "metric-ratio",
    "accuracy-change",
    "sensitivity-change",
    "specificity-change",
    "mean-of-sensitivity-and-specificity-change",
    "sensitivity-non-inferiority",
    "specificity-non-inferiority",
    "probability-change-mean",
    "probability-change-95th-percentile",
    # detection
    "recall",
    "precision",
    "recall-change",
    "precision-change",
    "mean-average-precision",
    "mean-average-precision-change",
    "mean-average-precision-50",
    "mean-average-precision-50-change",
    "boxes-matched",
    "boxes-lost",
    "boxes-extra",
    "first-detection-delay",
    "lesions-lost",
    "lesions-gained",
    # segmentation
    "dice",
    "dice-change-mean",
    "dice-change-5th-percentile",
    "dice-to-reference-median",
    "surface-distance-mean",
    "surface-distance-95th-percentile",
    "surface-distance-undefined",
    "emptied-masks",
    "filled-masks",
    # regression
    "value-bias",
    "value-change-mean",
    "value-change-95th-percentile",
    # heat maps
    "heat-map-correlation",
    "heat-map-peak-distance",
    "heat-map-variation",
    "heat-map-undefined",
    # cascades
    "routing-changes",
    "passed-on-by-variant-only",
    "passed-on-by-reference-only",
    "entered-on-one-side",
    "members-on-one-side",
    "flips-after-routing",
]
"""What a claim speaks of: a closed set, so that a report can word each in every language."""

MEASURES: tuple[str, ...] = get_args(Measure)

Level = Literal["output", "slice", "box", "lesion", "frame", "clip", "study", "patient"]
"""What is counted."""

Method = Literal[
    "clopper-pearson",
    "paired-bootstrap",
    "paired-bootstrap-widened",
    "bootstrap",
    "bootstrap-widened",
    "mcnemar-exact",
    "order-statistic",
    "extremes",
    "none",
]
"""How a bound was found. `...-widened`: the interval is what no event in so many independent cases
leaves open, because the resamples agreed on less (`medsdk.parity.bootstrap.widened`).
`order-statistic`: of a percentile, by the values in order, whatever their distribution;
`extremes`: the largest or smallest that was seen; `none`: no bound."""


class Bound(Strict):
    """The interval of a claim; one-sided where `low` or `high` is None.

    Attributes:
        low: Lower end, in the claim's unit.
        high: Upper end, in the claim's unit.
        confidence: Of the interval, one-sided or two-sided as it is.
        method: How it was found.
        effective_n: How many independent units the method was given, where cases share patients;
            None where they are the claim's n, or where no such number entered.
    """

    low: float | None = None
    high: float | None = None
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    method: Method
    effective_n: NonNegativeFloat | None = None


class Scope(Strict):
    """What part of the evidence a claim speaks of; an empty text is "all of it".

    Attributes:
        candidate: Title of a candidate, as in `Report.candidates`.
        level: What is counted.
        stratum: Column of the cases, for instance `site`.
        value: Value of that column.
        label: A label against the rest.
        role: One network of the task.
        output: One output of it.
    """

    candidate: str = ""
    level: Level = "slice"
    stratum: str = ""
    value: str = ""
    label: str = ""
    role: str = ""
    output: str = ""


class Claim(Strict):
    """One statement: what was counted, of how many, and what that proves.

    Attributes:
        measure: What it speaks of.
        scope: Of which part.
        n: Number of units (`scope.level`).
        patients: Number of patients behind them; None where nobody said.
        events: How often it happened, for counts.
        value: The estimate, in `unit`; None where it has no denominator.
        unit: `fraction`, `count`, `frame`, `mm`, the unit of a regression, of an output, ...
        bound: What n allows to say; None where the claim is no estimate.
        limit: The gate's limit, in `unit`; None where no gate applies.
        needed: n from which on the gate can be decided; None where no gate applies.
        verdict: Against the gate. `advisory`: reported and decides nothing.
        reason: In English: why not `pass`, or why there is no bound; empty where neither is.
    """

    measure: Measure
    scope: Scope = Scope()
    n: NonNegativeInt
    patients: NonNegativeInt | None = None
    events: NonNegativeInt | None = None
    value: float | None = None
    unit: str = "fraction"
    bound: Bound | None = None
    limit: float | None = None
    needed: PositiveInt | None = None
    verdict: Verdict
    reason: str = ""

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        if self.verdict in ("fail", "not-conclusive") and not self.reason:
            raise ValueError(f"a claim about {self.measure} is {self.verdict} without a reason")
        return self


class Histogram(Strict):
    """Counts of a difference: `counts[i]` values in `edges[i] <= x < edges[i + 1]`.

    The last bin is closed.
    """

    kind: Literal["histogram"] = "histogram"
    measure: Measure
    scope: Scope
    unit: str
    edges: Annotated[tuple[float, ...], Field(min_length=2)]
    counts: tuple[NonNegativeInt, ...]

    @model_validator(mode="after")
    def _binned(self) -> Self:
        if len(self.counts) + 1 != len(self.edges):
            raise ValueError(f"{len(self.counts)} counts for {len(self.edges)} edges")
        return self


class BlandAltman(Strict):
    """Differences over means of paired values (Bland and Altman, Lancet 327, 1986).

    Attributes:
        n: Number of pairs.
        bias: Mean of variant minus reference.
        low: Lower limit of agreement, bias - 1.96 standard deviations.
        high: Upper limit of agreement.
        points: Mean and difference of each pair, at most `SHOWN_POINTS`, evenly picked by rank
            of the difference, the extremes always among them.
    """

    kind: Literal["bland-altman"] = "bland-altman"
    measure: Measure
    scope: Scope
    unit: str
    n: NonNegativeInt
    bias: float
    low: float
    high: float
    points: tuple[tuple[float, float], ...]


SHOWN_POINTS = 1000
"""Most points of a Bland-Altman plot."""


class AgreementTable(Strict):
    """How often the reference said the row and the variant the column.

    `labels` may end in `indeterminate` for cases without an answer.
    """

    kind: Literal["agreement"] = "agreement"
    scope: Scope
    rows: Literal["reference", "truth"]
    labels: tuple[str, ...]
    counts: tuple[tuple[NonNegativeInt, ...], ...]


Chart = Annotated[Histogram | BlandAltman | AgreementTable, Field(discriminator="kind")]


class WorstCase(Strict):
    """A case by its name, and how far it is off.

    Attributes:
        scope: Of which candidate, at which level.
        case: The case's id (`medsdk.evaluation`), never a path.
        number: Its row in the table of cases, 1-based; None where there is none.
        measure: What it is bad at.
        size: How far off, in `unit`, the worst first.
        unit: As in a claim.
        truth: What it is; None where nobody knows.
        reference: What the reference said.
        variant: What the candidate said.
    """

    scope: Scope
    case: str
    number: PositiveInt | None = None
    measure: Measure
    size: NonNegativeFloat
    unit: str = "fraction"
    truth: str | None = None
    reference: str = ""
    variant: str = ""


class Evidence(Strict):
    """What one comparison, or several, showed."""

    claims: tuple[Claim, ...] = ()
    charts: tuple[Chart, ...] = ()
    worst: tuple[WorstCase, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Of all claims together."""
        return combined(claim.verdict for claim in self.claims)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why not `pass`, failures first, each once; several candidates that share it are named."""
        told: dict[str, dict[str, None]] = {}
        for verdict in ("fail", "not-conclusive", "not-run"):
            for claim in self.claims:
                if claim.verdict == verdict and claim.reason:
                    told.setdefault(claim.reason, {})[claim.scope.candidate] = None
        return tuple(
            f"{', '.join(filter(None, whose))}: {reason}" if len(whose) > 1 else reason
            for reason, whose in told.items()
        )

    def as_advice(self) -> Evidence:
        """The same, deciding nothing; its reasons stay."""
        claims = (claim.model_copy(update={"verdict": "advisory"}) for claim in self.claims)
        return self.model_copy(update={"claims": tuple(claims)})

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(
            claims=self.claims + other.claims,
            charts=self.charts + other.charts,
            worst=self.worst + other.worst,
        )


def combined(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict of several: the worst, and `pass` only where one passed.

    Args:
        verdicts: In any order; `advisory` ones decide nothing.

    Returns:
        `fail`, else `not-conclusive`, else `not-run`, else `pass`, else `advisory`; `not-run`
        where there are none.
    """
    found = set(verdicts)
    order: tuple[Verdict, ...] = ("fail", "not-conclusive", "not-run", "pass", "advisory")
    return next((verdict for verdict in order if verdict in found), "not-run")
