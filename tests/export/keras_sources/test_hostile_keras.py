"""Keras files that want code to run, memory or time: refused, and nothing of it happens."""

from __future__ import annotations

import json
import marshal
import shutil
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from medsdk_export.errors import (
    GraphMismatchError,
    LayerRefusedError,
    SourceUnreadableError,
)
from medsdk_export.from_keras import read_keras
from medsdk_export.keras_source import _config, files
from medsdk_export.keras_source.process import KerasProcess
from medsdk_runtimes.errors import MedsdkError

GIB = 1024**3


@pytest.fixture(scope="module")
def scanner() -> Any:
    """A process that looks files over and never needs TensorFlow."""
    held = KerasProcess()
    yield held
    held.close()


def refusal(process: KerasProcess, path: Path, network: Any) -> MedsdkError:
    """What the file is refused with, within ten seconds."""
    start = time.monotonic()
    with pytest.raises(MedsdkError) as caught:
        read_keras(path, network, process)
    assert time.monotonic() - start < 10
    assert str(path.parent) not in str(caught.value)
    assert process.alive
    return caught.value


def repacked(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A `.keras` file whose configuration was changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            new.writestr(name, data)
    return target


@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5"])
def test_a_lambda_is_named_with_the_way_around_it(name, keras_files, scanner, make_network):
    error = refusal(scanner, keras_files / name, make_network())
    assert isinstance(error, LayerRefusedError)
    assert error.exit_status == 4
    assert "Lambda in the layer twice" in error.got
    assert "catalogue architecture" in error.remedy
    assert ".onnx" in error.remedy
    assert "safe_mode=False" not in str(error)  # Keras's own advice would let it run


@pytest.mark.parametrize("name", ["custom.keras", "custom.h5"])
def test_a_class_of_its_authors_is_named(name, keras_files, scanner, make_network):
    error = refusal(scanner, keras_files / name, make_network())
    assert isinstance(error, LayerRefusedError)
    assert "vendor>Doubled in the layer doubled" in error.got


def test_half_precision_is_named(keras_files, scanner, make_network):
    error = refusal(scanner, keras_files / "half.keras", make_network())
    assert isinstance(error, GraphMismatchError)
    assert "mixed_float16 in the layer half" in error.got


def _code(canary: Path) -> str:
    import base64

    code = compile(f"open({str(canary)!r}, 'w')", "x", "eval")
    return base64.b64encode(marshal.dumps(code)).decode()


def _evil_layers(canary: Path) -> dict[str, dict[str, Any]]:
    """What may stand where a layer stands, or inside one, that Keras would look up or run."""
    lambda_value = {"class_name": "__lambda__", "config": {"value": _code(canary)}}
    return {
        "marshalled": {
            "module": "keras.layers", "class_name": "Lambda", "registered_name": None,
            "config": {"name": "evil", "function": lambda_value},
        },
        "lambda-in-dense": {
            "module": "keras.layers", "class_name": "Dense", "registered_name": None,
            "config": {"name": "evil", "units": 2, "activation": lambda_value},
        },
        "module": {
            "module": "os", "class_name": "system", "registered_name": None,
            "config": {"name": "evil", "command": f"touch {canary}"},
        },
        "function": {
            "module": "keras.layers", "class_name": "Dense", "registered_name": None,
            "config": {
                "name": "evil", "units": 2,
                "activation": {
                    "module": "builtins", "class_name": "function", "config": "eval",
                    "registered_name": "eval",
                },
            },
        },
        "registered-name": {
            "module": "keras.layers", "class_name": "Dense", "registered_name": "evil>Dense",
            "config": {"name": "evil", "units": 2},
        },
        "keras-utility": {
            "module": "keras.utils", "class_name": "get_file", "registered_name": None,
            "config": {"name": "evil", "origin": f"file://{canary}", "fname": str(canary)},
        },
        "inner-module": {
            "module": "keras.src.saving.saving_lib", "class_name": "load_model",
            "registered_name": None, "config": {"name": "evil"},
        },
        "operation": {
            "module": "keras.src.ops.core", "class_name": "Map", "registered_name": None,
            "config": {"name": "evil"},
        },
        "typespec": {
            "class_name": "__typespec__", "spec_name": "system", "module": "os",
            "registered_name": "system", "config": [f"touch {canary}"],
        },
        "wrapper": {
            "module": "keras.layers", "class_name": "TorchModuleWrapper", "registered_name": None,
            "config": {"name": "evil", "module": "x"},
        },
        "savedmodel": {
            "module": "keras.layers", "class_name": "TFSMLayer", "registered_name": None,
            "config": {"name": "evil", "filepath": str(canary)},
        },
        "vocabulary": {
            "module": "keras.layers", "class_name": "StringLookup", "registered_name": None,
            "config": {"name": "evil", "vocabulary": "/etc/passwd"},
        },
        "no-class": {"module": "os", "registered_name": "system", "config": {"name": "evil"}},
        "tf-op": {
            "class_name": "TFOpLambda", "config": {"name": "evil", "function": "io.write_file"},
        },
    }  # fmt: skip


@pytest.mark.parametrize("kind", list(_evil_layers(Path("x"))))
@pytest.mark.parametrize("form", ["keras", "h5"])
def test_a_configuration_that_names_code_is_refused(
    kind, form, keras_files, scanner, make_network, tmp_path
):
    canary = tmp_path / "canary"
    evil = _evil_layers(canary)[kind]

    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][1] = evil

    target = tmp_path / f"evil.{form}"
    if form == "keras":
        repacked(keras_files / "small.keras", target, change)
    else:
        shutil.copy(keras_files / "small.h5", target)
        with h5py.File(target, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config)
            file.attrs["model_config"] = json.dumps(config)
    error = refusal(scanner, target, make_network())
    assert isinstance(error, LayerRefusedError)
    assert "evil" in error.got or kind in ("typespec", "no-class")
    assert not canary.exists()


def test_nothing_is_made_of_a_compile_config(keras_files, process, make_network, tmp_path):
    """A layer that reads a file stands where the loss stands: made, it would not find it."""
    canary = {
        "module": "keras.layers", "class_name": "StringLookup", "registered_name": None,
        "config": {"name": "evil", "vocabulary": str(tmp_path / "canary.txt")},
    }  # fmt: skip

    def change(config: dict[str, Any]) -> None:
        assert config["compile_config"]["loss"] == "categorical_crossentropy"
        config["compile_config"]["loss"] = canary
        config["config"]["layers"][2]["compile_config"] = {"optimizer": canary}

    path = repacked(keras_files / "small.keras", tmp_path / "evil.keras", change)
    with files.opened(path) as (facts, _):
        assert "compile_config" not in json.dumps(facts.config)
        assert "StringLookup" not in json.dumps(facts.config)
    assert read_keras(path, make_network(), process).facts["activation_removed"] == "softmax"


@pytest.mark.parametrize("root", ["keras", "tf_keras", "tensorflow.keras"])
def test_modules_get_their_present_names(root):
    """However TensorFlow's Keras called them."""
    old = {"module": f"{root}.layers", "class_name": "Dense", "config": {"name": "fc"}}
    assert _config.modernised([old]) == [old | {"module": "keras.layers"}]


def test_every_layer_that_is_let_through_is_kerass_own(keras_files):
    """The list holds no Lambda and nothing that reads files or holds other frameworks' code."""
    bad = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer", "StringLookup"}
    assert not bad & (_config.LAYERS | _config.OPERATIONS | _config.CONFIGURED)


def _set(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][1]["config"][key] = value

    return change


def _deep(config: dict[str, Any]) -> None:
    node: dict[str, Any] = {}
    config["config"]["layers"][1]["config"]["kernel_initializer"] = node
    for _ in range(200):
        node["config"] = {}
        node = node["config"]


def _many(config: dict[str, Any]) -> None:
    config["config"]["layers"] = config["config"]["layers"][:1] * 6000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("filters", 2**40), "filters in the layer c1"),
        (_set("kernel_size", [10**9, 10**9]), "kernel_size in the layer c1"),
        (_deep, "64 deep"),
        (_many, "6001 layers"),
    ],
)
def test_sizes_out_of_all_proportion(change, message, keras_files, scanner, make_network, tmp_path):
    path = repacked(keras_files / "small.keras", tmp_path / "big.keras", change)
    error = refusal(scanner, path, make_network())
    assert isinstance(error, SourceUnreadableError)
    assert message in error.got


def test_json_that_never_ends(keras_files, scanner, make_network, tmp_path):
    with zipfile.ZipFile(keras_files / "small.keras") as old:
        parts = {name: old.read(name) for name in old.namelist()}
    parts["config.json"] = b"[" * 100_000
    with zipfile.ZipFile(tmp_path / "deep.keras", "w") as new:
        for name, data in parts.items():
            new.writestr(name, data)
    assert "nested too deep" in refusal(scanner, tmp_path / "deep.keras", make_network()).got


def test_layers_larger_than_the_files_weights(keras_files, process, make_network, tmp_path):
    """Within every limit by itself; Keras would take 40 GB to build it."""

    def change(config: dict[str, Any]) -> None:
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "Dense":
                layer["config"]["units"] = 100_000

    path = repacked(keras_files / "small.keras", tmp_path / "wide.keras", change)
    read_keras(keras_files / "small.keras", make_network(), process)  # TensorFlow is there
    start, before = time.monotonic(), peak_bytes(process)
    # Watched, since TensorFlow ends the process where its allocator gets nothing; what the
    # system keeps of ended children counts every other child of the tests too.
    peaks, done = [before], threading.Event()
    watch = threading.Thread(target=watch_peak, args=(process, peaks, done))
    watch.start()
    with pytest.raises(SourceUnreadableError):
        read_keras(path, make_network(), process)
    done.set()
    watch.join()
    assert time.monotonic() - start < 10
    assert len(peaks) > 2
    assert max(peaks) < before + GIB


def watch_peak(process: KerasProcess, peaks: list[int], done: threading.Event) -> None:
    while not done.wait(0.01):
        peaks.append(peak_bytes(process))


def peak_bytes(process: KerasProcess) -> int:
    status = Path(f"/proc/{process._child.pid}/status")
    if not process.alive or not status.exists():
        return 0
    try:
        lines = status.read_text(encoding="ascii").splitlines()
    except OSError:  # it ended meanwhile
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def _hdf5(path: Path, fill: Callable[[h5py.File], None]) -> Path:
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def _claimed(file: h5py.File) -> None:
    file.create_dataset("layers/a/vars/0", (40_000, 40_000), "f4", chunks=(1000, 1000))


def _contiguous(file: h5py.File) -> None:
    file.create_dataset("layers/a/vars/0", (2**31,), "f4")  # late allocation: nothing is stored


def _bomb(file: h5py.File) -> None:
    data = np.zeros((64, 1024, 1024), "f4")
    file.create_dataset("layers/a/vars/0", data=data, compression="gzip", chunks=(1, 1024, 1024))


def _external_link(file: h5py.File) -> None:
    file["layers"] = h5py.ExternalLink("/etc/passwd", "/")


def _soft_link(file: h5py.File) -> None:
    file.create_group("layers")["a"] = h5py.SoftLink("/layers")


def _circle(file: h5py.File) -> None:
    group = file.create_group("layers/a/vars")
    group["again"] = file["layers"]


def _external_storage(file: h5py.File) -> None:
    file.create_dataset("layers/a/vars/0", (100,), "u1", external=[("/etc/passwd", 0, 100)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("layers/a/vars/0", layout)


def _strings(file: h5py.File) -> None:
    file["layers/a/vars/0"] = np.array(["a"], h5py.string_dtype())


def _references(file: h5py.File) -> None:
    file.create_group("layers").attrs["x"] = file.ref


def _plugin(file: h5py.File) -> None:
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((4,))
    made.set_filter(h5py.h5z.FILTER_SHUFFLE, 0, ())
    made.set_filter(h5py.h5z.FILTER_LZF, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((4,))
    file.create_group("layers")
    h5py.h5d.create(file.id, b"layers/a", h5py.h5t.NATIVE_FLOAT, space, made)


def _many_objects(file: h5py.File) -> None:
    group = file.create_group("layers")
    for number in range(20_010):
        group.create_group(str(number))


def _nothing(file: h5py.File) -> None:
    file["temperatures"] = np.ones(9)


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (_claimed, "claims 6400000000 bytes, of which 0 are stored"),
        (_contiguous, "claims 8589934592 bytes, of which 0 are stored"),
        (_bomb, "claims 268435456 bytes"),
        (_external_link, "an external link"),
        (_soft_link, "a soft link"),
        (_circle, "linked twice"),
        (_external_storage, "kept in other files"),
        (_virtual, "a virtual array"),
        (_strings, "elements of the type object"),
        (_references, "neither text nor number"),
        (_plugin, "a compression that needs a plugin"),
        (_many_objects, "more than 20000 objects"),
        (_nothing, "1 arrays"),
    ],
)
def test_hdf5_that_keras_does_not_write(fill, message, scanner, make_network, tmp_path):
    error = refusal(scanner, _hdf5(tmp_path / "x.weights.h5", fill), make_network())
    assert isinstance(error, SourceUnreadableError)
    assert message in error.got
    assert peak_bytes(scanner) < GIB


def test_the_same_inside_a_keras_archive(keras_files, scanner, make_network, tmp_path):
    hostile = _hdf5(tmp_path / "x.h5", _claimed).read_bytes()
    with zipfile.ZipFile(keras_files / "small.keras") as old:
        parts = {name: old.read(name) for name in old.namelist()}
    parts["model.weights.h5"] = hostile
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as new:
        for name, data in parts.items():
            new.writestr(name, data)
    assert "claims 6400000000" in refusal(scanner, tmp_path / "x.keras", make_network()).got


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("model.weights.h5", bytes(300 * 1024**2), "model.weights.h5 unpacks to more"),
        ("config.json", b" " * (40 * 1024**2), "config.json unpacks to more"),
        ("../../evil", b"x", "a file that Keras does not write"),
        ("assets/vocabulary.txt", b"x", "files of layers"),
        ("/etc/cron.d/evil", b"x", "a file that Keras does not write"),
    ],
)
def test_zip_bombs_and_path_tricks(
    name, data, message, keras_files, scanner, make_network, tmp_path
):
    with zipfile.ZipFile(keras_files / "small.keras") as old:
        parts = {key: old.read(key) for key in old.namelist()}
    parts[name] = data
    with zipfile.ZipFile(tmp_path / "x.keras", "w", zipfile.ZIP_DEFLATED) as new:
        for key, value in parts.items():
            new.writestr(key, value)
    assert message in refusal(scanner, tmp_path / "x.keras", make_network()).got
    assert peak_bytes(scanner) < GIB


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice(keras_files, scanner, make_network, tmp_path):
    shutil.copy(keras_files / "small.keras", tmp_path / "x.keras")
    with zipfile.ZipFile(tmp_path / "x.keras", "a") as archive:
        archive.writestr("config.json", "{}")
    assert "does not write" in refusal(scanner, tmp_path / "x.keras", make_network()).got


def test_weights_beyond_one_onnx_file(keras_files, monkeypatch):
    """Refused from the sizes alone: nobody loads 3 GB to find out."""
    from medsdk_export.keras_source.obstacles import refuse_obstacles

    weight = files.Weight("kernel", "x", (30_000, 30_000), "float32", 3_600_000_000)
    facts = files.KerasFacts("keras", "3", {}, _config.ConfigFacts(), {"big": (weight,)})
    with pytest.raises(GraphMismatchError, match="too large for one ONNX file"):
        refuse_obstacles(facts)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5", ".weights.h5"])
@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"PK\3\4" + bytes(200), b"\x89HDF\r\n\x1a\n" + bytes(300), b"a text\n" * 9],
    ids=["empty", "zero", "half-zip", "half-hdf5", "text"],
)
def test_what_is_no_model_is_unreadable(suffix, data, scanner, make_network, tmp_path):
    (tmp_path / f"model{suffix}").write_bytes(data)
    error = refusal(scanner, tmp_path / f"model{suffix}", make_network())
    assert isinstance(error, SourceUnreadableError)


_ATTEMPTS = {
    "system": "os.system('true')",
    "program": "subprocess.run(['true'])",
    "fork": "os.fork() or os._exit(0)",
    "forkpty": "os.forkpty()[0] or os._exit(0)",
    "connection": "socket.create_connection(('127.0.0.1', 9))",
    "socket": "socket.socket()",
    "connect": "made_before.connect(('127.0.0.1', 9))",
    "datagram": "made_before.sendto(b'x', ('127.0.0.1', 9))",
    "pickle": "pickle.loads(b'cos\\nsystem\\n.')",
}


def test_no_process_is_started_and_no_connection_made():
    """What the child forbids once everything is imported, seen in a child of its own."""
    import subprocess
    import sys

    code = "\n".join(
        [
            "import os, pickle, socket, subprocess",
            "from medsdk_export.keras_source.child import _Child",
            "made_before = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
            "_Child().guard()",
            *[
                f"try:\n    {attempt}\nexcept PermissionError:\n    print({name!r})"
                for name, attempt in _ATTEMPTS.items()
            ],
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(_ATTEMPTS)
