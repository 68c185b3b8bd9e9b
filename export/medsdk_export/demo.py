"""The whole of `medsdk demo`: the main job from end to end, on real objects, in a few minutes."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from medsdk.demonstration.errors import WHOLE_DEMO_REMEDY, DemoFailedError, DemoUnavailableError
from medsdk.demonstration.folder import MARKER, demo_folder, draw, in_shell, write_document
from medsdk.errors import MedsdkError
from medsdk_export._demo_steps import Made, Part, make_bundle, real_object

if TYPE_CHECKING:
    from medsdk.cli.output import Progress
    from medsdk.results.documents import DemoClip, DemoDocument, ErrorFacts, VariantDocument

UTERUS = Part("uterus-mr/tumor-filter", calibration=(64, 5005), cases=(400, 4004))
LIVER = Part("liver-us/classify", calibration=(48, 5005), cases=(240, 4004))
"""400 cases let an INT8 variant show up to 3 flips within the gate of 2 % at 95 %, 240 one."""

MR_OBJECTS = (
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "examples_overlay.dcm",
    "MR-SIEMENS-DICOM-WithOverlays.dcm",
    "MR2_UNCR.dcm",
    "emri_small.dcm",
)
"""Real, uncompressed MR objects of pydicom and pydicom-data: little and big endian, single and
multi-frame."""

CLIP = "color3d_jpeg_baseline.dcm"
"""A real ultrasound clip of 120 frames in JPEG: what the MR task refuses, and the liver task's
input. It shows a heart."""

CLIP_ROI = "230,70,470,310"
"""A square inside the clip's B-mode region, as an operator would place it."""

CLIP_PICTURE = 31

PICTURE_OF = "examples_overlay.dcm"


def run_demo(out: Path, progress: Progress) -> tuple[DemoDocument, str]:
    """Run the demo.

    Args:
        out: Where everything goes.
        progress: Told what is being done.

    Returns:
        The document, and what a person is told at the end.

    Raises:
        DemoUnavailableError: A package that it needs is missing.
        DemoOutputError: `out` holds something that is not a demo's.
    """
    for package in ("torch", "data_store"):
        if importlib.util.find_spec(package) is None:
            raise DemoUnavailableError(
                "the demo needs a package that is not installed",
                got=f"no module {package}",
                expected="the export side and pydicom-data",
                remedy=WHOLE_DEMO_REMEDY,
            )
    with demo_folder(out) as folder:
        document, table = _fill(folder, progress)
        write_document(folder / MARKER, document)
    return document, _summary(out, document, table)


def _fill(folder: Path, progress: Progress) -> tuple[DemoDocument, str]:
    from medsdk.results.describing import describe_bundle, describe_variants
    from medsdk.results.documents import DemoDocument

    made = make_bundle(UTERUS, folder, progress)
    manifest = made.bundle.manifest
    findings, refused = _run_slices(made, folder, progress)
    clip, clip_table = _run_clip(folder / "liver", progress)
    verdicts = (made.verified.verdict, clip.verdict)
    document = DemoDocument(
        notice=manifest.notice,
        bundle=describe_bundle(manifest, made.bundle.sha256),
        verdict=next((verdict for verdict in verdicts if verdict != "pass"), "pass"),
        variants=describe_variants(manifest),
        findings=findings,
        refused_modality=refused,
        clip=clip,
        files=(
            *("bundle", "parity.txt", "verify.json", "results/findings.json", "finding.png"),
            *("liver/bundle", "liver/parity.txt", "liver/verify.json"),
            *("liver/results/findings.json", "liver/finding.png"),
        ),
    )
    return document, f"{made.table}\n\n{LIVER.task_id}\n{clip_table}"


def _run_slices(made: Made, folder: Path, progress: Progress) -> tuple[int, ErrorFacts]:
    """Real MR objects, and a clip that the task must refuse."""
    from medsdk.cli.run import run_inputs
    from medsdk.engine import load
    from medsdk.results.describing import describe_error

    with load(made.path) as engine:
        objects = [real_object(name) for name in MR_OBJECTS]
        run, status = run_inputs(
            engine, objects, folder / "results", None, progress, pictures=False
        )
        if status:
            raise DemoFailedError("a real MR object of the demo was refused")
        draw(engine, real_object(PICTURE_OF), 1, None, folder / "finding.png")
        try:
            next(engine.predict_each(real_object(CLIP)))
        except MedsdkError as error:
            return len(run.findings), describe_error(error)
        raise DemoFailedError("an ultrasound clip was not refused by an MR task")


def _run_clip(folder: Path, progress: Progress) -> tuple[DemoClip, str]:
    """The liver bundle on every frame of a real clip."""
    from medsdk.cli.run import run_inputs
    from medsdk.engine import load
    from medsdk.pixels import Box
    from medsdk.results.describing import describe_bundle, describe_variants
    from medsdk.results.documents import DemoClip

    folder.mkdir()
    made = make_bundle(LIVER, folder, progress)
    roi = Box.parse(CLIP_ROI)
    source = real_object(CLIP)
    with load(made.path) as engine:
        run, status = run_inputs(
            engine, [source], folder / "results", roi, progress, pictures=False
        )
        if status or {finding.status for finding in run.findings} != {"ok"}:
            raise DemoFailedError("a frame of the real clip has no finding")
        draw(engine, source, CLIP_PICTURE, roi, folder / "finding.png")
    manifest = made.bundle.manifest
    clip = DemoClip(
        notice=manifest.notice,
        bundle=describe_bundle(manifest, made.bundle.sha256),
        verdict=made.verified.verdict,
        variants=describe_variants(manifest),
        source=CLIP,
        roi=roi.corners,
        findings=len(run.findings),
    )
    return clip, made.table


def _summary(out: Path, document: DemoDocument, table: str) -> str:
    error, clip = document.refused_modality, document.clip
    return "\n".join(
        [
            f"{document.bundle.name} {document.bundle.version}  sha256 {document.bundle.sha256}",
            document.notice,
            *_variants(document.variants),
            "",
            f"{clip.bundle.name} {clip.bundle.version}  sha256 {clip.bundle.sha256}",
            clip.notice,
            *_variants(clip.variants),
            "",
            table,
            "",
            f"an ultrasound clip is refused by the MR task (exit {error.exit_status}): "
            f"{error.what}; got: {error.got}; expected: {error.expected}",
            "",
            f"{document.verdict.upper()}: {document.findings} findings on real MR objects, none of "
            f"which shows a uterus, and {clip.findings} on the real clip {clip.source}, which "
            "shows a heart: they prove the way, not the networks, which were trained on phantoms. "
            f"Made in {out}:",
            "  bundle, liver/bundle    the proved bundles",
            "  parity.txt, verify.json the parity tables; also in liver/",
            "  results/findings.json   findings with their provenance; also in liver/",
            "  finding.png             a picture with the result drawn; also in liver/",
            "Try next:",
            f"  medsdk inspect {in_shell(out / 'bundle')}",
            f"  medsdk bench {in_shell(out / 'liver/bundle')} --p99-ms 33",
            f"  medsdk run {in_shell(out / 'bundle')} YOUR.dcm --out results",
        ]
    )


def _variants(variants: Mapping[str, Mapping[str, VariantDocument]]) -> list[str]:
    return [
        f"  {name:<10} {item.status:<9} {item.size_bytes / 1e6:.2f} MB  {item.reason}"
        for group in variants.values()
        for name, item in group.items()
    ]
