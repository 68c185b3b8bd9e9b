"""`medsdk inspect`: what a bundle says of itself, after its digests were checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from medsdk.cli.options import BundleArgument, JsonFlag
from medsdk.cli.output import print_document, print_text, table

if TYPE_CHECKING:
    from medsdk.bundle.manifest import Manifest
    from medsdk.parity.declaration import Protocol
    from medsdk.results.documents import InspectDocument


def register(app: typer.Typer) -> None:
    """Add `inspect`."""

    @app.command()
    def inspect(bundle: BundleArgument, as_json: JsonFlag = False) -> None:
        """Show a bundle: identity, task, gates, variants with their parity, known answers.

        Every digest is checked first. No runtime is needed.
        """
        from medsdk.bundle.reading import Bundle
        from medsdk.parity.declaration import described_needs, undeclared_gates
        from medsdk.parity.protocol import gate_values, gates_digest
        from medsdk.results.describing import describe_bundle, describe_variants
        from medsdk.results.documents import InspectDocument

        opened = Bundle.open(bundle)
        manifest = opened.manifest
        protocol, needs = described_needs(opened)
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
            gates=gate_values(manifest.task),
            gates_sha256=gates_digest(manifest.task),
            requirements=needs,
            declared=None if protocol is None else protocol.declared,
            undeclared=undeclared_gates(opened),
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
        print_text(f"\n{gates_text(document, protocol)}")


def gates_text(document: InspectDocument, protocol: Protocol | None) -> str:
    """The gates of a bundle, what they need, and when that was declared."""
    from medsdk.parity.declaration import HEADER, rows

    if protocol is None:
        said = "this bundle has no protocol: whether they were declared first is not known"
    else:
        cases = protocol.cases
        known = (
            f"{cases.labelled} labelled cases of {cases.patients} patients"
            if cases.labelled
            else "no labelled cases"
        )
        said = (
            f"declared {protocol.declared}, before anything was measured, with {known} "
            f"(set {cases.sha256[:16]})"
        )
    every = {
        name: value
        for name, value in document.gates.items()
        if name.startswith(("fp32.", "max_output_difference."))
    }
    lines = [
        f"gates of {document.task['id']} {document.task['version']}, sha256 "
        f"{document.gates_sha256}",
        said,
        *(f"NOT AS DECLARED: {problem}" for problem in document.undeclared),
        table(HEADER, rows(document.requirements)),
        "every value of every image: "
        + ", ".join(f"{name} {value:g}" for name, value in every.items() if value != ""),
    ]
    if protocol is not None:
        lines += [
            f"int8-{form} could not ship: {'; '.join(reasons)}"
            for form, reasons in protocol.unjudged.items()
        ]
    return "\n".join(lines)


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
