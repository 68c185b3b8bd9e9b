"""`medsdk run`: findings for DICOM objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medsdk.cli.options import (
    BundleArgument,
    DeviceOption,
    ExploreFlag,
    JsonFlag,
    QuietFlag,
    RuntimeOption,
    ThreadsOption,
    VariantOption,
)
from medsdk.cli.output import Progress, print_document, print_error, print_note, print_text, table

if TYPE_CHECKING:
    from medsdk.engine import Engine
    from medsdk.pixels import Box
    from medsdk.results.documents import FindingDocument, RunDocument
    from medsdk_runtimes.errors import MedsdkError

FINDINGS = "findings.json"


def register(app: typer.Typer) -> None:
    """Add `run`."""

    @app.command()
    def run(
        bundle: BundleArgument,
        inputs: Annotated[
            list[Path],
            typer.Argument(metavar="INPUT...", help="DICOM files, or folders of them."),
        ],
        out: Annotated[
            Path, typer.Option("--out", metavar="DIR", help="Where findings.json goes.")
        ],
        roi: Annotated[
            str | None,
            typer.Option(
                "--roi",
                metavar="X0,Y0,X1,Y1",
                help="Region of interest in pixels of the stored frame, where the task takes one.",
            ),
        ] = None,
        pictures: Annotated[
            bool, typer.Option("--pictures", help="Also write a PNG for every finding.")
        ] = False,
        runtime: RuntimeOption = None,
        variant: VariantOption = None,
        device: DeviceOption = None,
        threads: ThreadsOption = None,
        explore: ExploreFlag = False,
        as_json: JsonFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        """Answer the task's question for every frame of every input.

        The known answers are run first; a machine that does not reproduce them gets no
        findings. Inputs that cannot be used are listed under `refused`, and the exit status is
        that of the first of them.
        """
        from medsdk.engine import load
        from medsdk.pixels import Box

        region = None if roi is None else Box.parse(roi)
        files = _files(inputs)
        with Progress(quiet=quiet) as progress:
            progress("loading the bundle", 0, None)
            with load(
                bundle,
                runtime=runtime,
                variant=variant,
                device=device,
                threads=threads,
                policy="explore" if explore else "locked",
            ) as engine:
                document, status = run_inputs(
                    engine,
                    [path for path, _ in files],
                    out,
                    region,
                    progress,
                    pictures=pictures,
                    shown=[name for _, name in files],
                )
        if as_json:
            print_document(document)
        else:
            _print(document)
            print_text(f"\nwritten: {out / FINDINGS}")
        raise typer.Exit(status)


def run_inputs(
    engine: Engine,
    files: list[Path],
    out: Path,
    roi: Box | None,
    progress: Progress,
    *,
    pictures: bool,
    shown: Sequence[str] = (),
) -> tuple[RunDocument, int]:
    """Findings for files, written to `out`.

    Args:
        engine: The loaded bundle.
        files: DICOM files, at least one.
        out: Where `findings.json` and pictures go.
        roi: Region of interest, or None.
        progress: Told about every input.
        pictures: Whether to draw each finding.
        shown: What each file is called on standard error; nothing else ever names it.

    Returns:
        The document, and 0 or the exit status of the first input that could not be used.

    Raises:
        MedsdkError: No input could be used: that of the first.
        OutputNotWritableError: `out` cannot be written.
    """
    from medsdk._refusals import OutputNotWritableError
    from medsdk.atomic import write_file
    from medsdk.pixels import open_dicom
    from medsdk.pixels.errors import PixelInputUnreadableError
    from medsdk.results.describing import (
        describe_bundle,
        describe_error,
        describe_finding,
        describe_plan,
        describe_provenance,
    )
    from medsdk.results.documents import RefusedInput, RunDocument
    from medsdk.results.picture import finding_picture
    from medsdk_runtimes.errors import MedsdkError

    manifest = engine.bundle.manifest
    _remove_earlier(out)
    findings: list[FindingDocument] = []
    refused: list[tuple[int, int | None, MedsdkError]] = []

    def refuse(index: int, frame_number: int | None, error: MedsdkError) -> None:
        refused.append((index, frame_number, error))

    for index, path in enumerate(files, 1):
        progress("running", index - 1, len(files))
        try:
            image = open_dicom(path, modalities=manifest.task.input.modalities)
            for number in range(1, image.number_of_frames + 1):
                try:
                    finding = engine.predict(image, frame_number=number, roi=roi)
                except PixelInputUnreadableError as error:
                    # A damaged frame says nothing of its neighbours; any other error does.
                    refuse(index, number, error)
                    continue
                findings.append(describe_finding(finding, index))
                if pictures:
                    png = finding_picture(image.frame(number), finding, manifest.task.title)
                    name = f"input-{index:04}-frame-{number:04}.png"
                    write_file(out / "pictures" / name, png, "a picture")
        except OutputNotWritableError:
            raise
        except MedsdkError as error:
            refuse(index, None, error)
    progress("running", len(files), len(files))
    if len(files) > 1 or findings:
        progress.close()
        for index, frame_number, why in refused:
            name = shown[index - 1] if shown else ""
            frame = "" if frame_number is None else f", frame {frame_number}"
            print_note(f"input {index}{frame}{name and ': '}{name}")
            print_error(why)
    if not findings and refused:
        raise refused[0][2]
    document = RunDocument(
        notice=manifest.notice,
        bundle=describe_bundle(manifest, engine.bundle.sha256),
        plan=describe_plan(engine),
        provenance=describe_provenance(engine),
        findings=tuple(findings),
        refused=tuple(
            RefusedInput(input_index=index, frame_number=number, error=describe_error(error))
            for index, number, error in refused
        ),
    )
    text = document.model_dump_json(indent=2) + "\n"
    write_file(out / FINDINGS, text.encode(), FINDINGS)
    return document, refused[0][2].exit_status if refused else 0


def _remove_earlier(out: Path) -> None:
    """Take away an earlier run's results, so that nobody reads them as this run's.

    Raises:
        OutputNotWritableError: They cannot be removed.
    """
    from medsdk._refusals import OutputNotWritableError

    try:
        for path in (out / FINDINGS, *(out / "pictures").glob("input-*-frame-*.png")):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputNotWritableError.from_os(FINDINGS, error) from error


def _files(inputs: list[Path]) -> list[tuple[Path, str]]:
    """The inputs with folders spelled out, hidden ones left out, in a stable order.

    Returns:
        Each path with what may be shown of it: the path that was typed, or of a file in a typed
        folder its number there, since names of files may be names of patients.
    """
    from medsdk.pixels.errors import PixelInputUnreadableError

    files: list[tuple[Path, str]] = []
    for number, path in enumerate(inputs, 1):
        try:
            found = _inside(path) if path.is_dir() else [path] if path.exists() else []
        except OSError as error:
            raise PixelInputUnreadableError.not_opened(error.strerror or "") from None
        if not found:
            raise PixelInputUnreadableError(
                f"input {number} holds nothing to read",
                got="a folder without files" if path.is_dir() else "nothing at that path",
                expected="a DICOM file, or a folder of them",
                remedy="check the path; nothing was run",
            )
        if found == [path]:
            files.append((path, str(path)))
        else:
            files += [(file, f"file {count} of {path}") for count, file in enumerate(found, 1)]
    return files


def _inside(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _print(document: RunDocument) -> None:
    identity = document.bundle
    print_text(f"{identity.name} {identity.version}  sha256 {identity.sha256[:16]}")
    print_text(document.notice)
    plan = document.plan
    variants = ", ".join(f"{n.variant} ({n.precision})" for n in plan.networks.values())
    print_text(f"plan: {plan.runtime} on {plan.device}, {variants}; {plan.source}: {plan.reason}\n")
    print_text(findings_table(document.findings))
    if document.refused:
        print_text(f"{len(document.refused)} inputs or frames refused; see above")


def findings_table(findings: Sequence[FindingDocument]) -> str:
    """One row a finding."""
    return table(
        ("input", "frame", "status", "finding", "probability"),
        (
            (
                item.input_index,
                item.frame_number,
                item.status,
                item.label or item.reason,
                "-" if item.label is None else f"{item.probabilities[item.label]:.3f}",
            )
            for item in findings
        ),
    )
