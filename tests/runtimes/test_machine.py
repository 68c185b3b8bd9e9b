"""The machine's identity: stable, telling and without anything private."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import json
import os
import platform
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medsdk_runtimes import onnxruntime_rt, openvino_rt, operating_system
from medsdk_runtimes.machine import identify, isa_tier, sums_bytes_exactly
from medsdk_runtimes.onnxruntime_rt import OnnxRuntime
from medsdk_runtimes.openvino_rt import OpenVino


def test_the_identity_is_stable_and_complete():
    machine = identify()
    assert machine == identify()
    assert machine.digest == identify().digest
    assert len(machine.digest) == 64
    assert machine.libraries["numpy"] == np.__version__
    assert machine.cores >= 1
    assert machine.memory_bytes % 1024**3 == 0
    if sys.platform in {"linux", "win32"}:
        assert machine.cpu_model
        assert machine.system_version
        assert machine.memory_bytes > 0


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(identify())])
def test_every_field_is_in_the_digest(field):
    machine = identify()
    value = getattr(machine, field)
    other: Any = (
        value + 1 if isinstance(value, int) else {} if isinstance(value, dict) else value + "!"
    )
    assert dataclasses.replace(machine, **{field: other}).digest != machine.digest


def test_nothing_private_is_in_it():
    text = json.dumps(dataclasses.asdict(identify()))
    private = {platform.node(), str(Path.home()), sys.prefix, os.fspath(Path.cwd())}
    with contextlib.suppress(OSError, KeyError, ImportError):  # a container without users
        private.add(getpass.getuser())
    for value in private - {"", "/"}:
        assert f'"{value}"' not in text
        assert len(value) < 5 or value not in text


@pytest.mark.parametrize(
    ("flags", "tier"),
    [
        ({"avx2", "avx512f", "avx512_vnni", "amx_int8"}, "amx"),
        ({"avx2", "avx512f", "avx512_vnni"}, "avx512_vnni"),
        ({"avx2", "avx512f"}, "avx512"),
        ({"avx2", "avx_vnni"}, "avx2_vnni"),
        ({"avx2"}, "avx2"),
        ({"asimd", "asimddp"}, "neon_dotprod"),
        (set(), ""),
    ],
)
def test_tiers(flags, tier):
    assert isa_tier(frozenset(flags)) == tier


@pytest.mark.parametrize(
    ("flags", "exact"),
    [
        ({"avx2", "avx512f", "avx512_vnni", "amx_int8"}, True),
        ({"avx2", "avx512f", "avx512_vnni"}, True),
        ({"avx2", "avx_vnni"}, True),
        ({"avx2", "avx512f"}, False),
        ({"avx2"}, False),
        ({"asimd", "asimddp", "i8mm"}, False),
        (set(), False),
    ],
)
def test_bytes_are_summed_exactly_where_a_dot_product_is_known(flags, exact):
    assert sums_bytes_exactly(frozenset(flags)) is exact


@pytest.mark.parametrize("flags", [{"avx2"}, {"avx2", "avx512f", "avx512_vnni"}])
def test_the_own_runtimes_declare_what_the_processor_can(flags, monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    for module in (onnxruntime_rt, openvino_rt):
        monkeypatch.setattr(module, "cpu_flags", lambda: frozenset(flags))
    for runtime in (OnnxRuntime(), OpenVino()):
        assert ("int8-full-range" in runtime.capabilities) is ("avx512_vnni" in flags)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert "int8-full-range" not in OpenVino().capabilities


# --- the operating system ---------------------------------------------------------------------


def test_memory_is_plausible():
    current = operating_system.memory_current_bytes()
    if current == 0:
        pytest.skip("this system does not tell")
    held = np.ones(40_000_000, np.uint8)
    assert operating_system.memory_current_bytes() > current + held.nbytes // 2
    peak = operating_system.memory_peak_bytes()
    del held
    # Linux counts pages a thread in batches, so two readings of one peak differ by a few pages.
    assert operating_system.memory_peak_bytes() + 2**20 >= peak >= current
    assert operating_system.memory_total_bytes() > peak


def test_a_container_quota_limits_the_cores(tmp_path, monkeypatch):
    if sys.platform != "linux":
        pytest.skip("quotas are read on Linux only")
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(operating_system, "_CGROUP_QUOTA", quota)
    all_cores = operating_system.usable_cores()
    for text, cores in (("50000 100000\n", 1), ("max 100000\n", all_cores), ("", all_cores)):
        quota.write_text(text)
        assert operating_system.usable_cores() == cores


def test_an_arm_processor_is_named_by_its_numbers(tmp_path, monkeypatch):
    if sys.platform == "win32":
        pytest.skip("/proc/cpuinfo is Linux's")
    info = tmp_path / "cpuinfo"
    info.write_text(
        "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU implementer\t: 0x41\n"
        "CPU variant\t: 0x0\nCPU part\t: 0xd42\n\nprocessor\t: 1\nFeatures\t: fp sve\n"
    )
    monkeypatch.setattr(operating_system, "_CPU_INFO", info)
    assert operating_system.cpu_model() == "Arm 0x41 0xd42 0x0"
    assert operating_system.cpu_flags() == {"fp", "asimd", "asimddp"}


def test_links(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    link = tmp_path / "link"
    try:
        link.symlink_to(target, target_is_directory=True)
    except OSError:
        pytest.skip("this user may not make links")
    assert operating_system.is_link(link)
    assert not operating_system.is_link(target)
    assert not operating_system.is_link(tmp_path / "absent")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert operating_system.is_link(tmp_path / "dangling")


def test_a_directory_can_be_synchronised(tmp_path):
    operating_system.sync_directory(tmp_path)


def test_open_handles_and_threads_are_counted():
    handles, threads = operating_system.open_handles(), operating_system.native_threads()
    if not (handles and threads):
        pytest.skip("this system does not tell")
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with open(os.devnull), open(os.devnull):  # noqa: PTH123 - for their descriptors
            assert operating_system.open_handles() == handles + 2
        assert operating_system.native_threads() == threads + 1
    finally:
        done.set()
        thread.join()
    assert operating_system.open_handles() == handles
