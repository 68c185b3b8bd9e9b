"""`medsdk pack` and `medsdk unpack`: a bundle as one file, or as a directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from medsdk.cli.options import JsonFlag, QuietFlag
from medsdk.cli.output import Progress, print_document, print_text

if TYPE_CHECKING:
    from medsdk.bundle.reading import Bundle

_ForceFlag = Annotated[
    bool, typer.Option("--force", help="Replace the bundle that is at --out already.")
]


def register(app: typer.Typer) -> None:
    """Add `pack` and `unpack`."""

    @app.command()
    def pack(
        directory: Annotated[
            Path, typer.Argument(metavar="DIR", help="A bundle's directory; it stays as it is.")
        ],
        out: Annotated[
            Path | None,
            typer.Option(
                "--out",
                metavar="FILE",
                help="Where the file shall be. Default: DIR.medsdk, beside the directory.",
            ),
        ] = None,
        force: _ForceFlag = False,
        as_json: JsonFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        """Write a bundle's directory as one file, with the same identity.

        Every digest is checked before and after. The same bundle always gives the same bytes.
        Every command takes the file as it is; it is never unpacked to run.
        """
        from medsdk.bundle.packing import pack as pack_bundle

        with Progress(quiet=quiet) as progress:
            bundle = pack_bundle(directory, out, replace=force, progress=progress)
        _report(bundle, "file", as_json=as_json)

    @app.command()
    def unpack(
        file: Annotated[
            Path, typer.Argument(metavar="FILE", help="A bundle's one file; it stays as it is.")
        ],
        out: Annotated[
            Path | None,
            typer.Option(
                "--out",
                metavar="DIR",
                help="Where the directory shall be. Default: FILE without .medsdk, beside it.",
            ),
        ] = None,
        force: _ForceFlag = False,
        as_json: JsonFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        """Write the one file that is a bundle as a directory, with the same identity.

        Every digest is checked before and after. `medsdk pack` of it gives the same file again.
        """
        from medsdk.bundle.packing import unpack as unpack_bundle

        with Progress(quiet=quiet) as progress:
            bundle = unpack_bundle(file, out, replace=force, progress=progress)
        _report(bundle, "directory", as_json=as_json)


def _report(bundle: Bundle, form: Literal["file", "directory"], *, as_json: bool) -> None:
    from medsdk.results.describing import describe_bundle
    from medsdk.results.documents import PackDocument

    manifest = bundle.manifest
    document = PackDocument(
        notice=manifest.notice,
        bundle=describe_bundle(manifest, bundle.sha256),
        form=form,
        files=len(bundle.storage.sizes),
        size_bytes=sum(bundle.storage.sizes.values()),
    )
    if as_json:
        print_document(document)
        return
    print_text(f"{manifest.name} {manifest.version}  sha256 {bundle.sha256}")
    print_text(manifest.notice)
    print_text(f"{document.files} files, {document.size_bytes / 1e6:.1f} MB, digests good")
    print_text(f"written: {bundle.storage.path}\nnext: medsdk verify {bundle.storage.path}")
