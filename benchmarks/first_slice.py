"""The figures of docs/benchmarks.md: overhead, INT8 gain, import, load.

    python benchmarks/first_slice.py [--bundle DIR] [--full-width DIR] [--turns N]

Without bundles it exports them first. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from full_size import full_size_bundle
from interleaved import Timings, by_turns
from numpy.typing import NDArray

import medsdk
from medsdk.bundle import Bundle
from medsdk.pipeline import Pipeline
from medsdk.pixels import Frame, open_dicom
from medsdk.plan.candidate import pick
from medsdk_runtimes import require
from medsdk_runtimes.machine import identify

RUNTIMES = ("onnxruntime", "openvino")
OVERHEAD_LIMIT_US = 100.0
GAIN_SHARE = 0.95
IMPORT_LIMIT_MS = 60.0
LOAD_LIMIT_S = 1.0


def bare_run(runtime: str, onnx: bytes, tensor: NDArray[np.float32]) -> Callable[[], object]:
    """The library itself on the same bytes, one thread, as its own documentation runs it."""
    if runtime == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: tensor}
        return lambda: session.run(None, feed)
    require("openvino")  # which imports it without its sender of telemetry
    import openvino

    core = openvino.Core()  # type: ignore[attr-defined]  # built at import
    model = core.read_model(onnx)
    model.reshape(tensor.shape)
    properties = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(model, "CPU", properties).create_infer_request()

    def run() -> object:
        request.infer({0: tensor})
        return [np.array(output.data) for output in request.output_tensors]

    return run


def overhead(network: str, bundle: Path, turns: int) -> None:
    """`predict` minus preprocessing minus the bare run."""
    opened = Bundle.open(bundle)
    variants = opened.manifest.networks["filter"].variants
    answer = opened.manifest.known_answers[0]
    frame = open_dicom(opened.read(answer.input)).frame(1)
    tensor = opened.array(answer.tensors["filter"]).astype(np.float32)
    for runtime in RUNTIMES:
        for name, variant in variants.items():
            if variant.file is None or runtime not in variant.targets:
                continue
            engine = medsdk.load(bundle, runtime=runtime, variant=name, threads=1, policy="explore")
            prepare = engine._pipeline.stage.preprocessor.prepare
            bare = bare_run(runtime, opened.read(variant.file), tensor)
            timings = by_turns(
                {
                    "predict": partial(engine.predict, frame),
                    "prepare": partial(prepare, frame),
                    "bare": bare,
                    "both": partial(_both, prepare, frame, bare),
                    # So that each of the two sessions runs twice a turn: the one that runs more
                    # often finds more of its weights in the cache, worth 0.1 ms here.
                    "session": partial(engine._pipeline.stage.infer, tensor),
                },
                turns,
            )
            rest = timings.median_difference_us("predict", "both")
            print(
                f"| {network} | {runtime} | {name} | {timings.median_ms('predict'):.2f} | "
                f"{timings.median_ms('prepare'):.2f} | {timings.median_ms('bare'):.2f} | "
                f"{rest:.0f} | {verdict(rest <= OVERHEAD_LIMIT_US)} (<= 100) |"
            )
            engine.close()


def _both(
    prepare: Callable[[Frame], object], frame: Frame, bare: Callable[[], object]
) -> tuple[object, object]:
    """Preprocessing and the bare run behind it, as one call: what `predict` cannot do without."""
    return prepare(frame), bare()


def gain(bundle: Path, turns: int) -> None:
    """INT8 over FP32 through medsdk's sessions against bare sessions of the same files."""
    print(f"\n## INT8 over FP32, MobileNetV2 width 1.0, 224, one thread, n = {turns} turns\n")
    print("Gain: median of the turn-by-turn ratios. Milliseconds: the fastest run.\n")
    print(
        "| runtime | medsdk fp32 | medsdk int8-cpu | gain | bare fp32 | bare int8-cpu | gain | "
        "share of the bare gain | verdict |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    opened = Bundle.open(bundle)
    tensor = opened.array(opened.manifest.known_answers[0].tensors["filter"]).astype(np.float32)
    for runtime in RUNTIMES:
        functions: dict[str, Callable[[], object]] = {}
        pipelines = []
        for variant in ("fp32", "int8-cpu"):
            candidate = pick(opened.manifest, runtime, variant, threads=1)
            pipeline = Pipeline.open(opened, candidate)
            pipelines.append(pipeline)
            functions[f"ours {variant}"] = partial(pipeline.stage.infer, tensor)
            file = opened.manifest.networks["filter"].variants[variant].file or ""
            functions[f"bare {variant}"] = bare_run(runtime, opened.read(file), tensor)
        timings = by_turns(functions, turns)
        ours = timings.ratio("ours fp32", "ours int8-cpu")
        bare = timings.ratio("bare fp32", "bare int8-cpu")
        print(
            f"| {runtime} | {timings.fastest_ms('ours fp32'):.2f} | "
            f"{timings.fastest_ms('ours int8-cpu'):.2f} | {ours:.2f} | "
            f"{timings.fastest_ms('bare fp32'):.2f} | {timings.fastest_ms('bare int8-cpu'):.2f} | "
            f"{bare:.2f} | {ours / bare:.1%} | {verdict(ours >= GAIN_SHARE * bare)} (>= 95 %) |"
        )
        for pipeline in pipelines:
            pipeline.close()


def processes(bundle: Path, turns: int) -> None:
    """Whole processes: import and load."""
    commands = {
        "numpy": "import numpy",
        "medsdk": "import numpy, medsdk",
        "load": f"import medsdk; medsdk.load({str(bundle)!r}, policy='explore')",
    }
    runs: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(-1, turns):
        for name, code in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            if turn >= 0:
                runs[name].append(time.perf_counter() - start)
    timings = Timings(runs)
    beyond = timings.median_difference_us("medsdk", "numpy") / 1e3
    load = statistics.median(runs["load"])
    print(f"\n## Import and load, whole processes, n = {turns} turns\n")
    print("| what | median | limit | verdict |")
    print("|---|---|---|---|")
    print(
        f"| `import medsdk` beyond `import numpy` | {beyond:.1f} ms | {IMPORT_LIMIT_MS:.0f} ms | "
        f"{verdict(beyond <= IMPORT_LIMIT_MS)} |"
    )
    print(
        f"| process start to a loaded, proved bundle (digests and known answers) | {load:.2f} s | "
        f"{LOAD_LIMIT_S:.0f} s | {verdict(load < LOAD_LIMIT_S)} |"
    )


def verdict(good: bool) -> str:
    """A word for a table."""
    return "pass" if good else "**fail**"


def reference_bundle(folder: Path) -> Path:
    """The demo's bundle, made again."""
    from medsdk.cli.output import Progress
    from medsdk_export.demo import run_demo

    run_demo(folder / "demo", Progress(quiet=True))
    return folder / "demo" / "bundle"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, help="the reference bundle; made where not given")
    parser.add_argument("--full-width", type=Path, help="the benchmark bundle; made likewise")
    parser.add_argument("--turns", type=int, default=300)
    options = parser.parse_args()
    machine = identify()
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    print(f"{machine.cpu_model} ({machine.isa}), {machine.cores} cores, {libraries}")
    with tempfile.TemporaryDirectory(prefix="medsdk-bench-") as name:
        bundle = options.bundle or reference_bundle(Path(name))
        full = options.full_width
        if full is None:
            folder = Path(name, "full")
            folder.mkdir()
            full = full_size_bundle(folder, "uterus-mr/tumor-filter")
        print(f"\n## Overhead of `predict`, one thread, n = {options.turns} turns\n")
        print("`predict` minus (preprocessing, then the library's bare run), median of turns.\n")
        print(
            "| network | runtime | variant | predict ms | preprocess ms | bare run ms | "
            "overhead us | verdict |"
        )
        print("|---|---|---|---|---|---|---|---|")
        overhead("reference", bundle, options.turns)
        overhead("full width", full, options.turns)
        gain(full, options.turns)
        processes(bundle, max(5, options.turns // 20))


if __name__ == "__main__":
    main()
