"""Writing a bundle: file by file into a fresh directory, the manifest last."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsdk._refusals import BundleFormError, OutputNotWritableError, shown
from medsdk.bundle.manifest import FileRecord, Manifest
from medsdk.bundle.names import is_file_name
from medsdk.bundle.storage import MANIFEST, MANIFEST_DIGEST
from medsdk.canonical import canonical_json, sha256_of


class BundleWriter:
    """Collects the files of a bundle in a directory that nobody reads yet.

    Args:
        directory: An empty directory, see `medsdk.atomic.new_directory`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files: dict[str, FileRecord] = {}

    def add(self, name: str, data: bytes) -> str:
        """Write one file.

        Args:
            name: Path inside the bundle, `/` between parts.
            data: Its contents.

        Returns:
            The name, for the manifest.

        Raises:
            ValueError: The name was added before.
            BundleFormError: No file of a bundle may have that name.
            OutputNotWritableError: The place is full or cannot be written.
        """
        if not is_file_name(name):
            raise BundleFormError(
                "a file of the bundle would have a name that it may not have",
                got=shown(name),
                expected="the names that docs/bundle.md describes",
                remedy="give the task's role, output or variant another name",
            )
        if name in self.files:
            raise ValueError(f"{name} was added before")
        self._write(name, data)
        self.files[name] = FileRecord(size_bytes=len(data), sha256=sha256_of(data))
        return name

    def add_array(self, name: str, array: NDArray[np.generic]) -> str:
        """Write one array as `.npy` version 1.0, C order, little endian.

        Args:
            name: Path inside the bundle, ending in `.npy`.
            array: Any numeric dtype.

        Returns:
            The name, for the manifest.
        """
        stream = io.BytesIO()
        plain = np.ascontiguousarray(array)
        np.lib.format.write_array(
            stream,
            plain.astype(plain.dtype.newbyteorder("<"), copy=False),
            version=(1, 0),
            allow_pickle=False,
        )
        return self.add(name, stream.getvalue())

    def finish(self, manifest: Manifest) -> str:
        """Write the manifest and its digest.

        Args:
            manifest: Complete, with `files` as this writer has them.

        Returns:
            The bundle's identity, sha256 of `manifest.json`.
        """
        text = canonical_json(manifest.model_dump(mode="json", exclude_none=True))
        digest = sha256_of(text)
        self._write(MANIFEST, text)
        self._write(MANIFEST_DIGEST, f"{digest}\n".encode())
        return digest

    def _write(self, name: str, data: bytes) -> None:
        path = self.directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise OutputNotWritableError.from_os("the bundle", error) from error
