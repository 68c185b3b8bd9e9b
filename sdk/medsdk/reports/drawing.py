"""What is drawn in a page, as inline SVG that takes its colours from the page's style.

Every drawing stands beside its numbers, so none is needed to read the report.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from medsdk.parity.evidence import BlandAltman, Claim, Histogram, Measure
from medsdk.reports.markup import Markup, joined, tag
from medsdk.reports.quantities import POINTS, significant
from medsdk.reports.scale import Scale, around
from medsdk.reports.wording import Wording

ROW_WIDTH, ROW_HEIGHT = 216, 26
_ROW_MARGIN = 16

WIDTH, HEIGHT = 400, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 14, 14, 46
THINNEST = 1.5
"""A bin that holds anything is drawn at least so high."""


def is_change(measure: Measure) -> bool:
    """Whether a measure has a sign: the candidate's minus the reference's."""
    return measure in POINTS or measure.endswith("-change") or "-change-" in measure


def row_scale(claims: Sequence[Claim]) -> Scale | None:
    """The one axis of several claims of one measure; None where a lone number is all there is.

    Args:
        claims: Of one measure and unit.
    """
    found: list[float] = []
    shares = signed = False
    compared = len({claim.value for claim in claims} - {None}) > 1
    for claim in claims:
        ends = (claim.bound.low, claim.bound.high) if claim.bound is not None else ()
        compared = compared or claim.limit is not None or any(end is not None for end in ends)
        here = [value for value in (claim.value, *ends) if value is not None]
        if here and claim.limit is not None:
            here.append(claim.limit)
        found += here
        signed = signed or is_change(claim.measure)
        shares = shares or (claim.unit == "fraction" and claim.measure != "metric-ratio")
    low, high = min(found, default=0.0), max(found, default=0.0)
    if not compared or not found:
        return None
    if signed or (0 < low < high / 2):
        found.append(0.0)
    floor = -math.inf if signed or low < 0 else 0.0
    ceiling = 1.0 if shares and not signed and high <= 1 else math.inf
    return around(found, _ROW_MARGIN, ROW_WIDTH - _ROW_MARGIN, floor=floor, ceiling=ceiling)


def row_axis(scale: Scale, claim: Claim) -> Markup:
    """The numbers above the rows of one measure.

    Args:
        scale: Of `row_scale`.
        claim: Any of the claims: its measure and unit say how a number is written.
    """
    labels = (
        tag("text", tick(value, claim.unit, claim.measure), x=_at(scale(value)), y=13.0)
        for value in scale.ticks(4)
    )
    return tag(
        "svg",
        *labels,
        class_="row axis",
        viewBox=f"0 0 {ROW_WIDTH} 18",
        width=ROW_WIDTH,
        height=18,
        aria_hidden="true",
    )


def row_drawing(scale: Scale, claim: Claim) -> Markup:
    """One claim on its axis: estimate, interval, limit.

    Args:
        scale: Of `row_scale`.
        claim: The claim; its numbers stand beside the drawing.
    """
    middle = ROW_HEIGHT / 2
    parts = [
        _line("grid", scale(value), 0.0, scale(value), float(ROW_HEIGHT))
        for value in scale.ticks(4)
    ]
    if is_change(claim.measure) and scale.low < 0 < scale.high:
        zero = scale(0)
        parts += [_line("zero", zero + d, 0.0, zero + d, float(ROW_HEIGHT)) for d in (-1.0, 1.0)]
    if claim.limit is not None:
        parts.append(_line("limit", scale(claim.limit), 0.0, scale(claim.limit), ROW_HEIGHT))
    if claim.bound is not None and (claim.bound.low, claim.bound.high) != (None, None):
        parts += _interval(scale, claim.bound.low, claim.bound.high, middle)
    if claim.value is not None:
        parts.append(tag("circle", class_="estimate", cx=_at(scale(claim.value)), cy=middle, r=4.0))
    return tag(
        "svg",
        *parts,
        class_="row",
        viewBox=f"0 0 {ROW_WIDTH} {ROW_HEIGHT}",
        width=ROW_WIDTH,
        height=ROW_HEIGHT,
        aria_hidden="true",
    )


def _interval(
    scale: Scale, low: float | None, high: float | None, middle: float
) -> Iterable[Markup]:
    left = scale.start if low is None else scale(low)
    right = scale.end if high is None else scale(high)
    yield _line("interval", left, middle, right, middle)
    for end, at, inwards in ((low, left, 5.0), (high, right, -5.0)):
        if end is not None:
            yield _line("interval", at, middle - 5, at, middle + 5)
        elif at != scale.start or scale.low != 0.0:  # nothing lies below a rate of 0
            points = f"{_at(at)},{_at(middle)} "
            points += " ".join(f"{_at(at + inwards)},{_at(middle + d)}" for d in (-4, 4))
            yield tag("polygon", class_="arrow", points=points)


def histogram(words: Wording, chart: Histogram) -> Markup:
    """The bars of a histogram, with counts upwards.

    Args:
        words: Of the page's language.
        chart: What was counted.
    """
    across = Scale(chart.edges[0], chart.edges[-1], _LEFT, WIDTH - _RIGHT)
    if not across.low < across.high:
        across = around(chart.edges, _LEFT, WIDTH - _RIGHT)
    up = Scale(0.0, max(1, *chart.counts) * 1.05, HEIGHT - _BOTTOM, _TOP)
    bars = []
    for count, low, high in zip(chart.counts, chart.edges[:-1], chart.edges[1:], strict=True):
        if not count:
            continue
        height = max(up(0) - up(count), THINNEST)
        # A hair's breadth between neighbours.
        width = max(across(high) - across(low) - 0.8, 0.8)
        bars.append(
            tag(
                "rect",
                class_="bar",
                x=_at(across(low)),
                y=_at(up(0) - height),
                width=_at(width),
                height=_at(height),
            )
        )
    zero = []
    if across.low < 0 < across.high:
        zero = [_line("reference", across(0), _TOP, across(0), HEIGHT - _BOTTOM)]
    frame = _frame(
        across,
        up,
        [(value, tick(value, chart.unit, chart.measure)) for value in across.ticks(5)],
        [(value, significant(value)) for value in up.ticks(5) if value == round(value)],
        _axis_title(words, "histogram-axis", chart.unit, chart.measure),
        words.text("columns", "count"),
    )
    return _figure(words.measure(chart.measure), summary(words, chart), *frame, *zero, *bars)


def bland_altman(words: Wording, chart: BlandAltman) -> Markup:
    """Differences over means, with the bias and the limits of agreement.

    Args:
        words: Of the page's language.
        chart: What was paired.
    """
    means = [mean for mean, _ in chart.points]
    differences = [difference for _, difference in chart.points]
    across = around(means, _LEFT, WIDTH - _RIGHT)
    up = around((*differences, chart.bias, chart.low, chart.high), HEIGHT - _BOTTOM, _TOP)
    lines = [
        _line(kind, _LEFT, up(value), WIDTH - _RIGHT, up(value))
        for kind, value in (("bias", chart.bias), ("agree", chart.low), ("agree", chart.high))
    ]
    dots = [
        tag("circle", class_="dot", cx=_at(across(mean)), cy=_at(up(difference)), r=2.5)
        for mean, difference in chart.points
    ]
    frame = _frame(
        across,
        up,
        [(value, tick(value, chart.unit, chart.measure)) for value in across.ticks(5)],
        [(value, tick(value, chart.unit, chart.measure)) for value in up.ticks(5)],
        _axis_title(words, "bland-altman-x", chart.unit, chart.measure),
        _axis_title(words, "bland-altman-y", chart.unit, chart.measure),
    )
    title = words.text("notes", "bland-altman-title", measure=words.measure(chart.measure))
    return _figure(title, summary(words, chart), *frame, *dots, *lines)


def summary(words: Wording, chart: Histogram | BlandAltman) -> str:
    """What a drawing shows, in a sentence with its n."""

    def shown(value: float) -> str:
        return words.quantity(value, chart.unit, chart.measure)

    if isinstance(chart, Histogram):
        return words.text(
            "notes",
            "histogram",
            units=words.counted(sum(chart.counts), chart.scope.level),
            bins=str(len(chart.counts)),
            low=shown(chart.edges[0]),
            high=shown(chart.edges[-1]),
            most=str(max(chart.counts)),
        )
    said = words.text(
        "notes",
        "bland-altman",
        n=str(chart.n),
        bias=shown(chart.bias),
        low=shown(chart.low),
        high=shown(chart.high),
    )
    if len(chart.points) == chart.n:
        return said
    return f"{said} {words.text('notes', 'bland-altman-shown', shown=str(len(chart.points)))}"


def tick(value: float, unit: str, measure: Measure) -> str:
    """A number beside an axis: short, in the unit that the axis or the row names."""
    kind = "" if unit != "fraction" else Wording.kind_of(measure)
    number = significant(value * 100 if kind in ("percent", "points") else value)
    return f"{number}%" if kind == "percent" else number


def _axis_title(words: Wording, key: str, unit: str, measure: Measure) -> str:
    named = words.measure(measure)
    unit = words.unit_of(unit, measure)
    if not unit:
        return words.text("notes", f"{key}-plain", measure=named)
    return words.text("notes", key, measure=named, unit=unit)


def _frame(
    across: Scale,
    up: Scale,
    across_ticks: Sequence[tuple[float, str]],
    up_ticks: Sequence[tuple[float, str]],
    across_title: str,
    up_title: str,
) -> list[Markup]:
    bottom = HEIGHT - _BOTTOM
    parts = []
    for value, label in up_ticks:
        parts.append(_line("grid", _LEFT, up(value), WIDTH - _RIGHT, up(value)))
        parts.append(tag("text", label, class_="end", x=_LEFT - 6.0, y=_at(up(value) + 4)))
    for value, label in across_ticks:
        parts.append(_line("axis", across(value), bottom, across(value), bottom + 4.0))
        parts.append(tag("text", label, x=_at(across(value)), y=bottom + 17.0))
    parts.append(_line("axis", _LEFT, bottom, WIDTH - _RIGHT, bottom))
    parts.append(tag("text", across_title, class_="title", x=(_LEFT + WIDTH) / 2, y=HEIGHT - 8.0))
    parts.append(
        tag(
            "text",
            up_title,
            class_="title",
            transform=f"translate(12 {(_TOP + bottom) / 2:g}) rotate(-90)",
        )
    )
    return parts


def _figure(title: str, description: str, *parts: Markup) -> Markup:
    return tag(
        "svg",
        tag("title", title),
        tag("desc", description),
        joined(*parts),
        class_="chart",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
    )


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return tag("line", class_=kind, x1=_at(x1), y1=_at(y1), x2=_at(x2), y2=_at(y2))


def _at(value: float) -> str:
    """A position, to a hundredth of a pixel."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
