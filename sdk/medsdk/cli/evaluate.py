"""`medsdk evaluate`: every candidate on labelled cases, against truth and reference."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medsdk.cli.options import (
    BundleArgument,
    ExploreFlag,
    JsonFlag,
    LanguageOption,
    QuietFlag,
    ReportOption,
    ThreadsOption,
    WithImagesFlag,
)
from medsdk.cli.output import Progress, print_document, print_note, print_text, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medsdk.evaluation.cases import CaseSet
    from medsdk.parity.evidence import Bound, Claim, WorstCase
    from medsdk.reports import Report
    from medsdk.tasks import Task

EXIT_OF = {"pass": 0, "fail": 1, "not-run": 5, "not-conclusive": 5, "advisory": 0}
"""Exit status of a verdict; without a truth nothing can be concluded."""

_REASONS = 10
_WORST = 5


def register(app: typer.Typer) -> None:
    """Add `evaluate`."""

    @app.command()
    def evaluate(
        bundle: BundleArgument,
        cases: Annotated[
            Path,
            typer.Option(
                "--cases",
                metavar="CASES.csv",
                help="Columns path, truth, patient; and, where there are, study, lesion, roi, "
                "stratum, site, device-model, size and the task's own strata.",
            ),
        ],
        out: Annotated[
            Path | None,
            typer.Option(
                "--out",
                metavar="DIR",
                help="Keep the answers here, and go on with those that are here. Default: a "
                "temporary folder, so that a stopped evaluation begins anew.",
            ),
        ] = None,
        reference: Annotated[
            Path | None,
            typer.Option(
                "--reference",
                metavar="ANSWERS.jsonl",
                help="Compare with the answers of another machine or release. Default: FP32 here.",
            ),
        ] = None,
        runtime: Annotated[
            list[str] | None,
            typer.Option("--runtime", metavar="NAME", help="Only this runtime; may be repeated."),
        ] = None,
        variant: Annotated[
            list[str] | None,
            typer.Option("--variant", metavar="ID", help="Only this variant; may be repeated."),
        ] = None,
        isa: Annotated[
            list[str] | None,
            typer.Option(
                "--isa",
                metavar="NAME",
                help="Only this limit on the instruction set, native for none; may be repeated.",
            ),
        ] = None,
        within_patient: Annotated[
            list[str] | None,
            typer.Option(
                "--within-patient",
                metavar="COLUMN",
                help="This stratum may differ between cases of one patient; may be repeated.",
            ),
        ] = None,
        fresh: Annotated[
            bool, typer.Option("--fresh", help="Begin anew where --out has answers.")
        ] = False,
        threads: ThreadsOption = None,
        report: ReportOption = None,
        language: LanguageOption = "en",
        with_images: WithImagesFlag = False,
        explore: ExploreFlag = False,
        as_json: JsonFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        """Measure a bundle on labelled cases: exit 0 for PASS, 1 for FAIL, 5 for too few cases.

        Every candidate of this machine answers every case. Its accuracy, sensitivity and
        specificity are given with intervals, for all cases and for each stratum; what it decides
        otherwise than FP32 is held to the task's gate. With --out a stopped evaluation goes on.
        """
        from medsdk.bundle.reading import Bundle
        from medsdk.evaluation.evaluating import EvaluationRequest
        from medsdk.evaluation.evaluating import evaluate as evaluate_bundle
        from medsdk.reports import check_report_folder, write_report

        if report is not None:
            check_report_folder(report, replace=True)
        opened = Bundle.open(bundle)
        with Progress(quiet=quiet) as progress, kept_answers(out) as place:
            evaluation = evaluate_bundle(
                EvaluationRequest(
                    bundle=opened,
                    table=cases,
                    out=place,
                    runtimes=tuple(runtime or ()),
                    variants=tuple(variant or ()),
                    isas=tuple(isa or ()),
                    threads=threads,
                    reference=reference,
                    within_patient=tuple(within_patient or ()),
                    fresh=fresh,
                    explore=explore,
                ),
                progress,
            )
            if report is not None:
                picture = None
                if with_images:
                    picture = case_pictures(evaluation.cases, opened.manifest.task)
                write_report(
                    evaluation.report, report, language=language, picture=picture, replace=True
                )
        if with_images:
            print_note("the report's pictures may show who a patient is: keep it as you keep them")
        if as_json:
            print_document(evaluation.report)
        else:
            print_text(report_text(evaluation.report))
            if report is not None:
                print_text(f"written: {report / 'report.html'}")
        raise typer.Exit(EXIT_OF[evaluation.report.verdict])


@contextmanager
def kept_answers(out: Path | None) -> Iterator[Path]:
    """Where answers go: `out`, or a folder that is gone afterwards."""
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="medsdk-evaluate-") as folder:
        yield Path(folder)


def case_pictures(cases: CaseSet, task: Task) -> Callable[[str], bytes | None]:
    """Draws a case by its id; a lesion's or a study's id has no picture."""
    from medsdk.evaluation.cases import read_frame
    from medsdk.results.picture import case_picture

    known = {item.id: item for item in cases.cases if not item.error}

    def draw(case: str) -> bytes | None:
        item = known.get(case)
        if item is None:
            return None
        return case_picture(read_frame(item.case, task), item.case.roi)

    return draw


def report_text(report: Report) -> str:
    """The report for a terminal: a table a candidate, then strata, reasons and worst cases."""
    patients = "" if report.patients is None else f" of {report.patients} patients"
    lines = [report.title, report.notice, f"{report.cases} cases{patients}"]
    for candidate in report.candidates:
        claims = [
            item
            for item in report.evidence.claims
            if item.scope.candidate == candidate.title and _shown(item)
        ]
        whole = [item for item in claims if not item.scope.stratum]
        mark = "the reference" if candidate.reference else candidate.verdict
        lines += ["", f"{candidate.title} ({mark})"]
        if whole:
            lines.append(_claims(whole))
        divided = [item for item in claims if item.scope.stratum]
        if divided:
            lines += ["by stratum:", _claims(divided)]
        worst = [
            item
            for item in report.evidence.worst
            if item.scope.candidate == candidate.title and item.number is not None
        ]
        if worst:
            lines.append(f"worst cases: {'; '.join(map(_worst, worst[:_WORST]))}")
    if report.reasons:
        lines.append("")
    lines += [f"  {reason}" for reason in report.reasons[:_REASONS]]
    if len(report.reasons) > _REASONS:
        lines.append(f"  and {len(report.reasons) - _REASONS} more; --json has all of them")
    lines += ["", report.verdict.upper()]
    return "\n".join(lines)


_METRICS = ("accuracy", "sensitivity", "specificity", "mean-of-sensitivity-and-specificity")
_BY_STRATUM = ("sensitivity", "specificity", "accuracy", "flips")


def _shown(claim: Claim) -> bool:
    """Whether a terminal has room for it; JSON and page have every claim."""
    if claim.measure == "cases":  # one that counts what a gate needs, or that misses some
        return claim.needed is not None or bool(claim.reason and not claim.scope.stratum)
    if claim.scope.stratum:
        return claim.measure in _BY_STRATUM
    return claim.limit is not None or claim.verdict != "advisory" or claim.measure in _METRICS


def _claims(claims: Sequence[Claim]) -> str:
    return table(
        ("what", "n", "value", "interval", "limit", "verdict"),
        (
            (
                _what(item),
                item.n,
                _number(item.value, item.unit),
                _interval(item.bound, item.unit),
                _number(item.limit, item.unit),
                item.verdict,
            )
            for item in claims
        ),
    )


def _what(claim: Claim) -> str:
    scope = claim.scope
    parts: list[str] = [claim.measure]
    if scope.level not in ("slice", "output"):
        parts.append(f"by {scope.level}")
    if scope.label:
        parts.append(f"({scope.label})")
    if scope.stratum:
        parts.insert(0, f"{scope.stratum} {scope.value}:")
    return " ".join(parts)


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "count":
        return f"{value:g}"
    return f"{value:.2%}" if unit == "fraction" else f"{value:.3g}"


def _interval(bound: Bound | None, unit: str) -> str:
    if bound is None or bound.low is bound.high is None:
        return "-"
    if bound.low is None:
        return f"at most {_number(bound.high, unit)}"
    if bound.high is None:
        return f"at least {_number(bound.low, unit)}"
    return f"{_number(bound.low, unit)} to {_number(bound.high, unit)}"


def _worst(item: WorstCase) -> str:
    said = f"{item.reference} -> {item.variant}" if item.reference else item.variant
    return f"case {item.number} ({said}; {item.measure} {_number(item.size, item.unit)})"
