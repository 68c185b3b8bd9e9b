"""Loading, pinning, threads, the end of an engine, and what a machine without a runtime says."""

from __future__ import annotations

import importlib
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import medsdk
import medsdk_runtimes
from medsdk.bundle import Bundle
from medsdk.errors import (
    BundleTamperedError,
    BundleUnreadableError,
    DeviceUnavailableError,
    ForkedProcessError,
    RuntimeUnavailableError,
    SessionClosedError,
    SettingRefusedError,
    TaskUnsupportedError,
    VariantUnavailableError,
)
from medsdk.pipeline import supported_role
from medsdk.tasks.decoding import MaskRule
from medsdk.tasks.schema import Feed
from medsdk_runtimes import _opening
from medsdk_runtimes.operating_system import usable_cores

RUNTIMES = [runtime.name for runtime in medsdk_runtimes.available()]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("variant", ["fp32", "int8-cpu"])
def test_eight_threads_get_the_answers_of_one(bundle_dir, inputs, runtime, variant):
    start = threading.Barrier(8)
    with medsdk.load(bundle_dir, runtime=runtime, variant=variant) as engine:
        expected = [engine.predict(data) for data in inputs]

        def work(worker):
            start.wait(300)
            return [
                engine.predict(inputs[(worker + turn) % len(inputs)])
                == expected[(worker + turn) % len(inputs)]
                for turn in range(100)
            ]

        with ThreadPoolExecutor(8) as pool:
            results = [equal for part in pool.map(work, range(8)) for equal in part]
    assert len(results) == 800
    assert all(results)
    assert len({tuple(item.probabilities.values()) for item in expected}) >= 4


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_closed_engine_answers_nothing(bundle_dir, inputs, runtime):
    engine = medsdk.load(bundle_dir, runtime=runtime)
    engine.predict(inputs[0])
    engine.close()
    engine.close()
    constant = medsdk.Frame(np.full((48, 64), 7))  # a frame that needs no network
    for source in (inputs[0], constant):
        with pytest.raises(SessionClosedError):
            engine.predict(source)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_forked_child_gets_an_error_not_an_answer(bundle_dir, inputs, runtime):
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    with medsdk.load(bundle_dir, runtime=runtime) as engine:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 warns of fork beside threads
            child = os.fork()
        if child == 0:
            status = 1
            try:
                engine.predict(inputs[0])
                status = 2
            except ForkedProcessError as error:
                status = 0 if "spawn" in error.remedy else 3
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert engine.predict(inputs[0]).status == "ok"


def _without(monkeypatch: pytest.MonkeyPatch, *libraries: str) -> None:
    def import_module(name: str) -> ModuleType:
        if name in libraries:
            raise ImportError(f"No module named {name!r}")
        return importlib.import_module(name)

    monkeypatch.setattr(_opening, "import_module", import_module)


def test_a_missing_runtime_names_what_is_there(bundle_dir, monkeypatch):
    if "openvino" not in RUNTIMES:
        pytest.skip("openvino is not installed")
    _without(monkeypatch, "onnxruntime")
    for runtime in (None, "onnxruntime"):
        with pytest.raises(RuntimeUnavailableError) as caught:
            medsdk.load(bundle_dir, runtime=runtime)
        error = caught.value
        assert error.exit_status == 3
        assert "'onnxruntime'" in error.what
        assert error.expected == "one of openvino"
        assert error.remedy == 'pip install "medsdk[onnxruntime]"'


def test_no_runtime_at_all(bundle_dir, monkeypatch):
    _without(monkeypatch, "onnxruntime", "openvino")
    with pytest.raises(RuntimeUnavailableError, match="none is installed"):
        medsdk.load(bundle_dir)


def test_a_runtime_that_nobody_knows(bundle_dir):
    with pytest.raises(RuntimeUnavailableError, match=f"one of {', '.join(RUNTIMES)}"):
        medsdk.load(bundle_dir, runtime="onnx-runtime")


def test_what_is_pinned_wrongly_is_refused(bundle_dir):
    with pytest.raises(VariantUnavailableError, match=r"int4.*fp32, int8-cpu") as caught:
        medsdk.load(bundle_dir, variant="int4")
    assert caught.value.exit_status == 2
    with pytest.raises(DeviceUnavailableError, match="NPU"):
        medsdk.load(bundle_dir, device="NPU")


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ({"runtime": ""}, RuntimeUnavailableError),
        ({"variant": ""}, VariantUnavailableError),
        ({"device": ""}, DeviceUnavailableError),
        ({"threads": 0}, SettingRefusedError),
        ({"threads": -1}, SettingRefusedError),
        ({"threads": 4096}, SettingRefusedError),
    ],
)
def test_an_empty_choice_is_no_default(bundle_dir, argument, error):
    with pytest.raises(error):
        medsdk.load(bundle_dir, **argument)


def test_a_variant_is_for_its_targets_alone(tampered):
    if "openvino" not in RUNTIMES:
        pytest.skip("openvino is not installed")

    def only_onnxruntime(folder, manifest):
        variants = manifest["networks"]["filter"]["variants"]
        variants["int8-cpu"]["targets"] = ["onnxruntime"]

    with pytest.raises(VariantUnavailableError, match="not meant for openvino"):
        medsdk.load(tampered(only_onnxruntime), runtime="openvino", variant="int8-cpu")


@pytest.mark.parametrize("runtime", [None, *RUNTIMES])
def test_a_variant_for_a_gpu_does_not_serve_on_a_cpu(bundle_dir, runtime):
    with pytest.raises(VariantUnavailableError, match="is not meant for") as caught:
        medsdk.load(bundle_dir, runtime=runtime, variant="int8-gpu")
    assert caught.value.got == (runtime or "onnxruntime")
    assert caught.value.expected == "one of tensorrt"
    assert "GPU" in caught.value.remedy
    with pytest.raises(RuntimeUnavailableError) as absent:
        medsdk.load(bundle_dir, runtime="tensorrt", variant="int8-gpu")
    assert absent.value.exit_status == 3


def test_a_variant_that_was_rejected_does_not_run(tampered):
    def rejected(folder, manifest):
        variant = manifest["networks"]["filter"]["variants"]["int8-cpu"]
        (folder / variant.pop("file")).unlink()
        variant |= {"status": "rejected", "reason": "12 of 160 decisions flipped"}
        for answer in manifest["known_answers"]:
            outputs = answer["variant_outputs"]["filter"].pop("int8-cpu")
            (folder / outputs["logits"]).unlink()

    with pytest.raises(VariantUnavailableError, match=r"rejected: 12 of 160.*one of fp32"):
        medsdk.load(tampered(rejected), variant="int8-cpu")


def test_a_benchmark_loads_under_explore_alone(tampered, inputs):
    def benchmark(folder, manifest):
        manifest["purpose"] = manifest["task"]["purpose"] = "benchmark"

    bundle = tampered(benchmark)
    with pytest.raises(VariantUnavailableError, match="explore") as caught:
        medsdk.load(bundle)
    assert caught.value.exit_status == 2
    with medsdk.load(bundle, policy="explore") as engine:
        assert engine.predict(inputs[0]).status == "ok"
        assert engine.plan.known_answers_checked == len(inputs)  # explore skips no proof


def test_the_plan_says_who_chose(bundle_dir):
    with medsdk.load(bundle_dir) as engine:
        plan = engine.plan
    assert plan.source == "default"
    assert plan.candidate.runtime == "onnxruntime"
    assert plan.candidate.device == "CPU"
    assert plan.candidate.threads == usable_cores()
    assert plan.candidate.networks["filter"].variant == "fp32"
    assert "onnxruntime" in str(plan)
    pins: list[tuple[dict[str, Any], str]] = [
        ({"runtime": "onnxruntime"}, "runtime onnxruntime"),
        ({"variant": "int8-cpu"}, "variant int8-cpu"),
        ({"device": "CPU"}, "device CPU"),
        ({"threads": 1}, "threads 1"),
    ]
    for argument, word in pins:
        with medsdk.load(bundle_dir, **argument) as engine:
            assert engine.plan.source == "pinned"
            assert engine.plan.reason == f"the caller asked for {word}"
            assert engine.plan.candidate.threads == argument.get("threads", usable_cores())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_provenance_is_complete(bundle_dir, inputs, runtime):
    bundle = Bundle.open(bundle_dir)
    task = bundle.manifest.task
    with medsdk.load(bundle_dir, runtime=runtime, variant="int8-cpu", threads=1) as engine:
        provenance = engine.predict(inputs[0]).provenance
        effective = engine.plan.effective["filter"]
    here = medsdk_runtimes.runtime(runtime).availability()
    assert provenance.bundle == {"name": "vendor-blob", "version": "1.0.0", "sha256": bundle.sha256}
    assert provenance.task == {"id": "vendor/blob", "version": "1.0.0"}
    assert provenance.notice == task.notice
    assert provenance.thresholds == {"tumour-probability": 0.5}
    assert provenance.medsdk == medsdk.__version__
    resize = provenance.networks["filter"]["resize_implementation"]
    assert provenance.networks == {
        "filter": {
            "runtime": runtime,
            "runtime_version": here.version,
            "device": "CPU",
            "variant": "int8-cpu",
            "precision": "int8",
            "threads": 1,
            "preprocessing_sha256": task.networks["filter"].pixels.digest,
            "resize_implementation": resize,
        }
    }
    assert str(resize).split()[0] in ("pillow", "numpy")
    assert (effective.precision, effective.threads, effective.runtime) == ("int8", 1, runtime)
    assert effective.evidence


def test_what_is_no_bundle(bundle_dir, tmp_path):
    for path in (tmp_path / "nothing", tmp_path, bundle_dir / "manifest.json", "x" * 300):
        with pytest.raises(BundleUnreadableError) as caught:
            medsdk.load(path)
        assert caught.value.exit_status == 4


def test_a_changed_byte_is_tampering(tampered):
    folder = tampered(lambda folder, manifest: None)
    file = folder / "networks/filter/fp32.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleTamperedError, match=r"fp32\.onnx"):
        medsdk.load(folder)


def _with(record: Any, path: str, value: object) -> Any:
    """A frozen record with one field changed, whatever the schema would say to it."""
    name, *rest = path.split(".")
    if not rest:
        return record.model_copy(update={name: value})
    inner = getattr(record, name)
    if isinstance(inner, dict):
        key, *rest = rest
        changed = inner | {key: _with(inner[key], ".".join(rest), value)}
    else:
        changed = _with(inner, ".".join(rest), value)
    return record.model_copy(update={name: changed})


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("input.kind", "clip", "input.kind = 'clip'"),
        ("input.presentation_intent", "for-processing", "input.presentation_intent"),
        ("input.sequences", ("t2",), "input.sequences"),
        ("decision.reductions", ("mean over slices",), "decision.reductions"),
        ("networks.filter.input.layout", "ncthw", "layout 'ncthw'"),
        ("networks.filter.feed", Feed(kind="same", role="other"), "networks.filter.feed"),
        ("decision.rule", MaskRule(kind="mask", role="filter"), "decision.rule.kind = 'mask'"),
    ],
)
def test_a_task_that_asks_for_more_is_refused_not_half_done(bundle_dir, path, value, named):
    task = Bundle.open(bundle_dir).manifest.task
    assert supported_role(task)[0] == "filter"
    with pytest.raises(TaskUnsupportedError) as caught:
        supported_role(_with(task, path, value))
    assert named in caught.value.got
    assert caught.value.exit_status == 2
