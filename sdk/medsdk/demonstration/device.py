"""`medsdk demo --device-only`: a device proves a bundle and answers for a clip, in seconds.

Bundle and clip lie in the wheel and are synthetic. They are made by
`export/demonstration/make_data.py`; nothing here needs a training framework.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from medsdk.demonstration.errors import DemoFailedError, DemoUnavailableError
from medsdk.demonstration.folder import MARKER, demo_folder, draw, in_shell, write_document

if TYPE_CHECKING:
    from medsdk.bench import Latency
    from medsdk.bundle import Bundle
    from medsdk.bundle.manifest import Verdict
    from medsdk.cli.output import Progress
    from medsdk.engine import Engine
    from medsdk.pixels import Box, Frame
    from medsdk.results.documents import DeviceDemoDocument, RunDocument, VerifyDocument

DATA = Path(__file__).parent / "data"
BUNDLE, CLIP = DATA / "liver-us-malignancy.medsdk", DATA / "clip.dcm"
FACTS = DATA / "clip.json"
"""The operator's square (`roi`) and what the phantom shows (`truth`)."""

PICTURE = 6
"""The frame that is drawn, 1-based."""

MEANING: dict[Verdict, str] = {
    "pass": "This machine runs the network as it was exported; that does not say that the network "
    "is any good.",
    "fail": "This machine does not reproduce a known answer with every variant; the table names "
    "which. Do not use those here, and report it with what `medsdk doctor` prints.",
    "not-run": "Nothing that decides could be run on this machine, so nothing is proved.",
    "not-conclusive": "The known answers do not decide whether this machine runs the network as "
    "it was exported.",
    "advisory": "The known answers were run as advice alone, which decides nothing.",
}
"""What the verdict on the known answers says about this machine."""

TIMING_NS = 5_000_000_000
"""The longest that the latency reading may take; a slow device gets fewer runs."""


def run_device_demo(out: Path, progress: Progress) -> tuple[DeviceDemoDocument, str]:
    """Verify the bundle of the wheel here, run the clip of the wheel, and time it.

    Args:
        out: Where everything goes.
        progress: Told what is being done.

    Returns:
        The document, and what a person is told at the end.

    Raises:
        DemoUnavailableError: No runtime that the bundle is meant for is installed.
        DemoOutputError: `out` holds something that is not a demo's.
        DemoFailedError: A frame of the clip has no finding, or the wheel's facts are damaged.
        KnownAnswerFailedError: This machine does not reproduce a known answer.
    """
    from medsdk.bundle import Bundle
    from medsdk.engine import load
    from medsdk.parity.verification import verify
    from medsdk.pixels import Box
    from medsdk.results.describing import describe_latency, describe_plan, describe_verification
    from medsdk.results.documents import DeviceDemoDocument

    progress("opening the bundle", 0, None)
    bundle = Bundle.open(BUNDLE)
    runtime = _runtime(bundle)
    corners, truth = _read_facts()
    roi = Box(*corners)
    with demo_folder(out) as folder:
        verified = describe_verification(
            bundle,
            verify(bundle, progress=lambda t, done, total: progress(f"verify: {t}", done, total)),
        )
        write_document(folder / "verify.json", verified)
        with load(BUNDLE, runtime=runtime) as engine:
            run = _run_clip(engine, folder, roi, progress)
            latency = _time(engine, roi, progress)
            document = DeviceDemoDocument(
                notice=bundle.manifest.notice,
                verdict=verified.verdict,
                bundle=verified.bundle,
                candidates=verified.candidates,
                absent_runtimes=verified.absent_runtimes,
                plan=describe_plan(engine),
                roi=roi.corners,
                truth=truth,
                findings=len(run.findings),
                latency=describe_latency(latency),
                files=("verify.json", "findings.json", "finding.png"),
            )
        write_document(folder / MARKER, document)
    return document, _summary(out, document, run, verified)


def _read_facts() -> tuple[tuple[float, float, float, float], str]:
    """The corners of the operator's square, and what the phantom shows."""
    try:
        facts = json.loads(FACTS.read_text(encoding="utf-8"))
        x0, y0, x1, y1 = map(float, facts["roi"])
        truth = facts["truth"]
        good = 0 <= x0 < x1 < math.inf and 0 <= y0 < y1 < math.inf and isinstance(truth, str)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        good = False
    if not good:
        raise DemoFailedError(
            "the facts of the demo's clip are damaged",
            expected="a square and what the phantom shows, as the wheel has them",
            remedy="install medsdk again",
        )
    return (x0, y0, x1, y1), truth


def _runtime(bundle: Bundle) -> str | None:
    """None for the default; else the first runtime that is here and that the bundle takes."""
    import medsdk_runtimes
    from medsdk.plan.candidate import DEFAULT_RUNTIME

    targets = {
        target
        for network in bundle.manifest.networks.values()
        for target in network.variants["fp32"].targets
    }
    usable = [item.name for item in medsdk_runtimes.available() if item.name in targets]
    if not usable:
        raise DemoUnavailableError(
            "no runtime is installed that could run the demo's network",
            got="none of " + ", ".join(sorted(targets)),
            expected="at least one",
            remedy='pip install "medsdk[onnxruntime]", or "medsdk[openvino]"',
        )
    return None if DEFAULT_RUNTIME in usable else usable[0]


def _run_clip(engine: Engine, folder: Path, roi: Box, progress: Progress) -> RunDocument:
    from medsdk.cli.run import run_inputs

    run, status = run_inputs(engine, [CLIP], folder, roi, progress, pictures=False)
    if status or {finding.status for finding in run.findings} != {"ok"}:
        raise DemoFailedError(
            "a frame of the demo's clip has no finding",
            got=", ".join(sorted({finding.status for finding in run.findings})),
            expected="a finding for every frame",
            remedy="install medsdk again; report it with what `medsdk doctor` prints",
        )
    draw(engine, CLIP, PICTURE, roi, folder / "finding.png")
    return run


class _Predicting:
    """`Engine.predict` on the frames of the clip, decoded beforehand."""

    def __init__(self, engine: Engine, roi: Box) -> None:
        from medsdk.pixels import open_dicom

        image = open_dicom(CLIP)
        self._engine, self._roi = engine, roi
        self._frames: list[Frame] = [
            image.frame(number) for number in range(1, image.number_of_frames + 1)
        ]

    def count(self) -> int:
        return len(self._frames)

    def warm_up(self) -> None:
        for sample in range(len(self._frames)):
            self.query(sample)

    def query(self, sample: int) -> None:
        self._engine.predict(self._frames[sample], roi=self._roi)


def _time(engine: Engine, roi: Box, progress: Progress) -> Latency:
    """As many runs as a p99 needs, or as fit into the time."""
    from medsdk.bench import measure
    from medsdk.parity.statistics import runs_needed

    system = _Predicting(engine, roi)
    once_ns = measure(system, system.count()).p50_ns
    runs = max(system.count(), min(runs_needed(0.99), TIMING_NS // max(once_ns, 1)))
    return measure(system, runs, lambda done: progress("timing", done, runs))


def _summary(
    out: Path, document: DeviceDemoDocument, run: RunDocument, verified: VerifyDocument
) -> str:
    from medsdk.cli.bench import latency_line
    from medsdk.cli.run import findings_table
    from medsdk.cli.verify import candidates_table, reason_lines

    plan = document.plan
    absent = document.absent_runtimes
    return "\n".join(
        [
            f"{document.bundle.name} {document.bundle.version}  sha256 {document.bundle.sha256}",
            document.notice,
            "",
            "known answers of the bundle on this machine",
            candidates_table(verified.candidates),
            *reason_lines(verified),
            *([f"not installed here: {', '.join(absent)}"] if absent else []),
            "",
            f"a phantom clip that shows a {document.truth} lesion, on {plan.runtime} "
            f"({plan.source}: {plan.reason})",
            findings_table(run.findings),
            "",
            latency_line(document.latency),
            "",
            f"{document.verdict.upper()}: {document.findings} frames answered. "
            f"{MEANING[document.verdict]} The network was trained on phantoms, and the clip is "
            "one.",
            f"Made in {out}:",
            "  verify.json    every known answer, runtime and variant",
            "  findings.json  a finding for each frame, with its provenance",
            "  finding.png    a frame with its finding drawn",
            "Try next:",
            "  medsdk doctor",
            f"  medsdk verify {in_shell(BUNDLE)}",
        ]
    )
