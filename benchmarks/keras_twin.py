"""Latency of Keras sources against their PyTorch twins: same architecture, size and runtime.

    python benchmarks/keras_twin.py [--turns N]

Both twins hold the same weights where the architecture allows it (random ones; speed does not
depend on them), go through the sources of `medsdk export`, and run side by side in ONNX Runtime on
one thread. Prints a Markdown table; exit 1 where Keras is more than 5 % slower.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from first_slice import bare_run, verdict
from interleaved import by_turns

from medsdk.tasks import Network, Task, catalogue_task
from medsdk_export.architectures import build
from medsdk_export.architectures.twins import save_keras_weights, to_keras
from medsdk_export.from_keras import read_keras
from medsdk_export.from_torch import export_module
from medsdk_export.quantize import calibrate, quantize_form_a
from medsdk_runtimes.machine import identify

LIMIT = 1.05
SIZES = {"mobilenet-v2": 224, "vgg10": 128}


def graphs(name: str, folder: Path) -> tuple[Network, onnx.ModelProto, onnx.ModelProto]:
    """The task's network, and both graphs at width 1.

    Args:
        name: The architecture.
        folder: Where the weights go.
    """
    document = catalogue_task("uterus-mr/tumor-filter").model_dump(mode="json", exclude_none=True)
    part = document["networks"]["filter"]
    part["architecture"]["name"] = name
    part["pixels"]["resize"] |= {"height": SIZES[name], "width": SIZES[name]}
    described = Task.model_validate_json(json.dumps(document)).networks["filter"]
    parameters = {"width": 1.0, "classes": 2}
    torch.manual_seed(0)
    module = build(name, parameters).eval()
    state = {key: value.numpy() for key, value in module.state_dict().items()}
    path = folder / f"{name}.h5"
    save_keras_weights(path, to_keras(name, parameters, state))
    return described, export_module(module, described), read_keras(path, described).model


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=200)
    turns = parser.parse_args().turns
    machine = identify()
    print(f"{machine.cpu_model} ({machine.isa}), one thread, ONNX Runtime, n = {turns} turns\n")
    print("| network | graph | nodes PyTorch / Keras | PyTorch ms | Keras ms | ratio | verdict |")
    print("|---|---|---|---|---|---|---|")
    good = True
    for name in SIZES:
        with tempfile.TemporaryDirectory(prefix="medsdk-twin-") as folder:
            network, from_torch, from_keras = graphs(name, Path(folder))
        resize = network.pixels.resize
        rng = np.random.default_rng(0)
        image = rng.normal(0, 1, (1, 3, resize.height, resize.width)).astype(np.float32)
        pairs = {"fp32": (from_torch, from_keras)}
        records = [calibrate(graph, network.input.name, iter([image])) for graph in pairs["fp32"]]
        pairs["int8-cpu"] = (
            quantize_form_a(from_torch, records[0]),
            quantize_form_a(from_keras, records[1]),
        )
        for form, (theirs, ours) in pairs.items():
            functions = {
                key: partial(bare_run("onnxruntime", graph.SerializeToString(), image))
                for key, graph in (("torch", theirs), ("keras", ours))
            }
            timings = by_turns(functions, turns)
            ratio = timings.ratio("keras", "torch")
            good &= ratio <= LIMIT
            print(
                f"| {name} {resize.width} | {form} | {len(theirs.graph.node)} / "
                f"{len(ours.graph.node)} | {timings.median_ms('torch'):.2f} | "
                f"{timings.median_ms('keras'):.2f} | {ratio:.3f} | "
                f"{verdict(ratio <= LIMIT)} (<= 1.05) |"
            )
        kinds = [Counter(node.op_type for node in graph.graph.node) for graph in pairs["fp32"]]
        print(f"| | only in PyTorch's: {dict(kinds[0] - kinds[1])} | ", end="")
        print(f"only in Keras's: {dict(kinds[1] - kinds[0])} | | | | |")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
