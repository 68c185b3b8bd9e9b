"""`medsdk inspect`: what a bundle says of itself, after its digests were checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from medsdk.cli.options import BundleArgument, JsonFlag
from medsdk.cli.output import print_document, print_text, table

if TYPE_CHECKING:
    from medsdk.bundle.manifest import Manifest


def register(app: typer.Typer) -> None:
    """Add `inspect`."""

    @app.command()
    def inspect(bundle: BundleArgument, as_json: JsonFlag = False) -> None:
        """Show a bundle: identity, task, variants with their parity, known answers, provenance.

        Every digest is checked first. No runtime is needed.
        """
        from medsdk.bundle.reading import Bundle
        from medsdk.results.describing import describe_bundle, describe_variants
        from medsdk.results.documents import InspectDocument

        opened = Bundle.open(bundle)
        manifest = opened.manifest
        document = InspectDocument(
            notice=manifest.notice,
            bundle=describe_bundle(manifest, opened.sha256),
            task={"id": manifest.task.id, "version": manifest.task.version},
            purpose=manifest.purpose,
            variants=describe_variants(manifest),
            known_answers=len(manifest.known_answers),
            files=len(manifest.files),
            size_bytes=sum(record.size_bytes for record in manifest.files.values()),
            provenance=manifest.provenance,
        )
        if as_json:
            print_document(document)
            return
        print_text(
            f"{manifest.name} {manifest.version}  ({manifest.purpose})\n{manifest.notice}\n"
            f"sha256 {opened.sha256}\n"
            f"{document.files} files, {document.size_bytes / 1e6:.1f} MB, digests good; "
            f"{document.known_answers} known answers\n"
        )
        rows = [
            (
                role,
                name,
                variant.status,
                f"{variant.size_bytes / 1e6:.2f} MB",
                ", ".join(variant.targets) or "-",
            )
            for role, network in manifest.networks.items()
            for name, variant in network.variants.items()
        ]
        print_text(table(("network", "variant", "status", "size", "targets"), rows))
        for role, network in manifest.networks.items():
            for name, variant in network.variants.items():
                print_text(f"{role} {name} {variant.status}: {variant.reason}")
        parity = parity_table(manifest)
        if parity:
            print_text(f"\nparity on labelled cases, against FP32\n{parity}")


def parity_table(manifest: Manifest) -> str:
    """What the labelled cases showed at export, a row a variant, runtime and tier; may be empty."""
    rows = [
        (
            name,
            record.runtime,
            record.isa,
            record.cases,
            record.flips,
            f"{record.flip_rate_upper_bound:.2%}",
            record.verdict,
        )
        for network in manifest.networks.values()
        for name, variant in network.variants.items()
        for record in variant.parity
    ]
    header = ("variant", "runtime", "isa", "n", "flips", "rate under (95 %)", "verdict")
    return table(header, rows) if rows else ""
