"""The machine's identity: what a measurement made here depends on, and nothing private.

No host name, user, serial number or path is part of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

from medsdk_runtimes import operating_system

LIBRARIES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
    "pillow",
    "pydicom",
)
"""Distributions whose version can change what is computed; the absent ones are left out."""

_GIB = 1024**3

# Best first: what decides which 8-bit kernels a library takes. The flags are Linux's names.
_TIERS = (
    ("amx_int8", "amx"),
    ("avx512_vnni", "avx512_vnni"),
    ("avx512f", "avx512"),
    ("avx_vnni", "avx2_vnni"),
    ("avx2", "avx2"),
    ("sse4_2", "sse42"),
    ("i8mm", "neon_i8mm"),
    ("asimddp", "neon_dotprod"),
    ("asimd", "neon"),
)

_DOT_PRODUCTS = frozenset({"amx", "avx512_vnni", "avx2_vnni"})


@dataclass(frozen=True)
class Machine:
    """What a measurement made on this machine depends on.

    Attributes:
        cpu_model: Name of the processor.
        architecture: Of the running Python, e.g. `x86_64`, `AMD64`, `aarch64`.
        isa: Best instruction-set tier of the processor for 8-bit kernels: `amx`,
            `avx512_vnni`, `avx512`, `avx2_vnni`, `avx2`, `sse42`, `neon_i8mm`,
            `neon_dotprod`, `neon`, or empty. Windows cannot tell `avx512_vnni` from `avx512`.
        cores: Cores this process may use.
        memory_bytes: Physical memory rounded to whole GiB, since the kernel's own share
            differs a little from one start to the next.
        system: `Linux` or `Windows`.
        system_version: Distribution and version, or Windows build.
        python: Implementation and version.
        libraries: Version by distribution name, for the installed ones of `LIBRARIES`.
    """

    cpu_model: str
    architecture: str
    isa: str
    cores: int
    memory_bytes: int
    system: str
    system_version: str
    python: str
    libraries: Mapping[str, str]

    @property
    def digest(self) -> str:
        """sha256 (hexadecimal) of the record as canonical JSON."""
        document = dataclasses.asdict(self) | {"libraries": dict(self.libraries)}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def identify(libraries: tuple[str, ...] = LIBRARIES) -> Machine:
    """Read the identity of this machine; imports no library.

    Args:
        libraries: Distributions whose version belongs to the identity.
    """
    return Machine(
        cpu_model=operating_system.cpu_model(),
        architecture=platform.machine(),
        isa=isa_tier(operating_system.cpu_flags()),
        cores=operating_system.usable_cores(),
        memory_bytes=round(operating_system.memory_total_bytes() / _GIB) * _GIB,
        system=platform.system(),
        system_version=operating_system.system_version(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        libraries=_versions(libraries),
    )


def isa_tier(flags: frozenset[str]) -> str:
    """Best instruction-set tier among a processor's flags (Linux's names); empty if none."""
    return next((tier for flag, tier in _TIERS if flag in flags), "")


def sums_bytes_exactly(flags: frozenset[str]) -> bool:
    """Whether libraries have exact 8-bit layers on an x86 processor with these flags (Linux's).

    With a dot product (VNNI, AMX) sums of products of bytes are made in 32 bits. Without one
    libraries take `vpmaddubsw`, whose sums of two products saturate at 16 bits. False where it is
    not known: on Arm, where it was not measured, and on Windows, which does not tell.
    """
    return isa_tier(flags) in _DOT_PRODUCTS


def _versions(names: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
