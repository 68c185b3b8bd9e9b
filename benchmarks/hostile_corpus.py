"""Break every DICOM object of the corpus and read it: no traceback, hang, crash or 1 GB.

    python benchmarks/hostile_corpus.py                  the whole corpus, a few minutes
    python benchmarks/hostile_corpus.py --sample 12      every twelfth object

Every object is truncated at 10 random places and has 10 random bytes changed, ten times over.
Objects are read in child processes, so that a crash of a decoder is seen and named; all frames
are decoded. Prints one JSON document; exit 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
from corpus import corpus_objects

from medsdk.pixels import open_dicom
from medsdk_runtimes.errors import MedsdkError

VARIANTS = 10
SECONDS = 10
BYTES = 1_000_000_000


def broken(data: bytes, seed: int) -> Iterator[tuple[str, bytes]]:
    """The broken forms of one object.

    Args:
        data: The object.
        seed: Makes them the same every time.

    Returns:
        Name and bytes of each.
    """
    rng = np.random.default_rng(seed)
    for number in range(VARIANTS):
        yield f"truncated {number}", data[: int(rng.integers(0, len(data)))]
    for number in range(VARIANTS):
        changed = bytearray(data)
        # Half of them in the first bytes: that is where headers are.
        reach = len(data) if number % 2 else min(len(data), 4096)
        for position in rng.integers(132, reach, 10):
            changed[position] = rng.integers(0, 256)
        yield f"changed {number}", bytes(changed)


def read_all(data: bytes) -> str:
    """Open and decode everything.

    Args:
        data: A file.

    Returns:
        `decoded`, or the code of our error.
    """
    try:
        image = open_dicom(data)
        for number in range(1, image.number_of_frames + 1):
            image.frame(number)
    except MedsdkError as error:
        str(error)
        return error.code
    return "decoded"


def child(indices: set[int]) -> None:
    """Read the broken forms of some objects and say of each what became of it.

    Args:
        indices: Which objects, counted as `corpus_objects` gives them.
    """
    for index, item in enumerate(corpus_objects()):
        if index not in indices:
            continue
        for name, data in broken(item.data, index):
            print(json.dumps({"case": f"{item.package} {item.name} {name}"}), flush=True)
            faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
            begin = time.monotonic()
            try:
                outcome = read_all(data)
            except BaseException as error:  # noqa: BLE001 - this is what is looked for
                outcome = f"TRACEBACK {type(error).__name__}: {error}"
            print(
                json.dumps(
                    {
                        "outcome": outcome,
                        "seconds": round(time.monotonic() - begin, 3),
                        "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                    }
                ),
                flush=True,
            )
            faulthandler.cancel_dump_traceback_later()


def judge(indices: list[int]) -> dict[str, object]:
    """Run children and gather what they say.

    Args:
        indices: Which objects.

    Returns:
        The document that is printed.
    """
    outcomes: Counter[str] = Counter()
    problems: list[str] = []
    slowest, largest = (0.0, ""), (0, "")
    for start in range(0, len(indices), 10):
        batch = ",".join(map(str, indices[start : start + 10]))
        done = subprocess.run(
            [sys.executable, __file__, "--child", batch],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
            env=os.environ,
        )
        case = ""
        for line in done.stdout.splitlines():
            facts = json.loads(line)
            if "case" in facts:
                case = facts["case"]
                continue
            outcomes[facts["outcome"].split(":")[0]] += 1
            slowest = max(slowest, (facts["seconds"], case))
            largest = max(largest, (facts["bytes"], case))
            if facts["outcome"].startswith("TRACEBACK"):
                problems.append(f"{case}: {facts['outcome']}")
            if facts["seconds"] > SECONDS or facts["bytes"] > BYTES:
                problems.append(f"{case}: {facts['seconds']} s, {facts['bytes']} bytes")
        if done.returncode:
            problems.append(f"{case}: the process ended with {done.returncode}")
    return {
        "objects": len(indices),
        "cases": sum(outcomes.values()),
        "outcomes": dict(sorted(outcomes.items())),
        "slowest_s": slowest,
        "largest_process_bytes": largest,
        "problems": problems,
    }


def main() -> int:
    """Print the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=1, help="every n-th object alone")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(set(map(int, arguments.child.split(","))))
        return 0
    count = sum(1 for _ in corpus_objects())
    document = judge(list(range(0, count, arguments.sample)))
    print(json.dumps(document, indent=2))
    return int(bool(document["problems"]))


if __name__ == "__main__":
    sys.exit(main())
