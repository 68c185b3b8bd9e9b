"""Known answers at export: read, chosen, and written with what the reference gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medsdk.bundle import BundleWriter, KnownAnswer
from medsdk.canonical import sha256_of
from medsdk.decode import class_probabilities
from medsdk.parity.float_rule import stable_under
from medsdk.pipeline import preprocessor_of, supported_role
from medsdk.pixels.ultrasound_regions import lone_b_mode_region
from medsdk.tasks import Task
from medsdk_export.errors import ExportRefusedError, InputsRefusedError, ReferenceMismatchError
from medsdk_export.inputs import Case, decoded, explicit_little_endian, naming, open_case
from medsdk_export.judging import Judgement, Observed, label_of
from medsdk_export.reference_pixels import reference_tensor
from medsdk_runtimes.contract import Array


@dataclass(frozen=True)
class CaseImage:
    """One image of the pool.

    Attributes:
        data: A DICOM file: the case's object, uncompressed Explicit VR Little Endian.
        frame: Its decoded frame.
        tensor: Its preprocessed tensor, made by the named library.
    """

    data: bytes
    frame: NDArray[np.generic]
    tensor: NDArray[np.float32]


class CaseImages:
    """Reads cases one at a time, each with its reference tensor.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        role, _ = supported_role(task)
        self._network = task.networks[role]
        self._preprocessor = preprocessor_of(task, self._network)

    def tensor(self, case: Case) -> NDArray[np.float32]:
        """The reference tensor, which the production path must reproduce.

        Raises:
            InputsRefusedError: The case cannot be read or gives nothing to run.
            ReferenceMismatchError: The production path gives another tensor.
        """
        return self._read(case)[1]

    def image(self, case: Case) -> CaseImage:
        """The case as a known answer keeps it; raises as `tensor` does."""
        frame, tensor = self._read(case)
        _, dataset, _ = open_case(case, self._task)
        with naming(case.name):
            return CaseImage(explicit_little_endian(dataset), frame, tensor)

    def _read(self, case: Case) -> tuple[NDArray[np.generic], NDArray[np.float32]]:
        _, dataset, image = open_case(case, self._task)
        frame = decoded(image, 1, case.name)
        with naming(case.name):
            prepared = self._preprocessor.prepare(frame, case.roi)
        if prepared.no_result is not None:
            raise InputsRefusedError(
                f"{case.name} gives no result before the network runs", got=prepared.no_result
            )
        region = lone_b_mode_region(frame.ultrasound_regions)
        tensor = reference_tensor(
            self._network.pixels,
            dataset,
            frame.array,
            roi=case.roi,
            region=None if region is None else region.box,
            layout="nhwc" if self._network.input.layout == "nhwc" else "nchw",
        )
        problem = self._preprocessor.disagreement(prepared.tensor, tensor)
        if problem is not None:
            raise ReferenceMismatchError(
                f"preprocessing {case.name} does not reproduce the named library",
                got=problem,
                expected="equal tensors, or within the bound of a float32 kernel",
                remedy="report it with the versions that `medsdk doctor` prints",
            )
        return frame.array, tensor


def choose(
    task: Task,
    observed: Sequence[Observed],
    shipped: Sequence[Judgement],
    count: int,
    say: Callable[[int], None],
) -> list[int]:
    """Choose images with a clear margin in every shipped variant, spread over the labels.

    Args:
        task: The task.
        observed: Every image of the pool.
        shipped: Judgements of the variants that ship.
        count: How many to choose, where there are so many.
        say: Told how many images were looked at.

    Returns:
        Indices into `observed`, ascending, at least two.

    Raises:
        InputsRefusedError: Fewer than two are clear.
    """
    clear: dict[str, list[int]] = {}
    for index, item in enumerate(observed):
        label = label_of(task, item.observation.reference)
        if label is not None and all(_is_clear(task, item, one, label) for one in shipped):
            clear.setdefault(label, []).append(index)
        say(index + 1)
    if sum(map(len, clear.values())) < 2:
        raise InputsRefusedError(
            "no known answer can be chosen",
            got=f"{len(observed)} images, fewer than two with a clear decision margin",
            expected="images that the network decides clearly",
            remedy="give more cases",
        )
    shares = _shares([len(group) for group in clear.values()], count)
    return sorted(
        index
        for group, share in zip(clear.values(), shares, strict=True)
        for index in _evenly(group, share)
    )


def choose_for(
    task: Task,
    observed: Sequence[Observed],
    kept: Mapping[str, Judgement],
    count: int,
    say: Callable[[int], None],
) -> tuple[list[int], dict[str, Judgement]]:
    """Choose for all variants that ship; one for a GPU goes rather than the whole bundle.

    Args:
        task: The task.
        observed: Every image of the pool.
        kept: One judgement a variant.
        count: How many to choose, where there are so many.
        say: Told how many images were looked at.

    Returns:
        Indices into `observed`, ascending, and the judgements: a variant of form `gpu` is
        unjudged where its tolerance leaves fewer than two images clear and the others do not.

    Raises:
        InputsRefusedError: Fewer than two are clear without it, too.
    """
    shipped = [item for item in kept.values() if item.status == "shipped"]
    try:
        return choose(task, observed, shipped, count, say), dict(kept)
    except InputsRefusedError:
        others = [item for item in shipped if item.attempt.form != "gpu"]
        if len(others) == len(shipped):
            raise
    chosen = choose(task, observed, others, count, say)
    reason = (
        "fewer than two images stay clear of its tolerance, max_output_difference.gpu: "
        "known answers could not prove it on a device"
    )
    unjudged = {
        name: replace(item, status="unjudged", reason=reason, targets=())
        for name, item in kept.items()
        if item in shipped and item not in others
    }
    return chosen, {**kept, **unjudged}


def write_answer(
    writer: BundleWriter,
    task: Task,
    name: str,
    case: Case,
    image: CaseImage,
    item: Observed,
    kept: Mapping[str, Judgement],
) -> KnownAnswer:
    """Write one known answer into a bundle.

    Args:
        writer: Where to.
        task: The task.
        name: Its id.
        case: Which case.
        image: It, read.
        item: What it showed.
        kept: Judgement of each variant.

    Returns:
        What the manifest says of it.
    """
    role, decode = supported_role(task)
    folder = f"known_answers/{name}"
    reference = item.observation.reference
    label = label_of(task, reference)
    if label is None:  # `choose` takes decided images only
        raise ExportRefusedError(f"{case.name} has no decision")
    return KnownAnswer(
        id=name,
        origin="phantom" if item.truth is None else "case",
        truth=item.truth,
        input=writer.add(f"{folder}/input.dcm", image.data),
        frame_number=1,
        roi=None if case.roi is None else case.roi.corners,
        frame=writer.add_array(f"{folder}/frame.npy", image.frame),
        tensors={role: writer.add_array(f"{folder}/{role}.tensor.npy", image.tensor)},
        outputs={role: _write_outputs(writer, f"{folder}/{role}.reference", reference)},
        variant_outputs={
            role: {
                variant: _write_outputs(
                    writer,
                    f"{folder}/{role}.{variant}",
                    item.observation.expected[judgement.attempt.title],
                )
                for variant, judgement in kept.items()
                if judgement.status == "shipped" and judgement.attempt.form != "float"
            }
        },
        probabilities=class_probabilities(decode, reference),
        label=label,
    )


def _write_outputs(
    writer: BundleWriter, start: str, outputs: Mapping[str, Array]
) -> dict[str, str]:
    return {
        name: writer.add_array(f"{start}.{_file_word(name)}.npy", array)
        for name, array in outputs.items()
    }


def _is_clear(task: Task, item: Observed, judgement: Judgement, label: str) -> bool:
    outputs: Mapping[str, Array]
    if judgement.attempt.form == "float":
        outputs = item.observation.reference
    else:
        outputs = item.observation.expected[judgement.attempt.title]
    return label_of(task, outputs) == label and stable_under(task, outputs, judgement.tolerance)


def _shares(sizes: list[int], count: int) -> list[int]:
    """How many to take of each group: as equal as the groups allow, `count` in all."""
    shares = [0] * len(sizes)
    while sum(shares) < min(count, sum(sizes)):
        room = [index for index, size in enumerate(sizes) if shares[index] < size]
        shares[min(room, key=lambda index: shares[index])] += 1
    return shares


def _evenly(group: list[int], count: int) -> list[int]:
    """At most `count` of the group, evenly spaced."""
    if len(group) <= count:
        return group
    return [group[(2 * i + 1) * len(group) // (2 * count)] for i in range(count)]


def _file_word(output: str) -> str:
    """An output's name as a word of a file name; names that collide are told apart by a hash."""
    word = "".join(char if char.isascii() and char.isalnum() else "-" for char in output.lower())
    return word if word == output else f"{word.strip('-')[:40]}-{sha256_of(output.encode())[:8]}"
