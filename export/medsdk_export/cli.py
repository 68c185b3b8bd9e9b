"""`medsdk export`: a trained network becomes a bundle."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medsdk.cli.options import JsonFlag, QuietFlag
from medsdk.cli.output import Progress, print_document, print_note, print_text, table
from medsdk_export.errors import ExportRefusedError, ExportUnavailableError

if TYPE_CHECKING:
    from medsdk.tasks import Task
    from medsdk_export.build import ExportResult
    from medsdk_export.declaring import Declaration

NEEDS = ("onnx", "onnxruntime")
"""Packages without which nothing can be exported; torch and Keras by their own sources only."""


def register(app: typer.Typer) -> None:
    """Add `export` to the command line."""

    @app.command()
    def export(
        model: Annotated[
            list[str],
            typer.Option(
                "--model",
                metavar="[ROLE=]SOURCE",
                help="Weights (.pt, .pth, .safetensors, .h5, .hdf5, .weights.h5) of a catalogue "
                "architecture; or a whole model: .keras, .h5, .hdf5, .pt2, .onnx. "
                "ROLE= where the task has several networks.",
            ),
        ],
        calibration: Annotated[
            Path | None,
            typer.Option(
                "--calibration",
                metavar="DIR",
                help="DICOM files like those the scanner gives, a few dozen or hundred; they "
                "set INT8's ranges.",
            ),
        ] = None,
        out: Annotated[
            Path | None,
            typer.Option(
                "--out",
                metavar="BUNDLE",
                help="Where the bundle shall be: a directory, or one file for NAME.medsdk.",
            ),
        ] = None,
        task: Annotated[
            str | None,
            typer.Option("--task", metavar="ID", help="A task of the catalogue: `medsdk tasks`."),
        ] = None,
        task_file: Annotated[
            Path | None, typer.Option("--task-file", metavar="FILE", help="A task of your own.")
        ] = None,
        cases: Annotated[
            Path | None,
            typer.Option(
                "--cases",
                metavar="CASES.csv",
                help="Labelled, de-identified cases: path, truth, patient, stratum. Without "
                "them INT8 stays unjudged and does not ship.",
            ),
        ] = None,
        known_answers: Annotated[
            int,
            typer.Option(
                "--known-answers", metavar="N", min=2, max=4096, help="How many to choose."
            ),
        ] = 16,
        explain: Annotated[
            bool,
            typer.Option(
                "--explain",
                help="Say what --model holds and what a task must say of it; make no bundle. "
                "With a task, also whether the two agree.",
            ),
        ] = False,
        force: Annotated[
            bool, typer.Option("--force", help="Replace what is at --out already.")
        ] = False,
        supersedes: Annotated[
            Path | None,
            typer.Option(
                "--supersedes",
                metavar="BUNDLE",
                help="An earlier bundle of the task: other gates under its version are refused.",
            ),
        ] = None,
        envelope: Annotated[
            Path | None,
            typer.Option(
                "--envelope",
                metavar="FILE.toml",
                help="What may change after this bundle, and how that is judged: `medsdk diff`.",
            ),
        ] = None,
        as_json: JsonFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        """Make a bundle: ONNX, INT8, parity, known answers; proved here before it appears.

        Example: medsdk export --task uterus-mr/tumor-filter --model weights.safetensors
        --calibration images --cases cases/cases.csv --out tumor-filter
        """
        missing = [name for name in NEEDS if find_spec(name) is None]
        if missing:
            raise ExportUnavailableError(
                "the export side is not installed",
                got=f"no {', '.join(missing)}",
                expected="an environment for export; never the device's",
                remedy='pip install "medsdk[torch]" for PyTorch sources, "medsdk[keras]" for Keras',
            )
        if explain:
            _explain(model, task, task_file, as_json=as_json)
            return
        if calibration is None or out is None:
            raise ExportRefusedError(
                "export needs calibration images and a place for the bundle",
                got=f"no {'--calibration' if calibration is None else '--out'}",
                expected="--calibration DIR and --out BUNDLE",
                remedy="give both, or --explain to look at the model alone",
            )
        from medsdk_export.build import ExportRequest, export_bundle
        from medsdk_export.enveloping import read_envelope

        progress = Progress(quiet=quiet)
        chosen = choose_task(task, task_file)
        request = ExportRequest(
            task=chosen,
            models=parse_models(model, chosen),
            calibration=calibration,
            out=out,
            cases=cases,
            known_answers=known_answers,
            replace=force,
            supersedes=supersedes,
            envelope=None if envelope is None else read_envelope(envelope, chosen),
        )

        def declared(declaration: Declaration) -> None:
            if not quiet:
                print_note(declaration.text())

        try:
            result = export_bundle(request, progress, declared)
        finally:
            progress.close()
        _report(result, out, as_json=as_json)


def _explain(
    models: list[str], task_id: str | None, task_file: Path | None, *, as_json: bool
) -> None:
    from medsdk_export.explaining import explain

    if len(models) != 1:
        raise ExportRefusedError(
            "--explain takes one model", got=f"{len(models)}", expected="--model FILE once"
        )
    if task_id is None and task_file is None:
        document = explain(Path(models[0]))
    else:
        task = choose_task(task_id, task_file)
        ((role, path),) = parse_models(models, task).items()
        document = explain(path, task.network_of(role))
    if as_json:
        print_document(document)
        return
    layers = ", ".join(f"{count} {name}" for name, count in document.layers.items())
    fits = ", ".join(
        f"{item.name} ({', '.join(f'{key} {value}' for key, value in item.parameters.items())})"
        for item in document.architectures
    )
    tensors = {
        title: "; ".join(
            f"{item.name} {item.dtype} {' x '.join(str(axis or '?') for axis in item.shape)}"
            for item in items
        )
        for title, items in (("input", document.inputs), ("output", document.outputs))
    }
    rows = {
        "format": f"{document.format} ({document.framework}), {document.size_bytes / 1e6:.2f} MB",
        "written by": document.written_by,
        "weights": f"{document.weights}, {document.weight_bytes / 1e6:.2f} MB in float32",
        "layers": layers,
        **tensors,
        "layout": document.layout,
        "batch": document.batch,
        "opset": "" if document.opset is None else str(document.opset),
        "ends in": document.activation,
        "catalogue": fits or "no architecture of the catalogue has these weights",
        "sha256": document.sha256,
    }
    print_text("\n".join(f"{key + ':':<12}{value or 'not stated'}" for key, value in rows.items()))
    for item in document.obstacles:
        print_text(f"in the way ({item.code}): {item.what}")
        for key in ("got", "expected", "remedy"):
            if getattr(item, key):
                print_text(f"  {key + ':':<10}{getattr(item, key)}")
    if not document.obstacles:
        print_text("nothing stands in the way")
    print_text(f"\nwhat a task must say of it (docs/tasks-format.md):\n\n{document.task_snippet}")


def choose_task(task_id: str | None, task_file: Path | None) -> Task:
    """The task that the options name.

    Raises:
        ExportRefusedError: Neither or both were given.
        TaskUnknownError: No such id.
        TaskInvalidError: The file is no valid task.
    """
    from medsdk.tasks import catalogue_task, read_task

    if (task_id is None) == (task_file is None):
        raise ExportRefusedError(
            "which task?",
            got="neither --task nor --task-file" if task_id is None else "both",
            expected="--task ID or --task-file FILE",
            remedy="`medsdk tasks` lists the catalogue",
        )
    return catalogue_task(task_id) if task_id is not None else read_task(task_file or Path())


def parse_models(words: list[str], task: Task) -> dict[str, Path]:
    """Role to file; a bare file is the only role's.

    Raises:
        ExportRefusedError: A bare file for a task of several networks, or a role twice.
    """
    models: dict[str, Path] = {}
    for word in words:
        role, separator, path = word.partition("=")
        if not separator or role not in task.roles:
            # A path may hold an "=" itself.
            if len(task.roles) != 1 or (separator and not Path(word).exists()):
                raise ExportRefusedError(
                    "a model without the role of a network",
                    got="another role" if separator else "a bare file",
                    expected=f"ROLE=SOURCE with one of {', '.join(task.roles)}",
                )
            role, path = task.roles[0], word
        if role in models:
            raise ExportRefusedError(f"two models for the role {role!r}", expected="one")
        models[role] = Path(path)
    return models


def _report(result: ExportResult, out: Path, *, as_json: bool) -> None:
    from medsdk.results.describing import describe_bundle, describe_variants
    from medsdk.results.documents import ExportDocument

    manifest = result.manifest
    document = ExportDocument(
        notice=manifest.notice,
        bundle=describe_bundle(manifest, result.sha256),
        variants=describe_variants(manifest),
        known_answers=len(manifest.known_answers),
        verification=result.verification.verdict,
        requirements=result.declaration.needs,
    )
    if as_json:
        print_document(document)
        return
    print_text(f"{manifest.name} {manifest.version}  sha256 {result.sha256}")
    print_text(manifest.notice)
    print_text(
        table(
            ("network", "variant", "status", "size"),
            (
                (role, name, item.status, f"{item.size_bytes / 1e6:.2f} MB")
                for role, variants in document.variants.items()
                for name, item in variants.items()
            ),
        )
    )
    for role, variants in document.variants.items():
        for name, item in variants.items():
            print_text(f"{role} {name} {item.status}: {item.reason}")
    print_text(f"{document.known_answers} known answers; verified here: {document.verification}")
    print_text(f"written: {out}\nnext: medsdk verify {out}")
