"""`medsdk bench`: parity, latency and memory of a bundle on this machine, as a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from medsdk.cli.options import (
    BundleArgument,
    DeviceOption,
    ExploreFlag,
    JsonFlag,
    QuietFlag,
    RuntimeOption,
    ThreadsOption,
    VariantOption,
)
from medsdk.cli.output import Progress, print_document, print_text
from medsdk.cli.verify import EXIT_OF, candidates_table

if TYPE_CHECKING:
    from medsdk.bench import Latency
    from medsdk.bundle.manifest import Verdict
    from medsdk.engine import Engine
    from medsdk.parity.verification import CandidateVerdict
    from medsdk.pixels import Box, Frame
    from medsdk.results.documents import BenchDocument, LatencyDocument

P99_RUNS = 662
"""Runs from which on a p99 is conclusive; `medsdk.parity.statistics.runs_needed(0.99)`."""


def register(app: typer.Typer) -> None:
    """Add `bench`."""

    @app.command()
    def bench(
        bundle: BundleArgument,
        p99_ms: Annotated[
            float | None,
            typer.Option(
                "--p99-ms",
                metavar="N",
                min=0.001,
                max=1e9,  # a number: infinity would be a limit that is none
                help="FAIL where the 99th percentile of predict() is above this.",
            ),
        ] = None,
        runs: Annotated[
            int,
            typer.Option("--runs", metavar="N", min=1, help=f"Timed runs. A p99 needs {P99_RUNS}."),
        ] = P99_RUNS,
        runtime: RuntimeOption = None,
        variant: VariantOption = None,
        device: DeviceOption = None,
        threads: ThreadsOption = None,
        explore: ExploreFlag = False,
        as_json: JsonFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        """PASS or FAIL of a bundle on this board, with the evidence.

        Parity first: every known answer on the chosen candidate. Then one predict() after the
        other on the frames of the known answers, decoded beforehand. Exit 0 PASS, 1 FAIL, 5
        where there are too few runs to say.
        """
        from medsdk.bench import measure
        from medsdk.engine import load
        from medsdk.parity.verification import verify_candidate

        with Progress(quiet=quiet) as progress:
            progress("loading the bundle", 0, None)
            with load(
                bundle,
                runtime=runtime,
                variant=variant,
                device=device,
                threads=threads,
                policy="explore" if explore else "locked",
            ) as engine:
                parity = verify_candidate(engine.bundle, engine.plan.candidate, progress)
                system = _Predicting(engine)
                latency = measure(system, runs, lambda done: progress("timing", done, runs))
                document = _document(engine, parity, latency, p99_ms)
        if as_json:
            print_document(document)
        else:
            _print(document)
        raise typer.Exit(EXIT_OF[document.verdict])


class _Predicting:
    """`Engine.predict` on the frames of the known answers, decoded beforehand."""

    def __init__(self, engine: Engine) -> None:
        from medsdk.parity.known_answers import answer_roi
        from medsdk.pixels import open_dicom

        self._engine = engine
        self._inputs: list[tuple[Frame, Box | None]] = [
            (
                open_dicom(engine.bundle.read(answer.input)).frame(answer.frame_number),
                answer_roi(answer),
            )
            for answer in engine.bundle.manifest.known_answers
        ]

    def count(self) -> int:
        return len(self._inputs)

    def warm_up(self) -> None:
        for sample in range(len(self._inputs)):
            self.query(sample)

    def query(self, sample: int) -> None:
        frame, roi = self._inputs[sample]
        self._engine.predict(frame, roi=roi)


def _judge(
    parity: CandidateVerdict, latency: Latency, limit_ms: float | None
) -> tuple[Verdict, tuple[str, ...]]:
    from medsdk.parity.statistics import runs_needed

    if parity.verdict != "pass":
        return parity.verdict, ("parity: " + "; ".join(parity.reasons[:5]),)
    estimate_ns = latency.percentile_ns(0.99)
    if estimate_ns is None:
        reason = f"a p99 needs {runs_needed(0.99)} runs, there were {latency.runs}"
        return "not-conclusive", (reason,)
    if limit_ms is not None and estimate_ns / 1e6 > limit_ms:
        return "fail", (f"p99 {estimate_ns / 1e6:.2f} ms is above {limit_ms:g} ms",)
    return "pass", ()


def _document(
    engine: Engine, parity: CandidateVerdict, latency: Latency, limit_ms: float | None
) -> BenchDocument:
    from medsdk.diagnosis import machine_facts
    from medsdk.results.describing import (
        describe_bundle,
        describe_candidate,
        describe_latency,
        describe_plan,
    )
    from medsdk.results.documents import BenchDocument
    from medsdk_runtimes.machine import identify
    from medsdk_runtimes.operating_system import memory_peak_bytes

    verdict, reasons = _judge(parity, latency, limit_ms)
    machine = identify()
    return BenchDocument(
        notice=engine.bundle.manifest.notice,
        verdict=verdict,
        reasons=reasons,
        bundle=describe_bundle(engine.bundle.manifest, engine.bundle.sha256),
        plan=describe_plan(engine),
        parity=describe_candidate(parity),
        latency=describe_latency(latency),
        p99_limit_ms=limit_ms,
        memory_peak_bytes=memory_peak_bytes(),
        machine=machine_facts(machine),
        machine_sha256=machine.digest,
    )


def _print(document: BenchDocument) -> None:
    identity = document.bundle
    print_text(f"{identity.name} {identity.version}  sha256 {identity.sha256}")
    print_text(document.notice)
    print_text(f"machine {document.machine['cpu_model']}  sha256 {document.machine_sha256[:16]}")
    print_text(f"plan {document.plan.source}: {document.plan.reason}\n")
    print_text(candidates_table((document.parity,)))
    print_text(
        f"\n{latency_line(document.latency)}\n"
        f"memory of the process at its peak: {document.memory_peak_bytes / 1e6:.0f} MB"
    )
    for reason in document.reasons:
        print_text(f"because: {reason}")
    print_text(f"\n{document.verdict.upper()}")


def latency_line(latency: LatencyDocument) -> str:
    """What was measured, for a person."""
    p99 = (
        f"not-conclusive (needs {latency.p99_runs_needed} runs)"
        if latency.p99_ms is None
        else f"{latency.p99_ms:.2f} ms"
    )
    return (
        f"predict() on decoded frames, n = {latency.runs}: p50 {latency.p50_ms:.2f} ms, p99 "
        f"{p99}, slowest {latency.max_ms:.2f} ms"
    )
