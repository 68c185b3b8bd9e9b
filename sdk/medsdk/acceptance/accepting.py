"""Storing a site's values, and holding later ones against them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from medsdk._refusals import shown
from medsdk._version import __version__
from medsdk.acceptance.errors import PhantomRefusedError
from medsdk.acceptance.phantoms import Asked, PhantomImage, Progress, ask_of_phantom
from medsdk.acceptance.values import StoredImage, StoredValues
from medsdk.bundle.reading import Bundle
from medsdk.canonical import timestamp
from medsdk.changes.comparing import changes_between, check_same_question, header_side
from medsdk.evaluation.answers import Answer, AnswersHeader
from medsdk.evaluation.cases import CaseSet
from medsdk.parity.evidence import Bound, Claim, Evidence, Scope, WorstCase
from medsdk.parity.statistics import binomial_upper_bound
from medsdk.plan.candidate import Candidate
from medsdk.reports.report import Change, Report, ReportCandidate

_NAMED = 5
_WORST = 10
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class _Gap:
    """How far one image is from what was stored of it.

    Attributes:
        stored: What was stored.
        now: What is said now.
        output: The `role.output` that is furthest off; empty for a probability.
        size: How far.
    """

    stored: StoredImage
    now: StoredImage
    output: str
    size: float


def store(
    bundle: Bundle,
    candidate: Candidate,
    images: tuple[PhantomImage, ...],
    max_probability_change: float | None,
    progress: Progress,
) -> tuple[StoredValues, Report, CaseSet]:
    """Ask a candidate of a phantom and keep what it says.

    Args:
        bundle: The opened bundle.
        candidate: Of it.
        images: The phantom's.
        max_probability_change: How far a probability may move in a new acquisition; None where
            that is not declared.
        progress: Told what is being done.

    Returns:
        The values to write, the report of it, and the images for whoever draws one.

    Raises:
        PhantomRefusedError: An image gives an error, or none an answer.
        KnownAnswerFailedError: This machine does not reproduce the bundle.
        MedsdkError: As `ask_of_phantom`.
    """
    asked = ask_of_phantom(bundle, candidate, images, progress)
    failed = [answer for answer in asked.answers if answer.status == "error"]
    if failed:
        raise PhantomRefusedError(
            f"image {failed[0].number} cannot be used: {failed[0].reason}",
            got=f"{len(failed)} of {len(asked.answers)} images with an error",
            expected="images that the task takes",
            remedy="take them out of the folder, or correct them",
        )
    if not any(answer.probabilities for answer in asked.answers):
        raise PhantomRefusedError(
            "no image of the phantom has an answer",
            got=shown(asked.answers[0].reason),
            expected="at least one image that the network can be asked of",
        )
    values = StoredValues.signed(
        header=asked.header,
        tolerance=asked.tolerance,
        max_probability_change=max_probability_change,
        images=tuple(map(StoredImage.of, asked.answers)),
        created=timestamp(),
    )
    evidence = Evidence(claims=(_known_answers(asked), _count(len(asked.answers), [])))
    return values, _report(bundle, asked, values, evidence, ()), asked.cases


def check(
    bundle: Bundle,
    candidate: Candidate,
    images: tuple[PhantomImage, ...],
    values: StoredValues,
    progress: Progress,
    *,
    new_acquisition: bool = False,
) -> tuple[Report, CaseSet]:
    """Ask a candidate of a phantom again and hold what it says against what was stored.

    Args:
        bundle: The opened bundle, the same or another version of it.
        candidate: Of it.
        images: The phantom's.
        values: What was stored.
        progress: Told what is being done.
        new_acquisition: Whether the images are new ones of the same phantom: compared by their
            place in the folder, within the limit that was declared when the values were stored.

    Returns:
        The report, with what changed since, and the images for whoever draws one.

    Raises:
        NotComparableError: The values are of another task.
        PhantomRefusedError: A new acquisition, and no limit was declared for one.
        KnownAnswerFailedError: This machine does not reproduce the bundle.
        MedsdkError: As `ask_of_phantom`.
    """
    if new_acquisition and values.max_probability_change is None:
        raise PhantomRefusedError(
            "the stored values say nothing of a new acquisition",
            got="no limit on the change of a probability",
            expected="a limit that was declared before",
            remedy="store the values again with --max-probability-change",
        )
    asked = ask_of_phantom(bundle, candidate, images, progress)
    before, now = values.header, asked.header
    check_same_question((before.task["id"], before.labels), (now.task["id"], now.labels))
    compare = _by_place if new_acquisition else _by_image
    evidence = Evidence(claims=(_known_answers(asked),)) + compare(values, asked.answers)
    return _report(bundle, asked, values, evidence, _changes(before, now)), asked.cases


def _by_image(values: StoredValues, answers: Sequence[Answer]) -> Evidence:
    """The same images: outputs within the tolerance, and the same answers."""
    stored = {image.case: image for image in values.images}
    there = {answer.case: answer for answer in answers}
    gone = {image.number for image in values.images if image.case not in there}
    extra = {answer.number for answer in answers if answer.case not in stored}
    problems = [
        f"image {number} has other pixels or another region" for number in sorted(gone & extra)
    ]
    problems += [f"image {number} is missing" for number in sorted(gone - extra)]
    problems += [f"image {number} is extra" for number in sorted(extra - gone)]
    found = Evidence(claims=(_count(len(stored), problems),))
    pairs = [(stored[case], answer) for case, answer in there.items() if case in stored]
    gaps = []
    names = {name for image in values.images for name in image.outputs}
    names |= {name for _, answer in pairs for name in answer.outputs}
    for name in sorted(names):
        limit = values.tolerance.get(name, 0.0)
        mine = list(_output_gaps(name, pairs))
        gaps += mine
        found += Evidence(claims=(_values(mine, limit, Scope(output=name), "", pairs),))
    return found + Evidence(claims=(_flips(pairs),), worst=_worst(gaps, ""))


def _by_place(values: StoredValues, answers: Sequence[Answer]) -> Evidence:
    """Other images of the same phantom: probabilities within the limit, and the same answers."""
    have, want = len(answers), len(values.images)
    problems = [f"image {number} is missing" for number in range(have + 1, want + 1)]
    problems += [f"image {number} is extra" for number in range(want + 1, have + 1)]
    claim = _count(want, problems)
    pairs = list(zip(values.images, answers, strict=False))
    same = [image.number for image, answer in pairs if image.case == answer.case]
    if same and not problems:
        claim = claim.model_copy(
            update={
                "verdict": "not-conclusive",
                "reason": f"{_some([f'image {number}' for number in same])} has the stored "
                "pixels: it was not acquired anew",
            }
        )
    limit = values.max_probability_change or 0.0
    gaps = list(_probability_gaps(pairs))
    found = _values(gaps, limit, Scope(), "fraction", pairs)
    return Evidence(claims=(claim, found, _flips(pairs)), worst=_worst(gaps, "fraction"))


def _output_gaps(name: str, pairs: Sequence[tuple[StoredImage, Answer]]) -> Iterator[_Gap]:
    for stored, answer in pairs:
        old, new = stored.outputs.get(name), answer.outputs.get(name)
        if answer.status != "error" and old is not None and new is not None:
            if len(old) != len(new):
                continue
            size = max((abs(a - b) for a, b in zip(old, new, strict=True)), default=0.0)
            yield _Gap(stored, StoredImage.of(answer), name, size)


def _probability_gaps(pairs: Sequence[tuple[StoredImage, Answer]]) -> Iterator[_Gap]:
    for stored, answer in pairs:
        if stored.probabilities.keys() == answer.probabilities.keys() and stored.probabilities:
            size = max(
                abs(value - answer.probabilities[label])
                for label, value in stored.probabilities.items()
            )
            yield _Gap(stored, StoredImage.of(answer), "", size)


def _values(
    gaps: Sequence[_Gap],
    limit: float,
    scope: Scope,
    unit: str,
    pairs: Sequence[tuple[StoredImage, Answer]],
) -> Claim:
    """The largest difference of one output, or of a probability, against its limit."""
    compared = {gap.stored.number for gap in gaps}
    what = f"output {scope.output!r}" if scope.output else "a probability"
    lost = [
        f"image {stored.number}"
        for stored, answer in pairs
        if stored.number not in compared
        and (
            (scope.output in stored.outputs or scope.output in answer.outputs)
            if scope.output
            else stored.probabilities.keys() != answer.probabilities.keys()
        )
    ]
    far = [gap for gap in gaps if gap.size > limit]
    reasons = []
    if lost:
        reasons.append(f"{what} cannot be compared for {_some(lost)}")
    if far:
        worst = max(far, key=lambda gap: gap.size)
        reasons.append(
            f"{what} of image {worst.stored.number} moved by {worst.size:.3g}, allowed "
            f"{limit:.3g}; so did {len(far)} of {len(gaps)} images"
        )
    if not gaps and not reasons:
        return Claim(
            measure="stored-value",
            scope=scope,
            n=0,
            unit=unit,
            limit=limit,
            verdict="not-conclusive",
            reason=f"{what} of no image can be compared",
        )
    largest = max((gap.size for gap in gaps), default=None)
    return Claim(
        measure="stored-value",
        scope=scope,
        n=len(gaps),
        events=len(far),
        value=largest,
        unit=unit,
        bound=None if largest is None else Bound(high=largest, method="extremes"),
        limit=limit,
        verdict="fail" if reasons else "pass",
        reason="; ".join(reasons),
    )


def _flips(pairs: Sequence[tuple[StoredImage, Answer]]) -> Claim:
    """Images whose answer is another one than was stored."""
    other = [
        f"image {stored.number} ({stored.label or stored.status}, now "
        f"{answer.label or answer.reason or answer.status})"
        for stored, answer in pairs
        if (stored.status, stored.label) != (answer.status, answer.label)
    ]
    count = len(pairs)
    return Claim(
        measure="flips",
        n=count,
        events=len(other),
        value=len(other) / count if count else None,
        bound=Bound(
            high=binomial_upper_bound(len(other), count, _CONFIDENCE),
            confidence=_CONFIDENCE,
            method="clopper-pearson",
        ),
        verdict="fail" if other else "pass" if count else "not-conclusive",
        reason=f"the answer is another one for {_some(other)}"
        if other
        else ""
        if count
        else "no image can be compared",
    )


def _count(wanted: int, problems: Sequence[str]) -> Claim:
    return Claim(
        measure="cases",
        n=wanted,
        events=len(problems),
        unit="count",
        verdict="fail" if problems else "pass",
        reason=f"the images are not those that were stored: {_some(problems)}" if problems else "",
    )


def _known_answers(asked: Asked) -> Claim:
    n = asked.known_answers
    return Claim(measure="known-answers", n=n, events=n, unit="count", verdict="pass")


def _worst(gaps: Sequence[_Gap], unit: str) -> tuple[WorstCase, ...]:
    found: dict[int, _Gap] = {}
    for gap in sorted(gaps, key=lambda gap: (-gap.size, gap.stored.number)):
        if gap.size > 0:
            found.setdefault(gap.stored.number, gap)
    return tuple(
        WorstCase(
            scope=Scope(output=gap.output),
            case=gap.now.case,
            number=gap.stored.number,
            measure="stored-value",
            size=gap.size,
            unit=unit,
            reference=gap.stored.label or gap.stored.status,
            variant=gap.now.label or gap.now.status,
        )
        for gap in list(found.values())[:_WORST]
    )


def _changes(before: AnswersHeader, now: AnswersHeader) -> tuple[Change, ...]:
    changes = changes_between(header_side(before), header_side(now))
    if before.bundle.sha256 == now.bundle.sha256:
        return changes
    old, new = (f"sha256 {header.bundle.sha256[:16]}" for header in (before, now))
    return (Change(what="version", where="bundle", before=old, after=new), *changes)


def _report(
    bundle: Bundle,
    asked: Asked,
    values: StoredValues,
    evidence: Evidence,
    changes: tuple[Change, ...],
) -> Report:
    header, manifest = asked.header, bundle.manifest
    titled = _titled(evidence, header.title)
    limits: Mapping[str, float | None] = {
        **{f"tolerance.{name}": value for name, value in values.tolerance.items()},
        "max_probability_change": values.max_probability_change,
    }
    return Report(
        kind="accept",
        title=manifest.task.title,
        notice=manifest.notice,
        verdict=titled.verdict,
        reasons=titled.reasons,
        created=timestamp(),
        medsdk=__version__,
        candidates=(
            ReportCandidate.of(
                header,
                header.title,
                reference=False,
                verdict=titled.verdict,
                reasons=titled.reasons,
            ),
        ),
        gates={key: value for key, value in limits.items() if value is not None},
        cases_sha256=header.cases_sha256,
        cases=header.cases,
        patients=None,
        changes=changes,
        evidence=titled,
    )


def _titled(evidence: Evidence, title: str) -> Evidence:
    """Every claim and worst case under the candidate's title."""

    def under(scope: Scope) -> Scope:
        return scope.model_copy(update={"candidate": title})

    return Evidence(
        claims=tuple(
            claim.model_copy(update={"scope": under(claim.scope)}) for claim in evidence.claims
        ),
        worst=tuple(
            item.model_copy(update={"scope": under(item.scope)}) for item in evidence.worst
        ),
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
