"""Where things are drawn, against the data."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsdk.parity.evidence import BlandAltman, Bound, Claim, Histogram, Scope
from medsdk.reports.drawing import bland_altman, histogram, row_drawing, row_scale, tick
from medsdk.reports.scale import Scale, around
from medsdk.reports.wording import Wording

WORDS = Wording.of("en")
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def elements(svg: str, tag: str, kind: str) -> list[dict[str, float]]:
    """Numbers of the elements of one class."""
    return [
        {key: float(value) for key, value in item.attrib.items() if key != "class"}
        for item in ET.fromstring(svg).iter(tag)
        if item.get("class") == kind
    ]


def _histogram(edges: tuple[float, ...], counts: tuple[int, ...]) -> Histogram:
    return Histogram(
        measure="value-change-mean", scope=Scope(), unit="mm", edges=edges, counts=counts
    )


def test_bars_are_as_high_as_their_counts_and_as_wide_as_their_bins():
    edges = (-3.0, -1.0, 0.0, 1.0, 5.0)
    bars = elements(histogram(WORDS, _histogram(edges, (10, 40, 0, 20))), "rect", "bar")
    assert len(bars) == 3
    heights = [bar["height"] for bar in bars]
    assert [height / heights[1] for height in heights] == pytest.approx([0.25, 1, 0.5], abs=1e-3)
    bottoms = {round(bar["y"] + bar["height"], 2) for bar in bars}
    assert max(bottoms) - min(bottoms) <= 0.02
    per_unit = (bars[2]["x"] - bars[0]["x"]) / (1.0 - -3.0)
    assert bars[1]["x"] == pytest.approx(bars[0]["x"] + 2 * per_unit, abs=0.02)
    assert bars[2]["width"] == pytest.approx(4 * per_unit - 0.8, abs=0.02)


def test_a_single_case_among_many_can_be_seen():
    bars = elements(histogram(WORDS, _histogram((0.0, 1.0, 2.0), (1, 100000))), "rect", "bar")
    assert bars[0]["height"] == 1.5


def test_points_lie_where_their_pair_does():
    chart = BlandAltman(
        measure="value-change-mean",
        scope=Scope(),
        unit="mm",
        n=3,
        bias=0.5,
        low=-1.0,
        high=2.0,
        points=((10.0, -1.0), (20.0, 0.5), (40.0, 2.0)),
    )
    svg = bland_altman(WORDS, chart)
    dots = elements(svg, "circle", "dot")
    (bias,) = elements(svg, "line", "bias")
    low, high = elements(svg, "line", "agree")
    # The three pairs lie on the three lines.
    assert [dot["cy"] for dot in dots] == [low["y1"], bias["y1"], high["y1"]]
    assert low["y1"] > bias["y1"] > high["y1"]
    assert low["y1"] - bias["y1"] == pytest.approx(bias["y1"] - high["y1"], abs=0.02)
    assert dots[2]["cx"] - dots[1]["cx"] == pytest.approx(2 * (dots[1]["cx"] - dots[0]["cx"]), 1e-3)
    assert "3 pairs: mean difference 0.5 mm, limits of agreement −1 mm to 2 mm" in svg


def _claim(**changed: Any) -> Claim:
    facts: dict[str, Any] = {"measure": "sensitivity-change", "n": 100, "verdict": "advisory"}
    return Claim(**(facts | changed))


def test_an_interval_is_drawn_from_end_to_end_with_its_limit():
    claim = _claim(
        value=0.0,
        bound=Bound(low=-0.02, high=0.02, method="paired-bootstrap"),
        limit=-0.01,
    )
    scale = row_scale([claim])
    assert scale is not None
    svg = row_drawing(scale, claim)
    (estimate,) = elements(svg, "circle", "estimate")
    line, left, right = elements(svg, "line", "interval")
    (limit,) = elements(svg, "line", "limit")
    assert (line["x1"], line["x2"]) == (left["x1"], right["x1"])
    assert estimate["cx"] == pytest.approx((line["x1"] + line["x2"]) / 2, abs=0.02)
    assert limit["x1"] == pytest.approx((estimate["cx"] + line["x1"]) / 2, abs=0.02)
    assert elements(svg, "polygon", "arrow") == []
    assert len(elements(svg, "line", "zero")) == 2


@pytest.mark.parametrize(("ends", "arrows"), [((-0.02, None), 1), ((None, 0.02), 1)])
def test_an_open_end_has_an_arrow(ends, arrows):
    claim = _claim(value=0.0, bound=Bound(low=ends[0], high=ends[1], method="paired-bootstrap"))
    scale = row_scale([claim])
    assert scale is not None
    assert row_drawing(scale, claim).count('class="arrow"') == arrows


def test_a_rate_starts_at_zero_and_ends_at_one():
    none = _claim(measure="flips", value=0.0, bound=Bound(high=0.01, method="clopper-pearson"))
    scale = row_scale([none])
    assert scale is not None
    assert scale.low == 0
    assert 'class="arrow"' not in row_drawing(scale, none)
    every = _claim(measure="accuracy", value=1.0, bound=Bound(low=0.9, method="clopper-pearson"))
    scale = row_scale([every])
    assert scale is not None
    assert scale.high == 1


def test_rows_of_one_measure_share_their_axis():
    claims = [_claim(value=value, limit=-0.01) for value in (-0.05, 0.0)]
    scale = row_scale(claims)
    assert scale is not None
    (first,), (second,) = (
        elements(row_drawing(scale, claim), "circle", "estimate") for claim in claims
    )
    assert first["cx"] == round(scale(-0.05), 2)
    assert first["cx"] < second["cx"]


def test_a_lone_number_is_not_drawn():
    assert row_scale([_claim(measure="asymmetry", value=0.04)]) is None
    assert row_scale([_claim(measure="outputs", events=0, unit="count", limit=0)]) is None


@given(st.lists(FINITE, max_size=5))
def test_an_axis_holds_all_of_its_values(values):
    scale = around(values, 10.0, 200.0)
    assert scale.low < scale.high
    assert all(10 <= scale(value) <= 200 for value in values)
    ticks = scale.ticks(4)
    assert len(ticks) <= 12
    assert all(math.isfinite(value) for value in ticks)


def test_ticks_are_round():
    assert Scale(0.0, 1.05, 0.0, 100.0).ticks(6) == pytest.approx((0, 0.2, 0.4, 0.6, 0.8, 1.0))
    assert Scale(-0.033, 0.002, 0.0, 100.0).ticks(3) == pytest.approx((-0.02, 0.0))
    assert tick(0.02, "fraction", "flips") == "2%"
    assert tick(-0.02, "fraction", "recall-change") == "−2"
    assert tick(0.3, "fraction", "dice") == "0.3"
    assert tick(0.1 + 0.2, "mm", "surface-distance-mean") == "0.3"
