"""What a report says, in English and Japanese: texts are data, `wordings/*.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from medsdk.parity.evidence import Bound, Claim, Level, Measure, Method
from medsdk.reports.quantities import PLAIN, POINTS, Rounding, fixed, significant, whole

Language = Literal["en", "ja"]

LANGUAGES: tuple[Language, ...] = get_args(Language)


class Wording:
    """The texts of one language."""

    def __init__(self, language: Language, texts: Mapping[str, Mapping[str, str]]) -> None:
        self.language: Language = language
        self._texts = texts

    @staticmethod
    @cache
    def of(language: Language) -> Wording:
        """The texts of one language.

        Args:
            language: Which.
        """
        data = (files("medsdk.reports") / "wordings" / f"{language}.toml").read_bytes()
        return Wording(language, tomllib.loads(data.decode()))

    def text(self, section: str, key: str, **values: str) -> str:
        """One text, with what it speaks of put in.

        Args:
            section: A table of the file.
            key: A key of that table.
            values: For the places in braces.
        """
        return self._texts[section][key].format_map(values)

    def measure(self, measure: Measure) -> str:
        """Name of a measure."""
        return self.text("measures", measure)

    def method(self, method: Method) -> str:
        """Name of a method."""
        return self.text("methods", method)

    def counted(self, n: int, level: Level) -> str:
        """How many of what: `1 slice`, `300 slices`."""
        return self.text("levels-one" if n == 1 else "levels", level, n=whole(n))

    def patients(self, n: int) -> str:
        """How many patients."""
        return self.counted(n, "patient")

    def reasons(self, n: int) -> str:
        """How many reasons."""
        return self.text("sentences", "reasons-one" if n == 1 else "reasons", count=whole(n))

    def quantity(self, value: float, unit: str, measure: Measure) -> str:
        """A number with its unit.

        Args:
            value: In `unit`.
            unit: As a claim has it.
            measure: Says how a `fraction` is shown: percent, points or plain.
        """
        return self._with_unit(self._number(value, unit, measure, "nearest"), unit, measure)

    def _number(self, value: float, unit: str, measure: Measure, rounding: Rounding) -> str:
        if unit == "fraction" and self.kind_of(measure) != "plain":
            return fixed(value, 2, rounding, 100)
        return significant(value, 4, rounding)

    def _with_unit(self, number: str, unit: str, measure: Measure) -> str:
        if unit == "fraction" and self.kind_of(measure) != "plain":
            return self.text("units", self.kind_of(measure), value=number)
        name = self.unit_of(unit, measure)
        return self.text("units", "other", value=number, unit=name) if name else number

    @staticmethod
    def kind_of(measure: Measure) -> Literal["percent", "points", "plain"]:
        """How a `fraction` of a measure is shown."""
        if measure in PLAIN:
            return "plain"
        return "points" if measure in POINTS else "percent"

    def unit_of(self, unit: str, measure: Measure) -> str:
        """Name of a unit beside an axis or a number; empty where the number stands alone."""
        if unit == "fraction":
            kind = self.kind_of(measure)
            return "" if kind == "plain" else self.text("unit-names", kind)
        names = self._texts["unit-names"]
        return "" if unit == "count" else names.get(unit, unit)

    def bound(self, bound: Bound, unit: str, measure: Measure) -> str:
        """What a bound allows to say: `under 1.00 %`.

        Args:
            bound: With one end or two.
            unit: The claim's.
            measure: The claim's.
        """
        # What was seen is no bound, and reads as the number beside it does.
        seen = "seen-" if bound.method == "extremes" else ""
        down: Rounding = "nearest" if seen else "down"
        up: Rounding = "nearest" if seen else "up"
        low = "" if bound.low is None else self._number(bound.low, unit, measure, down)
        high = "" if bound.high is None else self._number(bound.high, unit, measure, up)
        if low and high:
            both = self.text("sentences", "between", low=low, high=high)
            both = self._with_unit(both, unit, measure)
            return self.text("sentences", "seen-between", range=both) if seen else both
        low = low and self._with_unit(low, unit, measure)
        high = high and self._with_unit(high, unit, measure)
        if high:
            return self.text("sentences", f"{seen}under", high=high)
        return self.text("sentences", f"{seen}over", low=low) if low else ""

    def certainty(self, bound: Bound) -> str:
        """How a bound was found, in words; empty where it is but what was seen."""
        if bound.method in ("extremes", "none"):
            return ""
        kind = "interval"
        if bound.low is None or bound.high is None:
            kind = "upper" if bound.low is None else "lower"
        method = self.method(bound.method)
        if bound.effective_n is not None:
            independent = significant(bound.effective_n, 6)
            method = self.text("sentences", "effective", method=method, n=independent)
        confidence = significant(bound.confidence * 100, 6)
        return self.text("sentences", kind, confidence=confidence, method=method)

    def finding(self, claim: Claim) -> str:
        """What was found, with its n: `0 in 300 slices`, `93.42 % of 152 slices`."""
        units = self.counted(claim.n, claim.scope.level)
        if claim.events is not None:
            events = whole(claim.events)
            # Beside an extreme, events are those over the limit and the value is no rate of them.
            extreme = claim.bound is not None and claim.bound.method == "extremes"
            rated = claim.unit == "fraction" and not extreme
            if not claim.events or claim.value is None or not rated:
                return self.text("sentences", "count", events=events, units=units)
            rate = self.quantity(claim.value, claim.unit, claim.measure)
            return self.text("sentences", "count-rate", events=events, units=units, rate=rate)
        if claim.value is None:
            return self.text("sentences", "no-value", units=units)
        if claim.unit == "count" and claim.value == claim.n:
            return units
        value = self.quantity(claim.value, claim.unit, claim.measure)
        return self.text("sentences", "estimate", value=value, units=units)

    def statement(self, claim: Claim) -> str:
        """A claim in one sentence: finding, n, bound, limit, and why."""
        parts = [self.finding(claim)]
        if claim.bound is not None:
            parts.append(self.certain(claim.bound, claim.unit, claim.measure))
        if claim.limit is not None:
            limit = self.quantity(claim.limit, claim.unit, claim.measure)
            parts.append(self.text("sentences", "limit", limit=limit))
        facts = self.text("sentences", "join").join(filter(None, parts))
        said = self.text("sentences", "claim", measure=self.measure(claim.measure), said=facts)
        if not claim.reason:
            return said
        return self.text("sentences", "reason", said=said, reason=claim.reason)

    def certain(self, bound: Bound, unit: str, measure: Measure) -> str:
        """A bound and how it was found; empty where it has no end."""
        said = self.bound(bound, unit, measure)
        certainty = self.certainty(bound)
        if not said or not certainty:
            return said
        return self.text("sentences", "certain", bound=said, certainty=certainty)
