"""Options that several commands share, with one wording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.")
]
QuietFlag = Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")]
BundleArgument = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE", help="A bundle, as `medsdk export` wrote it: a directory or one file."
    ),
]
RuntimeOption = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        metavar="NAME",
        help="Pin a runtime: onnxruntime or openvino. Default: onnxruntime.",
    ),
]
VariantOption = Annotated[
    str | None,
    typer.Option(
        "--variant", metavar="ID", help="Pin a variant, for instance int8-cpu. Default: fp32."
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="Pin a device of the runtime. Default: CPU."),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", min=1, help="Worker threads. Default: the cores this process has."
    ),
]
ExploreFlag = Annotated[
    bool,
    typer.Option("--explore", help="Also load bundles whose purpose is benchmark."),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="DIR",
        help="Also write report.json, report.html (one offline page) and report.xml (JUnit) into "
        "this folder. An earlier report there is replaced, anything else refused.",
    ),
]
LanguageOption = Annotated[
    Literal["en", "ja"],
    typer.Option("--language", help="Of the report's page.", case_sensitive=True),
]
WithImagesFlag = Annotated[
    bool,
    typer.Option(
        "--with-images",
        help="Show the worst cases in the report's page. Pictures may identify a patient.",
    ),
]
