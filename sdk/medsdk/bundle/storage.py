"""Where a bundle's bytes lie: the one interface of the directory and of the single file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from medsdk._refusals import BundleTamperedError, BundleUnreadableError
from medsdk.bundle.names import DEPTH, named
from medsdk_runtimes.operating_system import is_link

CHUNK_BYTES = 1024 * 1024

MANIFEST = "manifest.json"
MANIFEST_DIGEST = "manifest.sha256"


@dataclass(frozen=True)
class BundleLimits:
    """The most that a reader takes on; what goes beyond is refused before it is read.

    Attributes:
        manifest_bytes: Size of `manifest.json`.
        manifest_parts: How many `[`, `{` and `,` stand in it, in texts too: what parsing it costs.
        file_bytes: Size of one file.
        total_bytes: Size of all files.
        files: Number of files.
        array_bytes: Size of one decoded array.
    """

    manifest_bytes: int = 16 * 1024**2
    manifest_parts: int = 700_000
    file_bytes: int = 2 * 1024**3
    total_bytes: int = 16 * 1024**3
    files: int = 65_536
    array_bytes: int = 1024**3

    def check(self, size_bytes: int, files: int, total_bytes: int) -> None:
        """Refuse a file that goes beyond a limit.

        Args:
            size_bytes: Its size.
            files: Number of files up to this one.
            total_bytes: Their size, this one included.

        Raises:
            BundleUnreadableError: It does.
        """
        if size_bytes > self.file_bytes or total_bytes > self.total_bytes or files > self.files:
            raise BundleUnreadableError(
                "the bundle is larger than this reader takes on",
                got=f"{files} files, {total_bytes} bytes; the last of {size_bytes} bytes",
                expected=f"files of at most {self.file_bytes} bytes, at most "
                f"{self.files} of them, {self.total_bytes} bytes in all",
                remedy="take the bundle from its source again, or another one with fewer known "
                "answers",
            )


class Storage(Protocol):
    """A bundle's files by name. Nothing is kept open, and any number of threads may read.

    What it returns is not checked against the manifest: `Bundle` does that.
    """

    @property
    def path(self) -> Path:
        """The directory or the file."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Size in bytes of every file there was on opening, the manifest and signatures too."""

    def read(self, name: str, at_most: int) -> bytes:
        """The first bytes of a file.

        Args:
            name: A key of `sizes`.
            at_most: How many bytes; a file that grew is not read to its end.

        Raises:
            OSError: It cannot be read.
        """

    def chunks(self, name: str) -> Iterator[bytes]:
        """The whole file in pieces of at most 1 MiB.

        Args:
            name: A key of `sizes`.

        Raises:
            BundleTamperedError: The storage itself knows that these are other bytes.
            OSError: It cannot be read.
        """


def no_manifest(name: str) -> BundleUnreadableError:
    """What is there is no bundle: nothing in it is named, since it is not ours.

    Args:
        name: What is missing.
    """
    return BundleUnreadableError(
        f"what is there is no bundle: {name} is missing",
        got="something without it",
        expected=f"{MANIFEST} and {MANIFEST_DIGEST}",
        remedy="give the bundle itself, not the directory above or one inside it",
    )


@dataclass(frozen=True)
class Directory:
    """A bundle as a directory.

    Attributes:
        path: The directory.
        sizes: As in `Storage`.
    """

    path: Path
    sizes: Mapping[str, int]

    @classmethod
    def open(cls, path: Path, limits: BundleLimits) -> Directory:
        """List a directory; no file in it is opened.

        Args:
            path: An existing directory.
            limits: The most that is taken on.

        Raises:
            BundleTamperedError: A link, or something that is no plain file.
            BundleUnreadableError: It holds no manifest, or a limit is exceeded.
            OSError: It cannot be listed.
        """
        for name in (MANIFEST, MANIFEST_DIGEST):
            if not (path / name).is_file():
                raise no_manifest(name)
        return cls(path, dict(_walk(path, limits)))

    def read(self, name: str, at_most: int) -> bytes:
        """As `Storage.read`."""
        with (self.path / name).open("rb") as file:
            return file.read(at_most)

    def chunks(self, name: str) -> Iterator[bytes]:
        """As `Storage.chunks`."""
        with (self.path / name).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


def _walk(directory: Path, limits: BundleLimits) -> Iterator[tuple[str, int]]:
    """Every file below `directory` with its size; links and special files are refused."""
    pending = [("", directory, 0)]
    count = total = 0
    while pending:
        prefix, folder, depth = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                name = prefix + entry.name
                details = entry.stat(follow_symlinks=False)
                if is_link(Path(entry.path)):
                    raise BundleTamperedError(
                        "the bundle holds a link",
                        got=named(name),
                        expected="plain files only",
                        remedy="take the bundle from its source again",
                    )
                if stat.S_ISDIR(details.st_mode) and depth < DEPTH:
                    pending.append((f"{name}/", Path(entry.path), depth + 1))
                    continue
                if not stat.S_ISREG(details.st_mode):
                    raise BundleTamperedError(
                        "the bundle holds something that is no plain file",
                        got=named(name),
                        expected=f"plain files, at most {DEPTH} directories deep",
                        remedy="take the bundle from its source again",
                    )
                count += 1
                total += details.st_size
                limits.check(details.st_size, count, total)
                yield name, details.st_size


def cannot_read(what: str, error: OSError) -> BundleUnreadableError:
    """What the operating system said about a bundle that is read, without the path.

    Args:
        what: The bundle, or a file of it.
        error: The system's error.
    """
    return BundleUnreadableError(
        f"{what} cannot be read",
        got=error.strerror or type(error).__name__,
        expected="a directory or a file that `medsdk export` wrote and this user may read",
        remedy="look whether it is still there, whole and readable, and run it again",
    )


def contents(storage: Storage, name: str) -> Iterator[bytes]:
    """`storage.chunks`, for whoever writes them: what fails here is the source.

    Args:
        storage: The bundle that is read.
        name: A key of its `sizes`.

    Raises:
        BundleUnreadableError: The file cannot be read.
        BundleTamperedError: As `Storage.chunks`.
    """
    try:
        yield from storage.chunks(name)
    except OSError as error:
        raise cannot_read(f"{name} of the bundle", error) from error
