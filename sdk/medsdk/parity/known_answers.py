"""Known answers: each stage alone, and the way from the bytes to the decision.

Alone means from the stored input of that stage, so that a failure names its cause; chained
means from the scanner's bytes through the production path.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from medsdk._refusals import BundleTamperedError, BundleUnreadableError, KnownAnswerFailedError
from medsdk.bundle.manifest import KnownAnswer, Manifest
from medsdk.bundle.reading import Bundle
from medsdk.decide.rules import decide
from medsdk.parity.comparison import beyond, compare_outputs
from medsdk.parity.decision_probes import check_probes
from medsdk.parity.explaining_outputs import explain_probabilities, explain_problems
from medsdk.parity.explaining_pixels import explain_tensor
from medsdk.pipeline import Pipeline
from medsdk.pixels import Box, DicomImage, Frame, open_dicom
from medsdk.plan.candidate import Candidate
from medsdk_runtimes.contract import Array
from medsdk_runtimes.errors import MedsdkError

LOAD_CASES = 16
"""Most known answers that a load runs."""

LOAD_BUDGET_NS = 500_000_000
"""Time that a load may spend on them; at least one for each label is always run."""

PROBABILITY_TOLERANCE = 1e-9
"""Decode is float64 arithmetic on stored outputs; only `exp` may differ between platforms."""

_AFTER_THE_NETWORK = ("decode", "decide")


@dataclass(frozen=True)
class AnswerResult:
    """What one known answer showed.

    Attributes:
        id: The known answer's.
        problems: One sentence each, starting with the stage; empty where all agreed.
        flipped: Whether the decision differs from the reference's.
        max_abs_error: Largest difference of any output from what was expected of the variant;
            infinity where an output cannot be compared.
    """

    id: str
    problems: tuple[str, ...]
    flipped: bool
    max_abs_error: float


def check_answer(
    bundle: Bundle,
    candidate: Candidate,
    pipeline: Pipeline,
    answer: KnownAnswer,
    *,
    alone: bool,
    explain: bool = True,
) -> AnswerResult:
    """Run one known answer.

    Args:
        bundle: Where it is stored.
        candidate: Says which variant's expected outputs count.
        pipeline: The opened candidate.
        answer: Which one.
        alone: Whether to check each stage from its stored input, before the chain. Otherwise
            only those behind the network, which cost nothing: the chain compares outputs and
            the decision, so another activation would pass it.
        explain: Whether to say what explains a disagreement; takes time only where there is one.

    Returns:
        What it showed.
    """
    problems: list[str] = []
    expected = expected_outputs(bundle, candidate, answer, pipeline.stage.role)
    role = pipeline.stage.role
    variant = bundle.manifest.networks[role].variants[candidate.networks[role].variant]
    errors = [0.0]

    def outputs_agree(stage: str, got: Mapping[str, Array]) -> None:
        difference = compare_outputs(got, expected)
        errors.extend(difference.max_abs.values())
        texts = beyond(difference, variant.tolerance)
        if texts and explain and not problems:  # the chain would only repeat the stage
            stored = _stored_of(bundle, answer, role)
            texts = explain_problems(texts, got, expected, variant.tolerance, stored)
        problems.extend(f"{stage}: {text}" for text in texts)

    def guarded(stage: str, check: Callable[[], None]) -> None:
        try:
            check()
        except (BundleTamperedError, BundleUnreadableError):
            raise
        except MedsdkError as error:
            problems.append(f"{stage}: {error.code}: {error}")

    for name, check in _stages(bundle, pipeline, answer, outputs_agree, problems, explain):
        if alone or name in _AFTER_THE_NETWORK:
            guarded(name, check)

    decided: list[str | None] = []

    def chain() -> None:
        frame = _read_frame(bundle, answer)
        prepared = pipeline.stage.preprocessor.prepare(frame, answer_roi(answer))
        if prepared.no_result is not None:
            problems.append(f"chain: preprocessing gave no result: {prepared.no_result}")
            return
        outputs = pipeline.stage.infer(prepared.tensor)
        outputs_agree("chain", outputs)
        outcome = decide(pipeline.task, pipeline.stage.probabilities(outputs))
        decided.append(outcome.label)
        if outcome.label != answer.label:
            problems.append(
                f"chain: the decision is {outcome.label!r}, the reference's {answer.label!r}"
            )

    guarded("chain", chain)
    flipped = decided != [answer.label]
    return AnswerResult(answer.id, tuple(problems), flipped, max(errors))


def _stages(
    bundle: Bundle,
    pipeline: Pipeline,
    answer: KnownAnswer,
    outputs_agree: Callable[[str, Mapping[str, Array]], None],
    problems: list[str],
    explain: bool,
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every stage with the check that enters it from the reference's stored input."""
    stage = pipeline.stage
    role = stage.role

    def decoding() -> None:
        got = _read_frame(bundle, answer).array
        want = bundle.array(answer.frame)
        if got.shape != want.shape or not np.array_equal(got, want):
            problems.append("pixels: the decoded frame differs from the stored one")

    def preprocessing() -> None:
        source = _read_frame(bundle, answer)
        frame = replace(source, array=bundle.array(answer.frame))
        want = bundle.array(answer.tensors[role])
        roi = answer_roi(answer)
        got = stage.preprocessor.prepare(frame, roi).tensor
        problem = stage.preprocessor.disagreement(got, want)
        if problem is None:
            return
        why = None
        if explain:
            why = explain_tensor(
                got,
                want,
                stage.preprocessor.contract,
                stage.preprocessor.layout,
                lambda other: other.prepare(frame, roi).tensor,
            )
        problems.append(f"preprocess: {problem}" + (f"; {why}" if why else ""))

    def network() -> None:
        tensor = bundle.array(answer.tensors[role]).astype(np.float32, copy=False)
        outputs_agree("network", stage.infer(tensor))

    def decode() -> None:
        stored = {name: bundle.array(file) for name, file in answer.outputs[role].items()}
        got = stage.probabilities(stored)
        if got.keys() != answer.probabilities.keys():
            problems.append("decode: the labels differ")
        elif any(
            abs(got[label] - value) > PROBABILITY_TOLERANCE
            for label, value in answer.probabilities.items()
        ):
            why = explain_probabilities(got, answer.probabilities, stored, stage.decode)
            problems.append(
                "decode: the probabilities differ from the stored ones"
                + (f"; {why}" if why else "")
            )

    def decision() -> None:
        label = decide(pipeline.task, answer.probabilities).label
        if label != answer.label:
            problems.append(f"decide: {label!r} in place of {answer.label!r}")

    yield "pixels", decoding
    yield "preprocess", preprocessing
    yield "network", network
    yield "decode", decode
    yield "decide", decision


def _stored_of(bundle: Bundle, answer: KnownAnswer, role: str) -> dict[str, dict[str, Array]]:
    """Every set of outputs that is stored of the network, by whose it is."""
    found = {
        f"variant {variant!r}": {name: bundle.array(file) for name, file in files.items()}
        for variant, files in answer.variant_outputs.get(role, {}).items()
    }
    found["the reference in FP32"] = {
        name: bundle.array(file) for name, file in answer.outputs[role].items()
    }
    for other in bundle.manifest.known_answers:
        if other.id != answer.id:
            files = other.outputs[role]
            found[f"known answer {other.id!r}"] = {
                name: bundle.array(file) for name, file in files.items()
            }
    return found


def check_on_load(
    bundle: Bundle, candidate: Candidate, pipeline: Pipeline, *, every: bool = False
) -> int:
    """Run the decision probes, and a subset of the known answers through the production path.

    Refuses to serve on failure.

    Args:
        bundle: The opened bundle.
        candidate: The chosen candidate.
        pipeline: It, opened.
        every: Whether to run all of them however long it takes, as evidence must; otherwise
            what fits `LOAD_CASES` and `LOAD_BUDGET_NS`.

    Returns:
        How many were run.

    Raises:
        KnownAnswerFailedError: One was not reproduced, or a probe is decided otherwise.
    """
    moved = check_probes(bundle.manifest.task, bundle.manifest.decision_probes)
    if moved:
        raise KnownAnswerFailedError(
            "the bundle does not decide as it did when it was exported",
            got="; ".join(moved),
            expected="the decision that is stored for each decision probe",
            remedy="export the bundle again where the threshold or the rule was meant to change",
        )
    deadline = time.monotonic_ns() + LOAD_BUDGET_NS
    checked = 0
    labels: set[str] = set()
    wanted = {answer.label for answer in bundle.manifest.known_answers}
    answers = spread(bundle.manifest)
    for answer in answers if every else answers[:LOAD_CASES]:
        if not every and time.monotonic_ns() > deadline and labels == wanted:
            break
        result = check_answer(bundle, candidate, pipeline, answer, alone=False, explain=False)
        if result.problems:
            # Which stage it is shows when each is checked alone.
            whole = check_answer(bundle, candidate, pipeline, answer, alone=True)
            result = whole if whole.problems else result
            raise KnownAnswerFailedError(
                f"this machine does not reproduce known answer {result.id!r}",
                got="; ".join(result.problems),
                expected="every stage within the stored tolerance, and the same decision",
                remedy="`medsdk verify` shows every stage; nothing is served meanwhile",
            )
        labels.add(answer.label)
        checked += 1
    return checked


def spread(manifest: Manifest) -> list[KnownAnswer]:
    """The known answers, one label after the other, so that any prefix has all of them."""
    by_label: dict[str, list[KnownAnswer]] = {}
    for answer in manifest.known_answers:
        by_label.setdefault(answer.label, []).append(answer)
    groups = list(by_label.values())
    longest = max(map(len, groups))
    return [group[i] for i in range(longest) for group in groups if i < len(group)]


def expected_outputs(
    bundle: Bundle, candidate: Candidate, answer: KnownAnswer, role: str
) -> dict[str, Array]:
    """What a variant's outputs are held to: its own graph's, or the source framework's in FP32.

    Args:
        bundle: The bundle.
        candidate: Says which variant.
        answer: Which known answer.
        role: Which network.

    Returns:
        Output name to array.
    """
    variant = candidate.networks[role].variant
    files = answer.variant_outputs.get(role, {}).get(variant, answer.outputs[role])
    return {name: bundle.array(file) for name, file in files.items()}


def answer_roi(answer: KnownAnswer) -> Box | None:
    """The region of interest that a known answer was asked with, or None.

    Raises:
        PixelInputRefusedError: The bundle's numbers are no box.
    """
    return None if answer.roi is None else Box(*answer.roi)


def _read_frame(bundle: Bundle, answer: KnownAnswer) -> Frame:
    image: DicomImage = open_dicom(bundle.read(answer.input))
    return image.frame(answer.frame_number)
