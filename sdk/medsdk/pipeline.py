"""The way of one image, stage by stage: pixels, network, decode, decide.

The engine walks it from end to end; verification enters at any stage with what the reference
stored for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import medsdk_runtimes
from medsdk._refusals import TaskUnsupportedError
from medsdk.bundle.manifest import Manifest
from medsdk.bundle.reading import Bundle
from medsdk.decide.rules import Outcome, decide, unsupported_rule
from medsdk.decode.classification import class_probabilities
from medsdk.pixels import Box, Frame
from medsdk.pixels.contract import Prepared, Preprocessor
from medsdk.plan.candidate import Candidate
from medsdk.tasks.decoding import ArgmaxRule, ClassificationDecode, ThresholdRule
from medsdk.tasks.schema import Network, Task
from medsdk_runtimes.contract import Array, Session
from medsdk_runtimes.errors import InferenceFailedError, MedsdkError
from medsdk_runtimes.isa_tier import open_at_tier

_CLIP_LAYOUT = "layout 'ncthw' (this release takes 'nchw' and 'nhwc')"


@dataclass(frozen=True)
class Stage:
    """One network of the pipeline, opened.

    Attributes:
        role: Its role.
        input_name: Name of its input tensor.
        batch: Size of its batch axis, or `dynamic`.
        session: The opened graph.
        preprocessor: Executes its pixel contract.
        decode: What its outputs mean.
    """

    role: str
    input_name: str
    batch: Literal["dynamic"] | int
    session: Session
    preprocessor: Preprocessor
    decode: ClassificationDecode

    def infer(self, tensor: NDArray[np.float32]) -> dict[str, Array]:
        """Run the network on one preprocessed image, first axis 1, in the network's layout.

        Returns:
            Its outputs, first axis 1.

        Raises:
            MedsdkError: What the session raises.
        """
        try:
            return run_image(self.session, self.input_name, self.batch, tensor)
        except MedsdkError:
            raise
        except Exception as error:  # noqa: BLE001 - a third party's runtime may raise anything
            raise _foreign(error, "ran") from None

    def probabilities(self, outputs: Mapping[str, Array]) -> dict[str, float]:
        """Decode the outputs of one image."""
        return class_probabilities(self.decode, outputs)


@dataclass(frozen=True)
class Passage:
    """What one image gave at each stage.

    Attributes:
        prepared: What the network saw.
        outputs: Its outputs, first axis 1; empty where there was nothing to run.
        probabilities: Label to probability; empty where there was nothing to run.
        outcome: What the rule made of them; None where there was nothing to run.
    """

    prepared: Prepared
    outputs: Mapping[str, Array]
    probabilities: Mapping[str, float]
    outcome: Outcome | None


class Pipeline:
    """A bundle's networks, opened as one candidate says.

    Args:
        task: The task.
        stage: Its one network (this release runs tasks of one classifier).
    """

    def __init__(self, task: Task, stage: Stage) -> None:
        self.task = task
        self.stage = stage

    @classmethod
    def open(cls, bundle: Bundle, candidate: Candidate) -> Pipeline:
        """Open every network of a bundle.

        Args:
            bundle: An opened bundle.
            candidate: How to run it.

        Returns:
            The pipeline; close it when done.

        Raises:
            TaskUnsupportedError: This release does not run the task.
            MedsdkError: What the runtime raises when it opens a graph.
        """
        task = bundle.manifest.task
        role, decode = supported_role(task)
        network = task.networks[role]
        preprocessor = preprocessor_of(task, network)
        session = open_network(bundle, candidate, role)
        inlet = network.input
        return cls(task, Stage(role, inlet.name, inlet.batch, session, preprocessor, decode))

    def answer(self, frame: Frame, roi: Box | None) -> Passage:
        """Take one image through every stage.

        Args:
            frame: The stored frame.
            roi: Region of interest in its pixels, where the task takes one.

        Returns:
            What each stage gave.

        Raises:
            MedsdkError: As `Engine.predict` says of a frame.
        """
        stage = self.stage
        stage.session.check_usable()  # also where the frame leaves nothing to run
        prepared = stage.preprocessor.prepare(frame, roi)
        if prepared.no_result is not None:
            return Passage(prepared, {}, {}, None)
        outputs = stage.infer(prepared.tensor)
        probabilities = stage.probabilities(outputs)
        return Passage(prepared, outputs, probabilities, decide(self.task, probabilities))

    def close(self) -> None:
        """Release the sessions."""
        self.stage.session.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def preprocessor_of(task: Task, network: Network) -> Preprocessor:
    """What prepares images for a network, in the network's layout.

    Raises:
        TaskUnsupportedError: A layout that this release does not run.
        MedsdkError: As `Preprocessor`.
    """
    layout = network.input.layout
    if layout == "ncthw":
        raise _unsupported(task, [_CLIP_LAYOUT])
    return Preprocessor(network.pixels, layout)


def run_image(
    session: Session, input_name: str, batch: Literal["dynamic"] | int, tensor: NDArray[np.float32]
) -> dict[str, Array]:
    """Run one image through a graph of any batch size.

    A graph with a fixed batch of several gets the image in every row, and the first row counts:
    it costs the whole batch, and no other image can take part in the answer.

    Args:
        session: The opened graph.
        input_name: Name of its one input.
        batch: Size of its batch axis, or `dynamic`.
        tensor: One preprocessed image, first axis 1.

    Returns:
        Output name to array, first axis 1, freshly owned.

    Raises:
        MedsdkError: What the session raises.
    """
    if batch in ("dynamic", 1):
        return session.run({input_name: tensor})
    outputs = session.run({input_name: np.repeat(tensor, int(batch), axis=0)})
    return {name: array[:1].copy() for name, array in outputs.items()}


def open_network(bundle: Bundle, candidate: Candidate, role: str) -> Session:
    """Open one network of a bundle as a candidate says.

    Raises:
        MedsdkError: What the runtime raises when it opens a graph.
    """
    file = variant_file(bundle.manifest, candidate, role)
    onnx = bundle.read(file)
    settings = candidate.settings(role)
    try:
        if candidate.isa != "native":
            return open_at_tier(candidate.runtime, onnx, settings, candidate.isa)
        return medsdk_runtimes.runtime(candidate.runtime).open(onnx, settings)
    except MedsdkError:
        raise
    except Exception as error:  # noqa: BLE001 - a third party's runtime may raise anything
        raise _foreign(error, "opened") from None


def _foreign(error: Exception, did: str) -> InferenceFailedError:
    """Of an error that is not of the contract, only the type: its text may hold anything."""
    return InferenceFailedError(
        f"the runtime failed while it {did} the graph",
        got=type(error).__name__,
        expected="an error of the runtime contract",
        remedy="report it to whoever made the runtime; the conformance tests find it",
    )


def variant_file(manifest: Manifest, candidate: Candidate, role: str) -> str:
    """Where the graph of a candidate's variant lies inside the bundle."""
    file = manifest.networks[role].variants[candidate.networks[role].variant].file
    if file is None:  # `pick` chooses shipped variants only, and those have a file
        raise MedsdkError(f"the variant of {role!r} was not shipped")
    return file


def supported_role(task: Task) -> tuple[str, ClassificationDecode]:
    """The one network of a task that this release runs, and its decode.

    Args:
        task: Any valid task.

    Returns:
        Role and decode.

    Raises:
        TaskUnsupportedError: The task needs what a later release brings.
    """
    problems = []
    if len(task.roles) != 1:
        problems.append(f"{len(task.roles)} networks (this release runs one)")
    if task.input.kind != "image":
        problems.append(f"input.kind = {task.input.kind!r} (this release takes 'image')")
    if task.decision.reductions:
        problems.append("decision.reductions (this release answers image by image)")
    if task.input.presentation_intent is not None or task.input.sequences:
        problems.append("input.presentation_intent or input.sequences (not checked here yet)")
    if task.input.contrast_agent is not None or task.input.slices != "all":
        problems.append("input.contrast_agent or input.slices (not checked here yet)")
    if task.real_time is not None:
        problems.append("real_time (this release has no stream)")
    role, network = next(iter(task.networks.items()))
    if network.feed.kind != "input" or network.pixels.clip is not None:
        problems.append(f"networks.{role}.feed or .pixels.clip")
    if network.input.layout == "ncthw":
        problems.append(_CLIP_LAYOUT)
    if network.decode.kind != "classification":
        problems.append(f"a {network.decode.kind} network")
    if problems or not isinstance(network.decode, ClassificationDecode):
        raise _unsupported(task, problems)
    if not isinstance(task.decision.rule, ThresholdRule | ArgmaxRule):
        raise unsupported_rule(task.decision.rule)
    return role, network.decode


def _unsupported(task: Task, problems: list[str]) -> TaskUnsupportedError:
    return TaskUnsupportedError(
        f"this release does not run {task.id}",
        got="; ".join(problems),
        expected="one classifier that answers image by image",
    )
