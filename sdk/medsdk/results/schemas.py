"""Which document each JSON Schema of `docs/schemas/` describes.

Apart from `documents`: a report is made of records that `documents` defines.
"""

from __future__ import annotations

from medsdk.reports.report import Report
from medsdk.results.documents import (
    BenchDocument,
    ConformanceDocument,
    DemoDocument,
    DeviceDemoDocument,
    DoctorDocument,
    Document,
    ErrorDocument,
    ExplainDocument,
    ExportDocument,
    InspectDocument,
    PackDocument,
    RunDocument,
    TasksDocument,
    VerifyDocument,
)

DOCUMENTS: dict[str, type[Document]] = {
    "bench": BenchDocument,
    "conformance": ConformanceDocument,
    "demo": DemoDocument,
    "device-demo": DeviceDemoDocument,
    "doctor": DoctorDocument,
    "error": ErrorDocument,
    "explain": ExplainDocument,
    "export": ExportDocument,
    "inspect": InspectDocument,
    "pack": PackDocument,
    "report": Report,
    "run": RunDocument,
    "tasks": TasksDocument,
    "unpack": PackDocument,
    "verify": VerifyDocument,
}
"""Name of the schema file to document."""
