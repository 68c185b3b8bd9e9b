"""`medsdk accept`: a site's values of a phantom, stored once and checked again later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medsdk.cli.change_report import print_report, write_pages
from medsdk.cli.options import (
    BundleArgument,
    DeviceOption,
    ExploreFlag,
    JsonFlag,
    LanguageOption,
    QuietFlag,
    ReportOption,
    RuntimeOption,
    ThreadsOption,
    VariantOption,
    WithImagesFlag,
)
from medsdk.cli.output import Progress, print_text


def register(app: typer.Typer) -> None:
    """Add `accept`."""

    @app.command()
    def accept(
        bundle: BundleArgument,
        phantom: Annotated[
            Path,
            typer.Option(
                "--phantom",
                metavar="DIR",
                help="DICOM files of a phantom, one frame each; regions of interest in rois.csv.",
            ),
        ],
        values: Annotated[
            Path,
            typer.Option("--values", metavar="FILE", help="Where the site's values are kept."),
        ],
        store: Annotated[
            bool, typer.Option("--store", help="Store the values; without it they are checked.")
        ] = False,
        max_probability_change: Annotated[
            float | None,
            typer.Option(
                "--max-probability-change",
                metavar="X",
                min=0.0,
                max=1.0,
                help="With --store: how far a probability may move in a new acquisition.",
            ),
        ] = None,
        new_acquisition: Annotated[
            bool,
            typer.Option(
                "--new-acquisition",
                help="The images are new ones of the same phantom: compare them by their place.",
            ),
        ] = False,
        force: Annotated[
            bool, typer.Option("--force", help="With --store: replace values that are there.")
        ] = False,
        runtime: RuntimeOption = None,
        variant: VariantOption = None,
        device: DeviceOption = None,
        threads: ThreadsOption = None,
        explore: ExploreFlag = False,
        report: ReportOption = None,
        language: LanguageOption = "en",
        with_images: WithImagesFlag = False,
        as_json: JsonFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        """Check that a phantom still gives the values that this site stored: exit 0, 1 or 5.

        The known answers are run first. A check runs the candidate that the values were stored
        of unless another is pinned, and lists what changed since. The same images must give
        outputs within the variant's stored tolerance, and the same answers.
        """
        from medsdk.acceptance.accepting import check
        from medsdk.acceptance.accepting import store as store_values
        from medsdk.acceptance.phantoms import read_phantom
        from medsdk.acceptance.values import check_free, read_values, write_values
        from medsdk.bundle.reading import Bundle
        from medsdk.engine import check_purpose
        from medsdk.plan.candidate import default_candidate
        from medsdk.reports import check_report_folder

        _check_words(
            store=store,
            force=force,
            new_acquisition=new_acquisition,
            limited=max_probability_change is not None,
        )
        if report is not None:
            check_report_folder(report, replace=True)
        if store:
            check_free(values, replace=force)
        stored = None if store else read_values(values)
        opened = Bundle.open(bundle)
        check_purpose(opened.manifest, "explore" if explore else "locked")
        if stored is not None:
            header = stored.header
            runtime = runtime or header.runtime
            device = device or header.device
            variant = variant or next(iter(header.networks.values())).variant
        candidate = default_candidate(opened.manifest, runtime, variant, device, threads).candidate
        images = read_phantom(phantom, opened.manifest.task, gone=not store)
        with Progress(quiet=quiet) as progress:
            if stored is None:
                made, document, cases = store_values(
                    opened, candidate, images, max_probability_change, progress
                )
                write_values(values, made, replace=force)
            else:
                document, cases = check(
                    opened, candidate, images, stored, progress, new_acquisition=new_acquisition
                )
        write_pages(
            document, report, language, (cases, opened.manifest.task) if with_images else None
        )
        if store and not as_json:
            print_text(f"written: {values}\n")
        print_report(document, as_json=as_json, folder=report, compared=not store)


def _check_words(*, store: bool, force: bool, new_acquisition: bool, limited: bool) -> None:
    """Refuse words that do not go together.

    Raises:
        UsageError: They do not.
    """
    from medsdk.cli.main import UsageError

    for given, name, wanted in (
        (force, "--force", True),
        (limited, "--max-probability-change", True),
        (new_acquisition, "--new-acquisition", False),
    ):
        if given and store is not wanted:
            raise UsageError(
                f"{name} belongs to {'storing' if wanted else 'checking'} values",
                got=f"{name} {'with' if store else 'without'} --store",
                expected=f"{name} {'with' if wanted else 'without'} --store",
            )
