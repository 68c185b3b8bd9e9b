"""Every DICOM object of `pydicom`, `pydicom-data` and `deid-data`: a result or a clear refusal.

    python benchmarks/corpus.py            writes docs/corpus.md
    python benchmarks/corpus.py --check    exit 1 where that page would change

A result means that every frame was decoded. Objects are files with the prefix `DICM` at byte 128
or the suffix `.dcm`; the two archives of deid-data are looked into.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from medsdk.pixels import DicomImage, open_dicom
from medsdk_runtimes.errors import MedsdkError

PAGE = Path(__file__).parents[1] / "docs" / "corpus.md"

PACKAGES = {
    "pydicom": ("pydicom", "data"),
    "pydicom-data": ("data_store", "data"),
    "deid-data": ("deid_data", "data"),
}
"""Distribution, to its import name and the folder inside."""


@dataclass(frozen=True)
class CorpusObject:
    """One object.

    Attributes:
        package: The distribution that holds it.
        name: Its path there, with `!` before the name inside an archive.
        data: The file.
    """

    package: str
    name: str
    data: bytes


def corpus_objects() -> Iterator[CorpusObject]:
    """Every DICOM object of the packages that are installed, in a stable order."""
    for package, (module, folder) in PACKAGES.items():
        spec = find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            continue
        root = Path(next(iter(spec.submodule_search_locations))) / folder
        for path in sorted(root.rglob("*")):
            if not path.is_file():
                continue
            name = path.relative_to(root).as_posix()
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    for member in sorted(archive.namelist()):
                        data = archive.read(member)
                        if _is_object(member, data):
                            yield CorpusObject(package, f"{name}!{Path(member).name}", data)
                continue
            data = path.read_bytes()
            if _is_object(name, data):
                yield CorpusObject(package, name, data)


def _is_object(name: str, data: bytes) -> bool:
    return data[128:132] == b"DICM" or name.endswith(".dcm")


def describe(item: CorpusObject) -> tuple[str, str]:
    """What became of one object.

    Args:
        item: The object.

    Returns:
        `decoded` or the error's code, and a line of the table.
    """
    try:
        image = open_dicom(item.data)
        decoders = {image.frame(number).decoder for number in range(1, image.number_of_frames + 1)}
    except MedsdkError as error:
        return error.code, f"| `{item.name}` | **{error.code}**: {error.what}; {error.got} |"
    facts = [
        f"{image.number_of_frames} x {image.rows} x {image.columns}",
        f"{image.photometric}, {image.bits_allocated} bits",
        image.transfer_syntax,
        f"by {', '.join(sorted(filter(None, decoders)))}",
    ]
    if image.ultrasound_regions:
        facts.append(_regions(image))
    return "decoded", f"| `{item.name}` | {'; '.join(facts)} |"


def _regions(image: DicomImage) -> str:
    texts = []
    for region in image.ultrasound_regions:
        text = f"{region.kind} {region.box or ''}".strip()
        if region.spacing_mm:
            text += f" {region.spacing_mm[0]:.3g} x {region.spacing_mm[1]:.3g} mm"
        texts.append(text + (f" (not usable: {region.problem})" if region.problem else ""))
    return "regions: " + ", ".join(texts)


def page(objects: Iterator[CorpusObject]) -> str:
    """The whole page."""
    counts: Counter[tuple[str, str]] = Counter()
    lines: dict[str, list[str]] = {}
    for item in objects:
        outcome, line = describe(item)
        counts[item.package, outcome] += 1
        lines.setdefault(item.package, []).append(line)
    outcomes = sorted(
        {outcome for _, outcome in counts}, key=lambda name: (name != "decoded", name)
    )
    text = [
        "# What is read of three public collections",
        "",
        "Made by `python benchmarks/corpus.py`; a test compares the counts. Every object gives a "
        "result (all of its frames decoded) or a refusal with its code and reason.",
        "",
        f"| package | objects | {' | '.join(outcomes)} |",
        f"|---|---|{'---|' * len(outcomes)}",
    ]
    for package, found in lines.items():
        numbers = " | ".join(str(counts[package, outcome]) for outcome in outcomes)
        text.append(f"| {package} {version(package)} | {len(found)} | {numbers} |")
    totals = " | ".join(
        str(sum(number for (_, name), number in counts.items() if name == outcome))
        for outcome in outcomes
    )
    text.append(f"| together | {sum(map(len, lines.values()))} | {totals} |")
    for package, found in lines.items():
        text += ["", f"## {package}", "", "| object | result |", "|---|---|", *found]
    return "\n".join(text) + "\n"


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    text = page(corpus_objects())
    if parser.parse_args().check:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
