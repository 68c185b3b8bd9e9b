"""Opening a bundle: digests before any parser, limits before any allocation."""

from __future__ import annotations

import hashlib
import json
import math
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from medsdk._refusals import BundleTamperedError, BundleUnreadableError, shown
from medsdk.bundle.manifest import Manifest
from medsdk.bundle.names import is_signature, named
from medsdk.bundle.one_file import OneFile
from medsdk.bundle.storage import (
    MANIFEST,
    MANIFEST_DIGEST,
    BundleLimits,
    Directory,
    Storage,
    cannot_read,
    no_manifest,
)
from medsdk.canonical import parse_json, sha256_of
from medsdk.tasks.schema import Task
from medsdk.tasks.versions import check_format_version, drop_optional

_AGAIN = "take the bundle from its source again"

_NPY_HEADER = re.compile(
    rb"\x93NUMPY(?:\x01\x00(..)|\x02\x00(....))"
    rb"\{'descr': '([<|][biuf][1-9]\d?)', 'fortran_order': False, "
    rb"'shape': \(((?:\d{1,10}, ?)*(?:\d{1,10})?)\), \} *\n",
    re.DOTALL,
)
_NPY_HEADER_BYTES = 1024
_NPY_AXES = 32


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its manifest, and bytes that are checked whenever they are read.

    Attributes:
        storage: Where it lies, as a directory or as one file.
        manifest: What it says of itself.
        sha256: Its identity, the digest of `manifest.json`; the same in either form.
        limits: What the reader takes on.
    """

    storage: Storage
    manifest: Manifest
    sha256: str
    limits: BundleLimits

    @classmethod
    def open(cls, path: Path | str, limits: BundleLimits | None = None) -> Bundle:
        """Check every digest of a bundle, then parse its manifest. Nothing is unpacked.

        Args:
            path: The bundle's directory, or the one file that it is.
            limits: The most that is taken on; None for the usual limits.

        Returns:
            The bundle. It keeps no file open.

        Raises:
            BundleUnreadableError: There is no bundle, or its manifest or archive is malformed, or
                a limit is exceeded.
            BundleTamperedError: Contents differ from the digests: a changed, missing, extra or
                linked file.
            FormatVersionError: It is of a format version that this release does not read.
        """
        limits = limits or BundleLimits()
        try:
            with _opened(Path(path), limits) as storage:
                bundle = cls._open(storage, limits)
        except OSError as error:
            raise cannot_read("the bundle", error) from error
        if isinstance(storage, OneFile):
            return replace(bundle, storage=storage.released())
        return bundle

    @classmethod
    def _open(cls, storage: Storage, limits: BundleLimits) -> Bundle:
        sizes = storage.sizes
        for name in (MANIFEST, MANIFEST_DIGEST):
            if name not in sizes:
                raise no_manifest(name)
        for name, most in ((MANIFEST, limits.manifest_bytes), (MANIFEST_DIGEST, 256)):
            if sizes[name] > most:
                raise BundleUnreadableError(
                    f"{name} is too large",
                    got=f"{sizes[name]} bytes",
                    expected=f"at most {most} bytes",
                    remedy=_AGAIN,
                )
        text = storage.read(MANIFEST, sizes[MANIFEST])
        digest = sha256_of(text)
        # The exact bytes, so that no flipped byte of the digest file itself goes unseen.
        if storage.read(MANIFEST_DIGEST, sizes[MANIFEST_DIGEST]) != f"{digest}\n".encode():
            raise BundleTamperedError(
                f"{MANIFEST} does not match {MANIFEST_DIGEST}",
                got=f"sha256 {digest}",
                expected="the digest that was written with it",
                remedy=_AGAIN,
            )
        manifest = _parse_manifest(text, limits)
        _check_files(storage, manifest)
        return cls(storage, manifest, digest, limits)

    def read(self, name: str) -> bytes:
        """One file's bytes, checked against its digest as they are read.

        Args:
            name: A path of `manifest.files`.

        Returns:
            The bytes that were hashed; nothing is read twice.

        Raises:
            BundleTamperedError: The file changed since the bundle was opened.
            BundleUnreadableError: It cannot be read.
        """
        record = self.manifest.files[name]
        try:
            data = self.storage.read(name, record.size_bytes + 1)
        except OSError as error:
            raise cannot_read(f"{name} of the bundle", error) from error
        if len(data) != record.size_bytes or sha256_of(data) != record.sha256:
            raise _changed(name)
        return data

    def array(self, name: str) -> NDArray[np.generic]:
        """One `.npy` file as an array; pickled objects are refused.

        Args:
            name: A path of `manifest.files`.

        Returns:
            The array, read-only.

        Raises:
            BundleTamperedError: The file changed since the bundle was opened.
            BundleUnreadableError: It is no plain `.npy` file, or its header lies.
        """
        data = self.read(name)
        return parse_npy(data, name, self.limits.array_bytes)


def parse_npy(data: bytes, name: str, limit_bytes: int) -> NDArray[np.generic]:
    """Parse a `.npy` file whose header must agree with the number of bytes there.

    Args:
        data: The whole file.
        name: What it is called in errors.
        limit_bytes: The largest array.

    Returns:
        A read-only, C-contiguous array over `data`; any numeric or boolean dtype.

    Raises:
        BundleUnreadableError: Another version than 1.0 and 2.0, object dtype, Fortran order, a
            size that does not fit.
    """
    # Not numpy's own parser: given a hostile header it raises a dozen kinds of error.
    header = _NPY_HEADER.match(data[:_NPY_HEADER_BYTES])
    if header is None:
        raise _no_npy(name)
    length = header[1] or header[2]
    if header.end() != 8 + len(length) + int.from_bytes(length, "little"):
        raise _no_npy(name)
    try:
        dtype = np.dtype(header[3].decode())
    except TypeError as error:
        raise _no_npy(name) from error
    shape = tuple(int(axis) for axis in header[4].split(b",") if axis.strip())
    expected = math.prod(shape) * dtype.itemsize
    there = len(data) - header.end()
    # Without the zeros, since numpy refuses (0, 2**60, 2**60) as well.
    largest = math.prod(axis for axis in shape if axis) * dtype.itemsize
    if largest > limit_bytes or expected != there or len(shape) > _NPY_AXES:
        raise BundleUnreadableError(
            f"the header of {name} does not fit its contents",
            got=f"dtype {dtype}, shape {shape}, {there} bytes of data",
            expected=f"an array of {expected} bytes, at most {limit_bytes}",
            remedy=_AGAIN,
        )
    return np.frombuffer(data, dtype=dtype, offset=header.end()).reshape(shape)


def _no_npy(name: str) -> BundleUnreadableError:
    return BundleUnreadableError(
        f"{name} is no .npy file that medsdk reads",
        got="another header",
        expected="version 1.0 or 2.0, C order, little endian, a boolean or numeric dtype",
        remedy=_AGAIN,
    )


def _parse_manifest(text: bytes, limits: BundleLimits) -> Manifest:
    parts = sum(text.count(mark) for mark in (b"[", b"{", b","))
    if parts > limits.manifest_parts:  # each costs up to a kilobyte once it is parsed
        raise BundleUnreadableError(
            f"{MANIFEST} holds more than this reader takes on",
            got=f"{parts} lists, objects and commas",
            expected=f"at most {limits.manifest_parts}",
            remedy=_AGAIN,
        )
    try:
        document = parse_json(text)
    except ValueError as error:
        raise BundleUnreadableError(
            f"{MANIFEST} is no JSON that medsdk reads",
            got=str(error),
            expected="UTF-8, each key once in its object, finite numbers",
            remedy=_AGAIN,
        ) from error
    if not isinstance(document, dict):
        raise BundleUnreadableError(
            f"{MANIFEST} is no JSON object",
            got=type(document).__name__,
            expected="an object",
            remedy=_AGAIN,
        )
    listed = document.get("files")
    if isinstance(listed, dict) and len(listed) > limits.files:
        raise BundleUnreadableError(
            f"{MANIFEST} lists more files than this reader takes on",
            got=f"{len(listed)} files",
            expected=f"at most {limits.files}",
            remedy=_AGAIN,
        )
    check_format_version(document.get("format_version"), "the bundle")
    document = drop_optional(document, set(Manifest.model_fields))
    task = document.get("task")
    if isinstance(task, dict):
        check_format_version(task.get("format_version"), "the bundle's task")
        document["task"] = drop_optional(task, set(Task.model_fields))
    try:
        return Manifest.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        key, message = shown(key)[1:-1], shown(first["msg"], 300)[1:-1]
        raise BundleUnreadableError(
            f"{MANIFEST} is not what a bundle's manifest must be",
            got=f"{key}: {message} ({error.error_count()} problems)",
            expected="what docs/bundle.md describes",
            remedy=_AGAIN,
        ) from error


def _opened(path: Path, limits: BundleLimits) -> AbstractContextManager[Storage]:
    if path.is_dir():
        return nullcontext(Directory.open(path, limits))
    if path.exists():
        return OneFile.holding(path, limits)
    raise BundleUnreadableError(
        "there is no bundle",
        got="nothing at that path",
        expected="a directory with manifest.json, or a .medsdk file, as `medsdk export` writes it",
        remedy="give the bundle itself; `medsdk demo` makes one to try",
    )


def _check_files(storage: Storage, manifest: Manifest) -> None:
    """The files there are those of the manifest; every one is read, signatures too."""
    found = {
        name
        for name in storage.sizes
        if name not in (MANIFEST, MANIFEST_DIGEST) and not is_signature(name)
    }
    missing = sorted(manifest.files.keys() - found)
    extra = sorted(found - manifest.files.keys())
    if missing or extra:
        raise BundleTamperedError(
            "the bundle's files are not those of its manifest",
            got=f"missing: {', '.join(missing[:5]) or 'none'}; "
            f"extra: {', '.join(map(named, extra[:5])) or 'none'}",
            expected=f"the {len(manifest.files)} files that {MANIFEST} lists",
            remedy=_AGAIN,
        )
    for name, record in manifest.files.items():
        if storage.sizes[name] != record.size_bytes:
            raise _changed(name)
    for name in storage.sizes:
        digest = hashlib.sha256()
        for chunk in storage.chunks(name):
            digest.update(chunk)
        if name in manifest.files and digest.hexdigest() != manifest.files[name].sha256:
            raise _changed(name)


def _changed(name: str) -> BundleTamperedError:
    return BundleTamperedError(
        f"{name} of the bundle is not what was written",
        got="another sha256 or size",
        expected=f"the digest in {MANIFEST}",
        remedy=_AGAIN,
    )
