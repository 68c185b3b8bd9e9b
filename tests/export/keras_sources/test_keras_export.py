"""A Keras model through the whole of `export_bundle`, and the process that it lives in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from medsdk.bundle import Bundle
from medsdk_export import from_keras
from medsdk_export.build import ExportRequest, export_bundle
from medsdk_export.errors import ExportUnavailableError, SourceUnreadableError
from medsdk_export.from_keras import read_keras
from medsdk_export.keras_source import process as process_module
from medsdk_export.keras_source.process import KerasProcess
from medsdk_runtimes import framing


def test_a_keras_model_becomes_a_bundle(
    keras_files, process, vendor, make_task, tmp_path, monkeypatch
):
    """Softmax inside as people save it; a threshold on its probability; INT8 that ships."""
    monkeypatch.setattr(from_keras, "KerasProcess", lambda *, lean: process)
    request = ExportRequest(
        task=make_task(('"onnx"', '"keras"')),
        models={"filter": keras_files / "blob.keras"},
        calibration=vendor.calibration,
        out=tmp_path / "bundle",
        cases=vendor.cases,
        known_answers=4,
    )
    result = export_bundle(request)
    assert result.verification.verdict == "pass"
    network = result.manifest.networks["filter"]
    assert network.source["framework"] == "keras"
    assert network.source["activation_removed"] == "softmax"
    assert {name: item.status for name, item in network.variants.items()} == {
        "fp32": "shipped",
        "int8-cpu": "shipped",
        "int8-gpu": "shipped",
    }
    bundle = Bundle.open(tmp_path / "bundle")
    int8 = onnx.load_model_from_string(bundle.read(network.variants["int8-cpu"].file or ""))
    kinds = [node.op_type for node in int8.graph.node]
    assert kinds.count("QuantizeLinear") >= 3
    assert not {"Squeeze", "Transpose", "ReduceMean", "BatchNormalization"} & set(kinds)


def test_the_exporter_never_imports_tensorflow(keras_files):
    """Not even to convert: the child does."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from medsdk_export.keras_source.process import KerasProcess\n"
        "import medsdk_export.from_keras\n"
        "process = KerasProcess()\n"
        "print(process.scan(Path(sys.argv[1]))['format'])\n"
        "print(sorted({'tensorflow', 'keras', 'tf2onnx', 'h5py', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(keras_files / "small.keras")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["keras", "[]"]


def test_the_process_ends_when_nobody_needs_it(keras_files):
    process = KerasProcess()
    process.scan(keras_files / "small.keras")
    child, folder = process._child, Path(process._folder.name)
    assert child.poll() is None
    del process
    assert child.wait(timeout=10) is not None
    assert not folder.exists()


def test_a_process_that_died_is_said_so(keras_files):
    process = KerasProcess()
    process._child.kill()
    process._child.wait()
    with pytest.raises(SourceUnreadableError, match="the process that reads it ended"):
        process.scan(keras_files / "small.keras")
    assert not process.alive


def test_a_process_that_hangs_is_stopped(keras_files, monkeypatch):
    monkeypatch.setattr(process_module, "START_S", 0.05)  # it takes longer
    process = KerasProcess()
    start = time.monotonic()
    with pytest.raises(SourceUnreadableError, match="no answer within 0 s"):
        process.scan(keras_files / "small.keras")
    assert time.monotonic() - start < 5
    assert not process.alive


def test_an_interruption_ends_the_process(keras_files, monkeypatch):
    process = KerasProcess()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(framing, "receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        process.scan(keras_files / "small.keras")
    assert not process.alive


def test_a_process_that_was_killed_leaves_no_weights(
    keras_files, make_network, tmp_path, monkeypatch
):
    """As it is after a time limit, an interruption, or where memory ran out."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # look at TMPDIR again
    process, network = KerasProcess(), make_network()

    def attempt() -> None:
        with pytest.raises(SourceUnreadableError, match="the process that reads it ended"):
            process.open(keras_files / "small.keras", network)

    thread = threading.Thread(target=attempt)
    thread.start()
    seen = 0
    while seen < 5 and thread.is_alive():  # TensorFlow loads for seconds with the weights unpacked
        seen = seen + 1 if list(tmp_path.rglob("model.weights.h5")) else 0
        time.sleep(0.05)
    process._child.kill()
    thread.join()
    assert seen == 5
    assert list(tmp_path.iterdir()) == []


def test_what_keras_computes_may_be_asked_by_several_threads(keras_files, process, make_network):
    source = read_keras(keras_files / "small.keras", make_network(), process)
    images = [np.full((1, 3, 32, 32), value, np.float32) for value in range(8)]
    want = [source.reference(image)["logits"] for image in images]
    got: dict[int, object] = {}

    def ask(number: int) -> None:
        got[number] = source.reference(images[number])["logits"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(8):
        np.testing.assert_array_equal(got[number], want[number])


def test_without_tensorflow_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(process_module, "find_spec", lambda name: None)
    with pytest.raises(
        ExportUnavailableError, match="no tensorflow, keras, h5py, tf2onnx"
    ) as caught:
        KerasProcess()
    assert caught.value.exit_status == 3
    assert 'pip install "medsdk[keras]"' in caught.value.remedy


def test_the_users_keras_settings_do_not_matter(keras_files, tmp_path, make_network, monkeypatch):
    """A keras.json of the user's changes the type and layout of whatever does not say its own."""
    (tmp_path / "keras.json").write_text(
        '{"floatx": "float16", "image_data_format": "channels_first", "backend": "torch"}',
        encoding="utf-8",
    )
    path = _without_types(keras_files / "small.keras", tmp_path / "small.keras")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    process = KerasProcess()
    source = read_keras(path, make_network(), process)
    want = np.load(keras_files / "answers.npz")["small"]
    images = np.random.default_rng(1).normal(0, 1, (3, 32, 32, 3)).astype(np.float32)
    got = source.reference(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))["logits"]
    np.testing.assert_allclose(got, want, atol=1e-5)
    process.close()
    assert os.environ["KERAS_BACKEND"] == "torch"


def _without_types(source: Path, target: Path) -> Path:
    """A model whose layers say neither their type nor their layout, as in old files."""

    def bare(node: Any) -> Any:
        if isinstance(node, list):
            return [bare(item) for item in node]
        if not isinstance(node, dict):
            return node
        own = "name" in node and "trainable" in node  # a layer's configuration
        left_out = ("dtype", "data_format") if own else ()
        return {key: bare(value) for key, value in node.items() if key not in left_out}

    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                data = json.dumps(bare(json.loads(data))).encode()
            new.writestr(name, data)
    return target
