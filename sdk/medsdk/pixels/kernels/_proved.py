"""Which versions of a library were compared with the reference and did not differ.

Only what was run is listed: `python -m medsdk_export.prove_kernels LIBRARY` with that version
installed, on a machine of that kind. A version, build or machine that is not here is not
trusted: numpy does the work.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Proved:
    """Where the library may stand in for the reference.

    Attributes:
        versions: What the library calls itself.
        machines: `platform.system()` and `platform.machine()`. Elsewhere a compiler may fuse a
            multiplication and an addition, which can move a weight by one unit.
    """

    versions: tuple[str, ...]
    machines: tuple[str, ...]

    def covers(self, version: str) -> bool:
        """Whether a version may be used on this machine."""
        here = f"{platform.system()} {platform.machine()}"
        return version in self.versions and here in self.machines


PROVED: Final = {
    "pillow": Proved(
        versions=("11.0.0", "11.3.0", "12.0.0", "12.1.1", "12.2.0", "12.3.0", "13.0.0"),
        machines=("Linux x86_64",),
    ),
    "opencv": Proved(
        versions=("4.10.0", "4.11.0", "4.12.0", "4.13.0", "5.0.0"),
        machines=("Linux x86_64",),
    ),
}
"""Library to what was proved. OpenCV 4.8 does not import beside numpy 2, which medsdk needs."""
