"""The command line in this process, and what it is given."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest

from medsdk.cli.main import run


@dataclass(frozen=True)
class Done:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output; anything else there is an error."""

        def refuse(constant: str) -> None:
            raise ValueError(f"{constant} is no JSON")

        assert self.out.endswith("}\n")
        return json.loads(self.out, parse_constant=refuse)


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Done]]:
    """Runs `medsdk` with some words; captures what reaches the file descriptors."""
    before = signal.getsignal(signal.SIGTERM)

    def call(*words: object) -> Done:
        capfd.readouterr()
        status = run([str(word) for word in words])
        return Done(status, *capfd.readouterr())

    yield call
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def image(bundle_dir: Path) -> bytes:
    """A DICOM file that the bundle's task takes."""
    return next(iter(sorted(bundle_dir.glob("known_answers/*/input.dcm")))).read_bytes()


@pytest.fixture
def changed(image: bytes) -> Callable[..., bytes]:
    """That file with other attributes; None leaves one out."""

    def make(**attributes: Any) -> bytes:
        dataset = pydicom.dcmread(io.BytesIO(image))
        for keyword, value in attributes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        return stream.getvalue()

    return make


@pytest.fixture
def signed_again(bundle_dir: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the bundle whose manifest a function changed, with a right digest."""

    def make(change: Callable[[dict[str, Any]], None], name: str = "changed bundle") -> Path:
        folder = tmp_path / name
        shutil.copytree(bundle_dir, folder)
        manifest = json.loads((folder / "manifest.json").read_bytes())
        change(manifest)
        text = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        (folder / "manifest.json").write_bytes(text)
        (folder / "manifest.sha256").write_text(f"{hashlib.sha256(text).hexdigest()}\n")
        return folder

    return make
