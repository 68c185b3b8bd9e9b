"""What is known to go wrong with the libraries that medsdk stands on, as data.

`anomalies.toml` has one record a fact. A record names the library, the versions with which it was
seen, and one of three things: a test here that reproduces it (`@pytest.mark.hazard(id)`), tests
elsewhere that do (`shown_by`), or why nothing reproduces it (`untested`). `outcomes.json` holds
what became of each version since; `make hazards` writes it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Final, Literal, get_args

from medsdk_runtimes.operating_system import cpu_flags

FOLDER: Final = Path(__file__).parent
RECORDS: Final = FOLDER / "anomalies.toml"
OUTCOMES: Final = FOLDER / "outcomes.json"

Need = Literal["avx2", "avx512_bf16", "no-vnni", "avx512_vnni", "linux", "environment"]
"""What a machine must have: instruction sets, no 8-bit dot product, Linux, another environment."""

Outcome = Literal["reproduces", "gone"]

NEEDS: Final[Mapping[Need, str]] = {
    "avx2": "a processor with AVX2",
    "avx512_bf16": "a processor with AVX512-BF16",
    "avx512_vnni": "a processor with AVX512-VNNI",
    "no-vnni": "an x86 processor without VNNI",
    "linux": "Linux",
    "environment": "another environment, made for it (`make hazards`)",
}
"""Each need in words."""


@dataclass(frozen=True)
class Anomaly:
    """One fact about a library.

    Attributes:
        id: Stable name.
        library: The distribution, as the registry names it.
        seen: Versions with which it was seen, oldest first; empty where nobody wrote them down.
        happens: What happens, in a sentence or two.
        medsdk: What medsdk does against it.
        hazard: Its number in the list of hazards that the project started from, or None.
        guards: Tests that show that medsdk is not reached by it.
        needs: What a machine must have to show it.
        shown_by: Tests elsewhere that reproduce it.
        untested: Why nothing reproduces it.
    """

    id: str
    library: str
    seen: tuple[str, ...]
    happens: str
    medsdk: str
    hazard: int | None = None
    guards: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    shown_by: tuple[str, ...] = ()
    untested: str = ""

    @property
    def installed(self) -> str:
        """The version that is installed, without a local part such as `+cpu`."""
        return release(installed_version(self.library))

    def missing_here(self) -> str | None:
        """What this machine lacks to show it, in words; None where nothing is missing."""
        flags = cpu_flags()
        here: dict[Need, bool] = {
            "avx2": "avx2" in flags,
            "avx512_bf16": "avx512_bf16" in flags,
            "avx512_vnni": "avx512_vnni" in flags,
            "no-vnni": "avx2" in flags and not flags & {"avx512_vnni", "avx_vnni"},
            "linux": Path("/proc/self/status").exists(),
            "environment": True,
        }
        lacking = [NEEDS[need] for need in self.needs if not here[need]]
        return f"it takes {' and '.join(lacking)}" if lacking else None


def release(version: str) -> str:
    """A version without its local part: `2.13.0` of `2.13.0+cpu`."""
    return version.partition("+")[0]


def anomalies(path: Path = RECORDS) -> tuple[Anomaly, ...]:
    """The records, in the order of the file.

    Args:
        path: A TOML file with an array `anomaly`.

    Raises:
        ValueError: A record is not whole, or a key is not known.
    """
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["anomaly"]
    found = tuple(_anomaly(row) for row in rows)
    ids = [record.id for record in found]
    if len(set(ids)) != len(ids):
        raise ValueError(f"an id stands twice: {sorted(ids)}")
    return found


def _anomaly(row: Mapping[str, Any]) -> Anomaly:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in row.items()
    }
    try:
        record = Anomaly(**fields)
    except TypeError as error:
        raise ValueError(f"{row.get('id')}: {error}") from None
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", record.id):
        raise ValueError(f"{record.id}: an id is lower case with hyphens")
    if not record.happens or not record.medsdk:
        raise ValueError(f"{record.id}: says nothing of what happens, or of what medsdk does")
    if unknown := set(record.needs) - set(get_args(Need)):
        raise ValueError(f"{record.id}: needs {sorted(unknown)}")
    if record.shown_by and record.untested:
        raise ValueError(f"{record.id}: is shown by a test and untested")
    return record


def outcomes(path: Path = OUTCOMES) -> dict[str, dict[str, Outcome]]:
    """What became of each record: id to version to outcome."""
    found: dict[str, dict[str, Outcome]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def record_outcomes(new: Mapping[str, Mapping[str, Outcome]], path: Path = OUTCOMES) -> None:
    """Add outcomes to those that are there: a machine that cannot show one takes none away."""
    merged = outcomes(path)
    for name, by_version in new.items():
        merged.setdefault(name, {}).update(by_version)
    text = json.dumps(merged, indent=1, sort_keys=True) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")
