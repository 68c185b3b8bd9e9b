"""Peak memory of reading a large source and making its graph: bytes for each byte of the file.

    python benchmarks/source_memory.py [--width W]

`vgg10` at width 5 has 480 MB of weights, as VGG-16 with its three dense layers does. Each source is
read in a process of its own; for Keras sources the child process is counted as well. Prints a
Markdown table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SIDE = 32

READ = """
import json, resource, sys
from pathlib import Path
from medsdk.tasks import Task
from medsdk_export.sources import read_source
network = Task.model_validate_json(Path(sys.argv[2]).read_text()).networks["filter"]
source = read_source(Path(sys.argv[1]), network)
size = len(source.model.SerializeToString())
del source
import gc; gc.collect()  # ends the child, whose peak then counts
own, children = (resource.getrusage(who).ru_maxrss * 1024 for who in
                 (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps([own, children, size]))
"""

WRITE = """
import os, sys
os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
from pathlib import Path
from medsdk_export.architectures.keras_registry import keras_model
folder, width = Path(sys.argv[1]), float(sys.argv[2])
model = keras_model("vgg10", {"width": width, "classes": 2}, 32, 32)
model.save(folder / "whole.keras")
model.save_weights(folder / "weights.weights.h5")
import torch
from medsdk_export.architectures import build
module = build("vgg10", {"width": width, "classes": 2}).eval()
torch.save(module.state_dict(), folder / "weights.pt")
import safetensors.torch
safetensors.torch.save_file(module.state_dict(), folder / "weights.safetensors")
batch = ({0: torch.export.Dim("batch")},)
program = torch.export.export(module, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=batch)
torch.export.save(program, folder / "program.pt2")
"""


def main() -> None:
    """Write the files, read each, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=5.0)
    width = parser.parse_args().width
    from medsdk.tasks import catalogue_task

    document = catalogue_task("uterus-mr/tumor-filter").model_dump(mode="json", exclude_none=True)
    part = document["networks"]["filter"]
    part["architecture"] = {"name": "vgg10", "parameters": {"classes": 2, "width": width}}
    part["pixels"]["resize"] |= {"height": SIDE, "width": SIDE}
    empty = {}
    print("| source | file MB | exporter MB | child MB | both / file | less what libraries take |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="medsdk-memory-") as name:
        for folder, factor in ((Path(name, "small"), 0.1), (Path(name, "large"), width)):
            folder.mkdir()
            subprocess.run([sys.executable, "-c", WRITE, str(folder), str(factor)], check=True)
            part["architecture"]["parameters"]["width"] = factor
            task = Path(folder, "task.json")
            task.write_text(json.dumps(document), encoding="utf-8")
            for path in sorted(folder.iterdir()):
                if path == task:
                    continue
                done = subprocess.run(
                    [sys.executable, "-c", READ, str(path), str(task)],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                own, child, _ = json.loads(done.stdout)
                size = path.stat().st_size
                if factor != width:
                    empty[path.name] = own + child
                    continue
                print(
                    f"| {path.name} | {size / 1e6:.0f} | {own / 1e6:.0f} | {child / 1e6:.0f} | "
                    f"{(own + child) / size:.1f} | "
                    f"{(own + child - empty[path.name]) / size:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
