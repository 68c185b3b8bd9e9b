"""`medsdk accept`: a site's values of a phantom, stored once and checked again later."""

from __future__ import annotations

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
from medsdk.cli.output import Progress

if TYPE_CHECKING:
    from medsdk.acceptance.values import StoredValues


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
        as_json: JsonFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        """Check that a phantom still gives the values that this site stored: exit 0, 1 or 5.

        The known answers are run first. A check runs the candidate that the values were stored
        of unless another is pinned, and lists what changed since. The same images must give
        outputs within the variant's stored tolerance, and the same answers.
        """
        from medsdk.acceptance.accepting import check, store_values
        from medsdk.acceptance.phantoms import read_phantom
        from medsdk.acceptance.values import check_free, read_values
        from medsdk.bundle.reading import Bundle
        from medsdk.changes.running import Pins
        from medsdk.engine import check_purpose

        _check_words(
            store=store,
            force=force,
            new_acquisition=new_acquisition,
            limited=max_probability_change is not None,
        )
        if store:
            check_free(values, replace=force)
        stored = None if store else read_values(values)
        opened = Bundle.open(bundle)
        check_purpose(opened.manifest, "explore" if explore else "locked")
        pins = Pins(runtime, variant, device, threads)
        if stored is not None:
            pins = _as_stored(pins, stored)
        candidate = pins.candidate(opened.manifest)
        images = read_phantom(phantom, opened.manifest.task)
        with Progress(quiet=quiet) as progress:
            if stored is None:
                report = store_values(
                    opened,
                    candidate,
                    images,
                    values,
                    progress,
                    max_probability_change=max_probability_change,
                    replace=force,
                )
            else:
                report = check(
                    opened, candidate, images, stored, progress, new_acquisition=new_acquisition
                )
        print(report)
