"""Keras files with changed bits or without their ends: refused or read, never a fault of ours."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from medsdk_export.from_keras import read_keras
from medsdk_export.keras_source.process import KerasProcess
from medsdk_runtimes.errors import MedsdkError

from .test_hostile_keras import GIB, peak_bytes


def flipped(whole: bytes, rng: random.Random) -> bytes:
    """Bits changed near the headers mostly, or the end cut off."""
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(4096)
        data[place % len(data)] ^= 1 << rng.randrange(8)
    if rng.random() < 0.2:
        data = data[: rng.randrange(len(data))]
    return bytes(data)


def scan_many(names: list[str], turns: int, folder: Path, target: Path) -> int:
    """Refusals among damaged files; anything but a MedsdkError or an answer fails."""
    rng, refused, process = random.Random(20_261_125), 0, KerasProcess()
    for turn in range(turns):
        source = folder / names[turn % len(names)]
        path = target / f"x{source.suffix}"
        path.write_bytes(flipped(source.read_bytes(), rng))
        start = time.monotonic()
        try:
            process.scan(path)
        except MedsdkError:
            refused += 1
        assert time.monotonic() - start < 10
        if not process.alive:  # a library fell over, in its own process
            process = KerasProcess()
        assert peak_bytes(process) < GIB
    process.close()
    return refused


SMALL = ["small.keras", "small.h5", "twin.weights.h5", "vgg10.h5"]


def test_damaged_files_are_looked_over_safely(keras_files, tmp_path):
    assert scan_many(SMALL, 160, keras_files, tmp_path) > 20


@pytest.mark.slow
def test_many_damaged_files_are_looked_over_safely(keras_files, tmp_path):
    assert scan_many(SMALL, 3000, keras_files, tmp_path) > 400


@pytest.mark.slow
def test_damaged_files_are_loaded_safely(keras_files, make_network, tmp_path):
    """All the way through Keras, where looking it over lets a file pass."""
    rng, process = random.Random(5), KerasProcess()
    network, read, refused = make_network(), 0, 0
    for turn in range(60):
        name = ["small.keras", "small.h5"][turn % 2]
        path = tmp_path / f"x{Path(name).suffix}"
        path.write_bytes(flipped((keras_files / name).read_bytes(), rng))
        try:
            read_keras(path, network, process)
            read += 1
        except MedsdkError:
            refused += 1
        if not process.alive:
            process = KerasProcess()
    process.close()
    assert read + refused == 60
    assert min(read, refused) > 3
