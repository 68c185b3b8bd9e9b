"""Model files that want to run code, or are damaged: refused, and nothing runs."""

from __future__ import annotations

import io
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from medsdk.tasks import catalogue_task
from medsdk_export.architectures import build
from medsdk_export.errors import PickleRefusedError, SourceUnreadableError
from medsdk_export.from_torch import load_state
from medsdk_export.sources import read_source
from medsdk_runtimes.errors import MedsdkError

NETWORK = catalogue_task("uterus-mr/tumor-filter").networks["filter"]


class _Runs:
    """A pickle of it runs a command when it is loaded without care."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.canary}'",)


def _save(content: object, *, archive: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=archive)
    return stream.getvalue()


def _refusal(path: Path, data: bytes) -> MedsdkError:
    path.write_bytes(data)
    with pytest.raises(MedsdkError) as caught:
        read_source(path, NETWORK)
    assert caught.value.exit_status == 4
    assert str(path.parent) not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("place", ["bare", "state_dict", "beside"])
def test_a_pickle_that_runs_code_is_refused_by_name(
    archive: bool, place: str, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    evil = _Runs(canary)
    content = {
        "bare": evil,
        "state_dict": {"state_dict": evil},
        "beside": {"state_dict": {"w": torch.zeros(1)}, "args": evil},
    }[place]
    error = _refusal(tmp_path / "weights.pt", _save(content, archive=archive))
    assert isinstance(error, PickleRefusedError)
    assert f"{os.system.__module__}.system" in error.got  # posix.system, nt.system
    assert "safetensors" in error.remedy
    assert "add_safe_globals" not in str(error)  # torch's own advice would let it run
    assert not canary.exists()
    pickle.loads(pickle.dumps(evil))  # the canary does sing where nobody is careful
    assert canary.exists()


def test_a_plain_pickle_is_refused(tmp_path: Path) -> None:
    for protocol in range(2, 6):
        data = pickle.dumps(_Runs(tmp_path / "canary"), protocol=protocol)
        error = _refusal(tmp_path / "weights.pth", data)
        assert isinstance(error, PickleRefusedError)
    assert not (tmp_path / "canary").exists()


def test_a_whole_module_is_refused_by_name(tmp_path: Path) -> None:
    data = _save(build("mobilenet-v2", {"width": 0.1, "classes": 2}))
    error = _refusal(tmp_path / "model.pt", data)
    assert isinstance(error, PickleRefusedError)
    assert "MobileNetV2" in error.got
    assert "state_dict()" in error.remedy
    data = _save(torch.nn.Linear(2, 2))
    assert "torch.nn.modules.linear.Linear" in _refusal(tmp_path / "model.pt", data).got


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    scripted = torch.jit.script(torch.nn.Linear(2, 2))
    torch.jit.save(scripted, stream)
    error = _refusal(tmp_path / "model.pt", stream.getvalue())
    assert isinstance(error, PickleRefusedError)
    assert "TorchScript" in error.got


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ".onnx"])
@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"P", b"PK\3\4" + bytes(200), b"hello, this is a text\n" * 9, bytes(range(256))],
    ids=["empty", "zero", "letter", "half-zip", "text", "bytes"],
)
def test_what_is_no_model_is_unreadable(suffix: str, data: bytes, tmp_path: Path) -> None:
    assert isinstance(_refusal(tmp_path / f"model{suffix}", data), SourceUnreadableError)


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
def test_a_truncated_checkpoint_is_unreadable(archive: bool, tmp_path: Path) -> None:
    whole = _save({"w": torch.arange(3000.0)}, archive=archive)
    for length in (20, 30, 150, len(whole) // 2, len(whole) - 40, len(whole) - 1):
        error = _refusal(tmp_path / "weights.pt", whole[:length])
        assert isinstance(error, SourceUnreadableError), length


def test_damage_is_always_an_error_of_ours(tmp_path: Path) -> None:
    state = {"a": torch.zeros(3, 4), "b": torch.ones(2)}
    rng = random.Random(20)
    files = [
        (".pt", _save(state)),
        (".pt", _save(state, archive=False)),
        (".safetensors", safetensors.torch.save(state)),
    ]
    refused = 0
    for suffix, whole in files:
        for _ in range(400):
            data = bytearray(whole)
            for _ in range(rng.choice((1, 1, 4))):
                data[rng.randrange(min(700, len(data)))] ^= 1 << rng.randrange(8)
            if rng.random() < 0.2:
                data = data[: rng.randrange(len(data))]
            try:
                load_state(bytes(data), suffix)
            except MedsdkError:
                refused += 1
    assert refused > 400  # anything else that is raised fails the test


@pytest.mark.parametrize(
    "content",
    [[torch.zeros(1)], torch.zeros(1), 7, {"w": 1}, {3: torch.zeros(1)}, {"model": {"w": "no"}}],
)
def test_no_state_dictionary_is_said_so(content: object, tmp_path: Path) -> None:
    error = _refusal(tmp_path / "weights.pt", _save(content))
    assert isinstance(error, SourceUnreadableError)
    assert "no state dictionary" in error.what
    assert "model.state_dict()" in error.remedy


def test_missing_files_directories_and_other_kinds(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadableError, match="nothing at that path"):
        read_source(tmp_path / "nothing.pt", NETWORK)
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(SourceUnreadableError, match="a directory"):
        read_source(tmp_path / "folder.pt", NETWORK)
    for name in ("model", "model.pkl", "model.pb", "model.npz"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(SourceUnreadableError, match=r"this kind of model file.*\.onnx"):
            read_source(tmp_path / name, NETWORK)


def test_a_file_that_cannot_be_read_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "model.onnx").write_bytes(b"x")
    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(SourceUnreadableError, match="Permission denied") as caught:
        read_source(tmp_path / "model.onnx", NETWORK)
    assert str(tmp_path) not in str(caught.value)
