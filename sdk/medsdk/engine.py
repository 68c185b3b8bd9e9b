"""Load a bundle, prove it, and ask it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from medsdk._refusals import VariantUnavailableError
from medsdk._version import __version__
from medsdk.bundle.manifest import Manifest
from medsdk.bundle.reading import Bundle
from medsdk.canonical import uid_hash
from medsdk.decide.rules import Outcome
from medsdk.parity.known_answers import check_on_load
from medsdk.pipeline import Pipeline
from medsdk.pixels import Box, DicomImage, Frame, as_frame, check_modality, open_dicom
from medsdk.pixels.affine import check_roi
from medsdk.pixels.dicom import check_frame_number
from medsdk.pixels.errors import PixelInputRefusedError
from medsdk.plan.candidate import Plan, default_candidate
from medsdk.results.finding import Finding, Provenance

if TYPE_CHECKING:
    from pydicom import Dataset


class Engine:
    """A loaded bundle. Immutable; `predict` may be called from any number of threads.

    Attributes:
        bundle: The bundle it was loaded from.
        plan: What runs, where, and why.
        provenance: What every finding of this engine carries.
    """

    def __init__(self, bundle: Bundle, plan: Plan, pipeline: Pipeline) -> None:
        self.bundle = bundle
        self.plan = plan
        self.provenance = _provenance(bundle, plan, pipeline)
        self._pipeline = pipeline
        self._task = bundle.manifest.task

    def predict(
        self,
        source: str | os.PathLike[str] | bytes | Dataset | DicomImage | Frame | NDArray[np.generic],
        *,
        frame_number: int | None = None,
        roi: Box | None = None,
    ) -> Finding:
        """Answer the task's question for one image.

        Args:
            source: A DICOM file by path, its bytes, a pydicom Dataset, an opened `DicomImage`, a
                `Frame`, or a bare array (rows x columns) where the task leaves no doubt what
                its values mean.
            frame_number: Which frame of a multi-frame object, 1-based; needed there.
            roi: Region of interest in pixels of the stored frame, where the task takes one.

        Returns:
            The finding; `status` says whether there is an answer.

        Raises:
            PixelInputUnreadableError: No DICOM, truncated, without pixels.
            PixelInputRefusedError: Another modality, several frames and no `frame_number`, NaN,
                a shape or dtype that is no image, a `frame_number` or `roi` of another type.
            DecoderMissingError: A compressed syntax without its decoder.
            SessionClosedError: After `close()`.
            ForkedProcessError: In a forked child of the process that loaded the bundle.
        """
        check_roi(roi)
        if isinstance(source, Frame | np.ndarray):
            contract = self._pipeline.stage.preprocessor.contract
            frame = source if isinstance(source, Frame) else as_frame(source, contract)
            if frame_number is not None:
                check_frame_number(frame_number, 1)
            return self._answer(frame, "array", 1, roi)
        image = self._open(source)
        if frame_number is None and image.number_of_frames != 1:
            raise PixelInputRefusedError(
                "the object has several frames and one finding was asked for",
                got=f"{image.number_of_frames} frames",
                expected="one frame",
                remedy="give frame_number=1..n, or use predict_each()",
            )
        return self._frame_of(image, 1 if frame_number is None else frame_number, roi)

    def predict_each(
        self,
        source: str | os.PathLike[str] | bytes | Dataset | DicomImage,
        *,
        roi: Box | None = None,
    ) -> Iterator[Finding]:
        """Answer for every frame of a DICOM object, in order, one decoded frame at a time.

        Args:
            source: A DICOM file by path, its bytes, a Dataset, or an opened `DicomImage`.
            roi: Region of interest in pixels of the stored frame.

        Returns:
            One finding a frame.

        Raises:
            MedsdkError: As `predict` says.
        """
        check_roi(roi)
        image = self._open(source)
        return (
            self._frame_of(image, number, roi) for number in range(1, image.number_of_frames + 1)
        )

    def close(self) -> None:
        """Release the runtime's sessions."""
        self._pipeline.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self, source: str | os.PathLike[str] | bytes | Dataset | DicomImage) -> DicomImage:
        allowed = self._task.input.modalities
        if isinstance(source, DicomImage):
            check_modality(source.modality, allowed)
            return source
        return open_dicom(source, modalities=allowed)

    def _frame_of(self, image: DicomImage, number: int, roi: Box | None) -> Finding:
        check_frame_number(number, image.number_of_frames)
        return self._answer(image.frame(number), uid_hash(image.sop_instance_uid), number, roi)

    def _answer(self, frame: Frame, source_uid: str, number: int, roi: Box | None) -> Finding:
        passage = self._pipeline.answer(frame, roi)
        prepared = passage.prepared
        outcome = passage.outcome or Outcome(None, "no-result", prepared.no_result or "")
        return Finding(
            self._pipeline.stage.decode.kind,
            outcome.status,
            outcome.label,
            passage.probabilities,
            outcome.reason,
            source_uid,
            number,
            prepared.affine,
            prepared.crop,
            frame.decoder,
            self.provenance,
        )


def load(
    path: str | os.PathLike[str],
    *,
    runtime: str | None = None,
    variant: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    policy: Literal["locked", "explore"] = "locked",
) -> Engine:
    """Load a bundle: digests, known answers, plan.

    Args:
        path: The bundle: its directory, or the one `.medsdk` file, which is not unpacked.
        runtime: Pin a runtime, for instance `openvino`; None takes ONNX Runtime.
        variant: Pin a variant, for instance `int8-cpu`; None takes FP32.
        device: Pin a device of the runtime; None takes the CPU.
        threads: Worker threads; None takes the process's whole budget.
        policy: `locked` in the field. `explore` also loads bundles whose purpose is
            `benchmark`, which make no clinical claim.

    Returns:
        An engine that reproduced the known answers on this machine.

    Raises:
        BundleUnreadableError: There is no bundle, or a malformed one.
        BundleTamperedError: Its contents differ from its digests.
        KnownAnswerFailedError: This machine does not reproduce a known answer.
        VariantUnavailableError: No such variant, or not meant for that runtime.
        RuntimeUnavailableError: The runtime is not installed.
        DeviceUnavailableError: The device is not here.
        PrecisionMismatchError: The graph would run in another precision.
        TaskUnsupportedError: This release does not run the task.
    """
    bundle = Bundle.open(Path(path))
    check_purpose(bundle.manifest, policy)
    plan = default_candidate(bundle.manifest, runtime, variant, device, threads)
    pipeline = Pipeline.open(bundle, plan.candidate)
    try:
        checked = check_on_load(bundle, plan.candidate, pipeline)
        effective = {pipeline.stage.role: pipeline.stage.session.effective}
        proved = Plan(plan.candidate, plan.source, plan.reason, effective, checked)
        return Engine(bundle, proved, pipeline)
    except BaseException:
        pipeline.close()
        raise


def check_purpose(manifest: Manifest, policy: Literal["locked", "explore"]) -> None:
    """Refuse a bundle that makes no clinical claim, unless it is to be explored.

    Raises:
        VariantUnavailableError: Its purpose is `benchmark`, and the policy is not `explore`.
    """
    if manifest.purpose == "benchmark" and policy != "explore":
        raise VariantUnavailableError(
            "the bundle is for benchmarks and makes no clinical claim",
            got=f"policy {policy!r}",
            expected="policy='explore'",
        )


def _provenance(bundle: Bundle, plan: Plan, pipeline: Pipeline) -> Provenance:
    manifest = bundle.manifest
    stage = pipeline.stage
    effective = stage.session.effective
    network: dict[str, str | int] = {
        "runtime": effective.runtime,
        "runtime_version": effective.version,
        "device": effective.device,
        "variant": plan.candidate.networks[stage.role].variant,
        "precision": effective.precision,
        "threads": effective.threads,
        "preprocessing_sha256": stage.preprocessor.digest,
        "resize_implementation": stage.preprocessor.implementation,
    }
    return Provenance(
        bundle={
            "name": manifest.name,
            "version": manifest.version,
            "sha256": bundle.sha256,
        },
        task={"id": manifest.task.id, "version": manifest.task.version},
        notice=manifest.notice,
        networks={stage.role: network},
        thresholds={name: item.value for name, item in manifest.task.thresholds.items()},
        medsdk=__version__,
    )
