"""Write docs/licences.md from what is installed, or check that the written page still fits.

    python docs/upkeep/licences.py            writes docs/licences.md
    python docs/upkeep/licences.py --check    exit 1 where the page is another one

What an extra brings is read from pyproject.toml and followed through the installed packages'
metadata; licences, sizes and bundled libraries come from their files. What no file says stands in
`licence_notes.toml`, each note with the words in the wheel that it rests on.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/licences.md"
NOTES = Path(__file__).parent / "licence_notes.toml"

DEVICE_EXTRAS = ("onnxruntime", "openvino", "dicom", "opencv")
"""What may go to a device, beside what medsdk always needs."""

OTHER_EXTRAS = ("torch", "keras", "demo", "conformance", "dev")
"""What stays where networks are exported and tested."""

ALWAYS = "medsdk"
"""What is brought without any extra."""

# Words of the metadata that name one licence beyond doubt.
_NAMED = {
    "MIT": "MIT",
    "MIT License": "MIT",
    "OSI Approved :: MIT License": "MIT",
    "Apache-2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "BSD 3-Clause": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "OSI Approved :: ISC License (ISCL)": "ISC",
    "MPL-2.0": "MPL-2.0",
    "OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
# What a licence's own text says and no other's does; the first that fits.
_TEXTS = (
    ("Apache-2.0", r"Apache License,?\s+Version 2\.0"),
    ("MPL-2.0", r"Mozilla Public License,? [Vv]ersion 2\.0"),
    ("BSD-3-Clause", r"Redistribution and use in source and binary forms.*(?:Neither the name|"
     r"names? of .{0,80}(?:may not|not) be used)"),
    ("BSD-2-Clause", r"Redistribution and use in source and binary forms"),
    ("MIT", r"Permission is hereby granted, free of charge"),
)  # fmt: skip
_LICENCE_FILE = re.compile(r"licen[cs]e|copying|notice|third[-_]?party", re.I)
_LIBRARY = re.compile(r"(?:^|/)lib[^/]+?\.(?:so(?:\.[\w.]+)?|dylib)$")
GNU = re.compile(r"\b[AL]?GPL|GNU (?:Lesser |Affero )?General", re.I)
"""A licence of the GNU family, or a word about one."""


@dataclass(frozen=True)
class Package:
    """An installed package.

    Attributes:
        name: As it calls itself.
        version: Without a local part.
        licence: An SPDX expression where it can be told.
        source: Where that was read: `expression`, `field`, `classifier` or `file`.
        size_bytes: Its files as the wheel has them, without compiled Python.
        brought_by: The extras that bring it.
        libraries: Shared libraries that it carries, without the hash in their names.
        components: What its licence files and bills of materials say it contains.
        licence_text: Its licence files, one after the other.
    """

    name: str
    version: str
    licence: str
    source: str
    size_bytes: int
    brought_by: frozenset[str]
    libraries: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    licence_text: str = field(default="", repr=False)


@dataclass(frozen=True)
class Note:
    """What somebody read in a wheel, and the words there that it rests on."""

    package: str
    kind: str
    evidence: str
    says: str


def requirements(extras: Iterable[str]) -> dict[str, list[Requirement]]:
    """The project's own requirements, by extra; `ALWAYS` for those of no extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    rows = {ALWAYS: project["dependencies"]} | {extra: optional[extra] for extra in extras}
    return {
        extra: [Requirement(row) for row in lines if not row.startswith("medsdk[")]
        for extra, lines in rows.items()
    }


def closure(wanted: Iterable[Requirement]) -> dict[str, Distribution]:
    """What these requirements bring on this machine, by canonical name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    pending = [(item, "") for item in wanted]
    while pending:
        item, extra = pending.pop()
        if item.marker is not None and not item.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(item.name)
        try:
            found.setdefault(name, distribution(name))
        except PackageNotFoundError:
            raise SystemExit(f"{name} is not installed: make the environment first") from None
        for asked in ("", *item.extras):
            if (name, asked) not in seen:
                seen.add((name, asked))
                needs = found[name].requires or []
                pending += [(Requirement(need), asked) for need in needs]
    return found


def packages(extras: Sequence[str]) -> list[Package]:
    """What medsdk brings with these extras, without itself, by name."""
    brought: dict[str, set[str]] = {}
    items: dict[str, Distribution] = {}
    for extra, wanted in requirements(extras).items():
        for name, item in closure(wanted).items():
            items[name] = item
            brought.setdefault(name, set()).add(extra)
    return [_package(items[name], frozenset(brought[name])) for name in sorted(items)]


def _package(item: Distribution, brought_by: frozenset[str]) -> Package:
    files = [file for file in item.files or [] if "__pycache__" not in file.parts]
    text = "\n".join(_texts(item, files))
    name = item.metadata["Name"]
    licence, source = _licence(item, text)
    libraries = {_unhashed(file.name) for file in files if _LIBRARY.search(str(file))}
    return Package(
        name=name,
        version=item.version.partition("+")[0],
        licence=licence,
        source=source,
        size_bytes=sum(file.size or 0 for file in files),
        brought_by=brought_by,
        libraries=tuple(sorted(libraries, key=str.lower)),
        components=tuple(dict.fromkeys([*_components(name, text), *_materials(item, files)])),
        licence_text=text,
    )


def _texts(item: Distribution, files: Iterable[PurePosixPath]) -> Iterator[str]:
    for file in files:
        inside = "licenses" in file.parts and ".dist-info" in str(file)
        if (inside or _LICENCE_FILE.search(file.name)) and file.suffix not in (".py", ".so"):
            path = Path(str(item.locate_file(file)))
            yield path.read_text(encoding="utf-8", errors="replace")


def _licence(item: Distribution, text: str) -> tuple[str, str]:
    expression = item.metadata["License-Expression"]
    if expression:
        return str(expression), "expression"
    said = str(item.metadata["License"] or "").strip()
    if said in _NAMED:
        return _NAMED[said], "field"
    for classifier in item.metadata.get_all("Classifier") or []:
        name = classifier.removeprefix("License :: ")
        if name != classifier and name in _NAMED:
            return _NAMED[name], "classifier"
    for name, words in _TEXTS:
        if re.search(words, text, re.S):
            return name, "file"
    return "not told", "nowhere"


def _unhashed(name: str) -> str:
    """`libjpeg` of `libjpeg-6dc8d115.so.62.4.0`."""
    return re.sub(r"(-[0-9a-f]{8})+|_?-[0-9a-f]{8}(?=[-.])", "", name.partition(".so")[0])


# How the licence files of a wheel list what is inside: a pattern, and what to show of a match.
_HEADINGS = {
    "numpy": (r"^Name: (.+)\n(?:.+\n)*?License: (.+)$", "{0} ({1})"),
    "scipy": (r"^Name: (.+)\n(?:.+\n)*?License: (.+)$", "{0} ({1})"),
    "onnxruntime": (r"^_____\n\n(.+)$", "{0}"),
    "openvino": (r"^[-_]{20,}\s*\n+\d+\. +([^\n(]+?)(?: ?\(http.*| ?\(src.*)?$", "{0}"),
    "pillow": (r"^----\n\n([^\n-].*)$", "{0}"),
    "opencv-python-headless": (
        r"^(.+?)(?: library)? (?:is|are|and it's dependnecies are) redistributed within "
        r"(?:all )?opencv-python(?: Linux| Linux and macOS)? packages?",
        "{0}",
    ),
}


def _components(name: str, text: str) -> list[str]:
    """What the licence files say is inside; nothing for files of a form that is not known."""
    pattern, shown = _HEADINGS.get(str(canonicalize_name(name)), (r"(?!)", ""))
    matches = re.finditer(pattern, text, re.M)
    found = [shown.format(*(group.strip() for group in match.groups())) for match in matches]
    return sorted(set(found), key=str.lower)


def _materials(item: Distribution, files: Iterable[PurePosixPath]) -> list[str]:
    """Components of CycloneDX files in the wheel, with the licence where it is told."""
    own = str(canonicalize_name(item.metadata["Name"]))
    found = set()
    for file in files:
        if "sboms" not in file.parts or file.suffix != ".json":
            continue
        document = json.loads(Path(str(item.locate_file(file))).read_text(encoding="utf-8"))
        for part in document.get("components", []):
            if canonicalize_name(part["name"]) == own:
                continue
            told = [_told(entry) for entry in part.get("licenses", [])]
            optional = ["optional"] if part.get("scope") == "optional" else []
            inside = ", ".join([*told, *optional])
            found.add(f"{part['name']} ({inside})" if inside else part["name"])
    return sorted(found, key=str.lower)


def _told(entry: dict[str, object]) -> str:
    licence = entry.get("license")
    if isinstance(licence, dict):
        return str(licence.get("id") or licence.get("name"))
    return str(entry.get("expression"))


def notes(path: Path = NOTES) -> list[Note]:
    """The notes, in the order of the file."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["note"]
    return [Note(**row) for row in rows]


def constrained() -> frozenset[str]:
    """Canonical names of what constraints.txt pins; anything else moves by itself."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    return frozenset(canonicalize_name(line.partition("==")[0]) for line in lines)


def _table(items: Sequence[Package]) -> list[str]:
    fixed = constrained()
    rows = [
        "| package | version | licence | told by | MB | brought by |",
        "|---|---|---|---|---|---|",
    ]
    for item in items:
        extras = ", ".join(sorted(item.brought_by, key=lambda name: (name != ALWAYS, name)))
        pinned = canonicalize_name(item.name) in fixed
        version, size = (item.version, f"{item.size_bytes / 1e6:.1f}") if pinned else ("-", "-")
        columns = (item.name, version, item.licence, item.source, size, extras)
        rows.append(f"| {' | '.join(columns)} |")
    total = sum(item.size_bytes for item in items if canonicalize_name(item.name) in fixed) / 1e6
    return [*rows, f"| **{len(items)} packages** | | | | **{total:.1f}** | |", ""]


def _inside(items: Sequence[Package]) -> list[str]:
    rows = ["| package | shared libraries in the wheel | what its files name |", "|---|---|---|"]
    for item in items:
        if item.libraries or item.components:
            libraries = ", ".join(item.libraries) or "-"
            rows.append(f"| {item.name} | {libraries} | {'; '.join(item.components) or '-'} |")
    return [*rows, ""]


def _notes(kind: str) -> list[str]:
    rows = ["| package | words in the wheel | what it means here |", "|---|---|---|"]
    chosen = [note for note in notes() if note.kind == kind]
    rows += [f'| {note.package} | "{note.evidence}" | {note.says} |' for note in chosen]
    return [*rows, ""]


INTRODUCTION = """\
# Licences

Generated by `make licences` from the packages of `constraints.txt` as they are installed on Linux
x86-64 with Python {python}; a test holds this page to them. Do not edit it by hand. medsdk itself
is under Apache-2.0. Nothing here is legal advice.

**Told by** says where a licence was read: `expression` (the SPDX expression of the metadata),
`field` and `classifier` (older metadata that name one licence), `file` (the metadata are vague,
such as "BSD", and the text of the licence file is that of this licence). MB are the wheel's files
as they are unpacked, without compiled Python. A package that `constraints.txt` does not pin has
neither version nor size here.
"""

INSIDE = """\
Shared libraries by their names in the wheel, without versions and hashes. The last column repeats
the headings of the wheel's own licence files and its bills of materials, where it has any. A wheel
may name more than it contains, and contain more than it names. No licence file at all is in the
wheels of {bare}.
"""

GNU_INTRODUCTION = """\
No package on the device is under the GPL, the AGPL or the LGPL by its metadata. Every wheel whose
licence files or bills of materials speak of them is here:
"""

TENSORRT = """\
`tensorrt` and `tensorrt-rtx` are not brought by any extra and never part of an offline kit. The
licence of TensorRT-RTX excludes medical use: whether to install it is the customer's decision,
under its vendor's terms.
"""


def page() -> str:
    """The whole page."""
    device = packages(DEVICE_EXTRAS)
    on_device = {item.name for item in device}
    others = [item for item in packages(OTHER_EXTRAS) if item.name not in on_device]
    extras = ",".join(DEVICE_EXTRAS)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    bare = ", ".join(item.name for item in device if not item.licence_text)
    lines = [
        INTRODUCTION.format(python=python),
        "## On a device\n",
        f'All that `pip install "medsdk[{extras}]"` brings; `medsdk` in the last column: always.\n',
        *_table(device),
        "## Inside those wheels\n",
        INSIDE.format(bare=bare),
        *_inside(device),
        "## GNU licences inside those wheels\n",
        GNU_INTRODUCTION,
        *_notes("gnu"),
        "## Terms on medical or safety-critical use\n",
        *_notes("use"),
        TENSORRT,
        "## Never on a device\n",
        "What export, the demo's objects, the conformance kit and the tests bring beyond that.\n",
        *_table(others),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write or check.

    Returns:
        The exit status.
    """
    if list(arguments) not in ([], ["--check"]):
        sys.stderr.write("usage: licences.py [--check]\n")
        return 2
    wanted = page()
    if not arguments:
        PAGE.write_text(wanted, encoding="utf-8", newline="\n")
        return 0
    if PAGE.read_text(encoding="utf-8") != wanted:
        sys.stderr.write("docs/licences.md is not up to date: make licences\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
