"""Every error that medsdk raises, in one place to catch from.

::

    MedsdkError
    ├── (runtimes)                   see medsdk_runtimes.errors
    ├── FormatVersionError        4  a document newer or older than this release reads
    ├── TaskInvalidError          2  a task file that is no valid task
    ├── TaskUnknownError          2  no such task in the catalogue
    ├── UndecidableGateError      2  a gate that no number of cases can decide
    ├── GatesChangedError         2  other gates under one version of a task
    ├── TaskUnsupportedError      2  a valid task that this release does not run yet
    ├── PixelInputUnreadableError 4  no DICOM, truncated, no pixels
    ├── PixelInputRefusedError    2  readable, but not what the task takes
    ├── DecoderMissingError       3  a compressed syntax without its decoder
    ├── KernelUnavailableError    3  a resize that this release does not offer
    ├── BundleUnreadableError     4  no bundle, or a malformed one
    ├── BundleTamperedError       1  contents differ from the bundle's digests
    ├── BundleFormError           2  a directory where one file is wanted, or the reverse
    ├── KnownAnswerFailedError    1  this machine does not reproduce the known answers
    ├── VariantUnavailableError   2  the bundle has no such variant to run
    ├── OutputNotWritableError    3  a result cannot be written where it was asked for
    ├── CasesRefusedError         2  a table of cases that cannot be used
    ├── AnswersUnreadableError    4  no file of answers, or a malformed, cut or unfinished one
    ├── AnswersMismatchError      2  answers of something else than what was to go on
    ├── ReferenceContractError    2  a reference made under another preprocessing contract
    ├── ReportFolderError         2  the folder for a report holds something else
    ├── UnpairedResultsError      2  two sets of results that are not of the same cases
    ├── UnitRefusedError          2  slices that cannot be counted as lesions or studies
    ├── NotComparableError        2  two sides of a comparison that answer other questions
    ├── PhantomRefusedError       2  a folder of phantom images that cannot be used
    ├── ValuesUnreadableError     4  no stored values of a phantom, or a malformed file
    ├── ValuesTamperedError       1  stored values that are not what was written
    └── ExportRefusedError        2  export will not make this bundle (medsdk_export)

The number is the exit status of the command line.
"""

from medsdk._refusals import (
    BundleFormError,
    BundleTamperedError,
    BundleUnreadableError,
    FormatVersionError,
    GatesChangedError,
    KnownAnswerFailedError,
    OutputNotWritableError,
    ReportFolderError,
    TaskInvalidError,
    TaskUnknownError,
    TaskUnsupportedError,
    UndecidableGateError,
    VariantUnavailableError,
)
from medsdk.acceptance.errors import (
    PhantomRefusedError,
    ValuesTamperedError,
    ValuesUnreadableError,
)
from medsdk.changes.errors import NotComparableError
from medsdk.evaluation.errors import (
    AnswersMismatchError,
    AnswersUnreadableError,
    CasesRefusedError,
    ReferenceContractError,
)
from medsdk.parity.errors import UnitRefusedError, UnpairedResultsError
from medsdk.pixels.errors import (
    DecoderMissingError,
    KernelUnavailableError,
    PixelInputRefusedError,
    PixelInputUnreadableError,
)
from medsdk_runtimes.errors import (
    DeviceUnavailableError,
    ForkedProcessError,
    GraphRefusedError,
    InferenceFailedError,
    MedsdkError,
    OutputMismatchError,
    PrecisionMismatchError,
    QuantizationRefusedError,
    RuntimeUnavailableError,
    SessionClosedError,
    SettingRefusedError,
    TensorMismatchError,
)

__all__ = [
    "AnswersMismatchError",
    "AnswersUnreadableError",
    "BundleFormError",
    "BundleTamperedError",
    "BundleUnreadableError",
    "CasesRefusedError",
    "DecoderMissingError",
    "DeviceUnavailableError",
    "ForkedProcessError",
    "FormatVersionError",
    "GatesChangedError",
    "GraphRefusedError",
    "InferenceFailedError",
    "KernelUnavailableError",
    "KnownAnswerFailedError",
    "MedsdkError",
    "NotComparableError",
    "OutputMismatchError",
    "OutputNotWritableError",
    "PhantomRefusedError",
    "PixelInputRefusedError",
    "PixelInputUnreadableError",
    "PrecisionMismatchError",
    "QuantizationRefusedError",
    "ReferenceContractError",
    "ReportFolderError",
    "RuntimeUnavailableError",
    "SessionClosedError",
    "SettingRefusedError",
    "TaskInvalidError",
    "TaskUnknownError",
    "TaskUnsupportedError",
    "TensorMismatchError",
    "UndecidableGateError",
    "UnitRefusedError",
    "UnpairedResultsError",
    "ValuesTamperedError",
    "ValuesUnreadableError",
    "VariantUnavailableError",
]
