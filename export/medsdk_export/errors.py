"""What export refuses.

::

    MedsdkError
    ├── ExportUnavailableError      3  a package of the export side is not installed here
    └── ExportRefusedError          2  export will not make this bundle
        ├── PickleRefusedError      4  a checkpoint that wants to run code
        ├── LayerRefusedError       4  a Keras layer that holds code, or that is not Keras's own
        ├── SourceUnreadableError   4  no model in that file
        ├── WeightsMismatchError    2  weights of another architecture
        ├── GraphMismatchError      2  an ONNX graph that is not what the task says
        ├── ReferenceMismatchError  1  the exported graph does not compute what the source does
        ├── InputsRefusedError      2  calibration, cases or known answers that cannot be used
        │   └── PatientInTwoStrataError 2  one patient in two groups that are compared
        └── IdentityRefusedError    2  cases that carry identity attributes
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from medsdk_runtimes.errors import MedsdkError


class ExportUnavailableError(MedsdkError):
    """The export side is not installed here."""

    code = "export-unavailable"
    exit_status = 3

    @classmethod
    def missing(cls, what: str, packages: Sequence[str], extra: str) -> Self:
        """Packages without which something cannot be read.

        Args:
            what: What cannot be read.
            packages: Names of what is not installed.
            extra: The extra of medsdk that installs them.
        """
        return cls(
            f"what reads {what} is not installed",
            got=f"no {', '.join(packages)}",
            expected="an environment for export; never the device's",
            remedy=f'pip install "medsdk[{extra}]"',
        )


class ExportRefusedError(MedsdkError):
    """Export will not make this bundle."""

    code = "export-refused"
    exit_status = 2


class PickleRefusedError(ExportRefusedError):
    """A checkpoint holds more than tensors: loading it could run code."""

    code = "pickle-refused"
    exit_status = 4

    @classmethod
    def wants(cls, what: str) -> Self:
        """The checkpoint asks for something outside the allowed set.

        Args:
            what: The name it asks for, or what torch said.
        """
        return cls(
            "the checkpoint is refused: loading it could run code",
            got=what,
            expected="a state dictionary of tensors, loaded with weights_only=True",
            remedy="in the training environment: torch.save(model.state_dict(), 'weights.pt'), or "
            "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')",
        )


class LayerRefusedError(ExportRefusedError):
    """A Keras model holds code, or a layer that is not Keras's own."""

    code = "layer-refused"
    exit_status = 4


class SourceUnreadableError(ExportRefusedError):
    """There is no model in that file that export can read."""

    code = "source-unreadable"
    exit_status = 4


class WeightsMismatchError(ExportRefusedError):
    """The weights belong to another architecture."""

    code = "weights-mismatch"

    @classmethod
    def between(
        cls,
        architecture: str,
        missing: Sequence[str],
        unexpected: Sequence[str],
        reshaped: Sequence[str],
    ) -> Self:
        """Which tensors differ, by name and shape.

        Args:
            architecture: The architecture and its parameters.
            missing: `name shape` of tensors that the architecture has and the file has not.
            unexpected: `name shape` of tensors that only the file has.
            reshaped: `name: file shape, architecture shape`.
        """
        parts = []
        for title, items in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("other shape", reshaped),
        ):
            if items:
                more = f" and {len(items) - 6} more" if len(items) > 6 else ""
                parts.append(f"{title}: {', '.join(items[:6])}{more}")
        return cls(
            f"the weights are not those of {architecture}",
            got="; ".join(parts),
            expected="every tensor of the architecture, by name and shape, and no other",
            remedy="check the task's architecture and parameters, or export an .onnx yourself",
        )


class GraphMismatchError(ExportRefusedError):
    """An ONNX graph is not what the task describes."""

    code = "graph-mismatch"


class ReferenceMismatchError(ExportRefusedError):
    """The exported graph does not compute what its source does."""

    code = "reference-mismatch"
    exit_status = 1


class InputsRefusedError(ExportRefusedError):
    """Calibration inputs, cases or known answers that cannot be used."""

    code = "inputs-refused"


class PatientInTwoStrataError(InputsRefusedError):
    """One patient stands in two strata: groups are compared as independent."""

    code = "patient-in-two-strata"

    @classmethod
    def cases(cls, first: str, second: str) -> Self:
        """Which two cases, never whose.

        Args:
            first: `case N`, the earlier one.
            second: `case M`, of the same patient in another stratum.
        """
        return cls(
            "one patient stands in two strata",
            got=f"{first} and {second}",
            expected="each patient in one stratum, since strata are compared as independent",
            remedy="give all cases of a patient one stratum, or two patients two pseudonyms",
        )


class IdentityRefusedError(ExportRefusedError):
    """Cases or known answers carry identity attributes."""

    code = "identity-refused"

    @classmethod
    def attributes(cls, case: str, keywords: Sequence[str]) -> Self:
        """Which attributes, never their values.

        Args:
            case: Number of the case.
            keywords: DICOM keywords.
        """
        return cls(
            f"{case} carries identity attributes",
            got=", ".join(keywords),
            expected="a de-identified object: these attributes absent or empty",
            remedy="de-identify it first (DICOM PS3.15 Annex E, Basic Profile)",
        )
