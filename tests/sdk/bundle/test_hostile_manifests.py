"""Manifests and files that are signed correctly and lie: refused before they cost anything."""

from __future__ import annotations

import hashlib
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

import medsdk
from medsdk.bundle import Bundle
from medsdk.bundle.storage import BundleLimits
from medsdk.errors import (
    BundleTamperedError,
    BundleUnreadableError,
    FormatVersionError,
    GraphRefusedError,
    MedsdkError,
)
from tests.sdk.bundle.archives import TIGHT_LIMITS

NETWORK = "networks/filter/fp32.onnx"
Document = dict[str, Any]
Sign = Callable[..., None]


def _refusal(folder: Path, limits: BundleLimits | None = None) -> MedsdkError:
    with pytest.raises(MedsdkError) as caught:
        Bundle.open(folder, limits)
    assert caught.value.exit_status in (1, 4)
    return caught.value


def test_signing_by_hand_gives_a_good_bundle(folder: Path, document: Document, sign: Sign) -> None:
    sign(folder, document)
    assert Bundle.open(folder).manifest.name == "vendor-blob"


# Paths


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "networks/../../outside",
        "networks/../manifest.json",
        "/etc/hostname",
        "//server/share",
        "C:/Windows/win.ini",
        "..\\outside",
        "networks\\filter\\fp32.onnx",
        "Networks/filter/fp32.onnx",
        "networks/filter/FP32.onnx",
        "./networks",
        "networks//fp32.onnx",
        "networks/",
        ".hidden",
        "networks/.hidden",
        "",
        "a\nb",
        "a\0b",
        "file\n",
        "file ",
        "bündel",
        "ａ",
        "x" * 201,
        "aux",
        "nul.onnx",
        "a/con",
        "com1/x",
        "a/lpt9.tar.gz",
        "prn.x.y",
        "a.",
        "a./b",
        "_a",
        "a/-b",
        "/".join("abcdefghij"),
    ],
)
def test_paths_that_a_bundle_cannot_have_are_refused(
    name: str, folder: Path, document: Document, sign: Sign
) -> None:
    (folder.parent / "outside").write_bytes(b"secret")
    record = {"size_bytes": 6, "sha256": "0" * 64}
    sign(folder, document | {"files": document["files"] | {name: record}})
    # By the path itself, before anybody looks for the file.
    assert isinstance(_refusal(folder), BundleUnreadableError)


@pytest.mark.parametrize("name", ["Readme", "networks/filter/FP32.onnx2", ".hidden", "bündel"])
def test_files_that_are_there_under_such_a_path_are_refused(
    name: str, folder: Path, document: Document, sign: Sign
) -> None:
    (folder / name).write_bytes(b"x")
    record = {"size_bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    sign(folder, document | {"files": document["files"] | {name: record}})
    assert isinstance(_refusal(folder), BundleUnreadableError)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "signature"])
def test_what_the_manifest_cannot_list_is_refused(
    name: str, folder: Path, document: Document, sign: Sign
) -> None:
    (folder / "signature").write_bytes(b"x")
    record = {"size_bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    sign(folder, document | {"files": document["files"] | {name: record}})
    assert isinstance(_refusal(folder), BundleTamperedError)


def test_a_variant_cannot_name_a_path_outside(folder: Path, document: Document, sign: Sign) -> None:
    for name in ("../outside.onnx", "/etc/hostname", "not/listed.onnx"):
        document["networks"]["filter"]["variants"]["fp32"]["file"] = name
        sign(folder, document)
        assert isinstance(_refusal(folder), BundleUnreadableError)


# JSON


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{}",
        b'{"format_version": "1.0"} trailing',
        b'{"format_version": "1.0", "format_version": "1.0"}',
        b'{"format_version": "1.0", "kind": NaN}',
        b"\xff\xfe{}",
        '{"format_version": "1.0"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"format_version": "1.0"}',
        b'{"format_version": "1.0", "kind": "\\ud800"}',
        b'{"format_version": "1.0", "n": ' + b"9" * 5000 + b"}",
    ],
)
def test_text_that_is_no_manifest_is_refused(text: bytes, folder: Path, sign: Sign) -> None:
    sign(folder, text)
    error = _refusal(folder)
    assert error.exit_status == 4
    str(error).encode()  # can be printed


def _text(folder: Path) -> str:
    return (folder / "manifest.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", ["name", "status", "label", "file"])
def test_a_key_that_stands_twice_is_refused_at_any_depth(
    key: str, folder: Path, sign: Sign
) -> None:
    text = _text(folder)
    at = text.index(f'"{key}":')
    value = text[at : text.index(",", at) + 1]
    sign(folder, (text[:at] + value + text[at:]).encode())
    error = _refusal(folder)
    assert isinstance(error, BundleUnreadableError)
    assert "twice" in error.got


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("where", ["tolerance", "provenance", "optional"])
def test_numbers_that_are_not_finite_are_refused(
    number: str, where: str, folder: Path, document: Document, sign: Sign
) -> None:
    if where == "tolerance":
        document["networks"]["filter"]["variants"]["fp32"]["tolerance"]["logits"] = 123456.5
    elif where == "provenance":
        document["provenance"]["calibration"]["images"] = 123456.5
    else:
        document["optional"] = ["later"]
        document["later"] = 123456.5
    text = json.dumps(document)
    assert text.count("123456.5") == 1
    sign(folder, text.replace("123456.5", number).encode())
    if where == "optional" and "e" in number:
        Bundle.open(folder)  # a number, if a large one, in a key that is left out
    else:
        assert isinstance(_refusal(folder), BundleUnreadableError)


@pytest.mark.parametrize("depth", [60, 150, 250, 400, 900, 980, 1000, 3000, 100_000])
@pytest.mark.parametrize("where", ["provenance", "later"])
@pytest.mark.parametrize("bracket", ["[]", '{"a":}'])
def test_deep_nesting_is_refused_or_left_out(
    depth: int, where: str, bracket: str, folder: Path, document: Document, sign: Sign
) -> None:
    opening, closing = bracket[:-1], bracket[-1]
    document["optional"] = ["later"]
    document.setdefault(where, {})
    document[where] = "HERE"
    deep = opening * depth + "1" + closing * depth
    sign(folder, json.dumps(document).replace('"HERE"', deep).encode())
    if where == "later":
        try:
            Bundle.open(folder)  # a key that a reader leaves out
        except BundleUnreadableError:
            assert depth > 200
    else:
        assert isinstance(_refusal(folder), BundleUnreadableError)


def test_an_unknown_key_is_refused_unless_the_document_calls_it_optional(
    folder: Path, document: Document, sign: Sign
) -> None:
    sign(folder, document | {"later": {"any": ["thing"]}})
    error = _refusal(folder)
    assert isinstance(error, BundleUnreadableError)
    assert "later" in error.got
    sign(folder, document | {"later": {"any": ["thing"]}, "optional": ["later"]})
    Bundle.open(folder)
    sign(folder, document | {"later": 1, "other": 2, "optional": ["later"]})
    assert "other" in _refusal(folder).got
    sign(folder, document | {"optional": "later", "later": 1})
    _refusal(folder)
    task = document["task"] | {"later": 1, "optional": ["later"]}
    sign(folder, document | {"task": task})
    Bundle.open(folder)


def test_a_known_key_cannot_be_called_optional_and_be_dropped(
    folder: Path, document: Document, sign: Sign
) -> None:
    names = ["notice", "purpose", "files", "known_answers"]
    sign(folder, document | {"optional": names})
    assert Bundle.open(folder).manifest.notice == document["notice"]
    for name in names:
        without = {key: value for key, value in document.items() if key != name}
        text = json.dumps(without | {"optional": names}).encode()
        sign(folder, text)
        assert isinstance(_refusal(folder), BundleUnreadableError)


def test_an_optional_list_inside_exempts_nothing(
    folder: Path, document: Document, sign: Sign
) -> None:
    variant = document["networks"]["filter"]["variants"]["fp32"]
    variant |= {"later": 1, "optional": ["later"]}
    document["optional"] = ["later"]
    sign(folder, document)
    assert isinstance(_refusal(folder), BundleUnreadableError)


@pytest.mark.parametrize(
    "version", ["2.0", "0.9", "1", "1.0.0", "", "1.x", " 1.0", "1.0\n", "-1.0", None, 1.0, ["1.0"]]
)
@pytest.mark.parametrize("where", ["bundle", "task"])
def test_other_format_versions_are_refused(
    version: object, where: str, folder: Path, document: Document, sign: Sign
) -> None:
    target = document if where == "bundle" else document["task"]
    target["format_version"] = version
    sign(folder, document)
    error = _refusal(folder)
    assert isinstance(error, FormatVersionError)
    assert error.exit_status == 4
    assert repr(version) in error.got


def test_a_later_minor_version_is_read(folder: Path, document: Document, sign: Sign) -> None:
    sign(folder, document | {"format_version": "1.7"})
    Bundle.open(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("notice"),
        lambda d: d.update(kind="zip"),
        lambda d: d.update(purpose="any"),
        lambda d: d.update(known_answers=[]),
        lambda d: d["networks"].update(other=d["networks"]["filter"]),
        lambda d: d["networks"].clear(),
        lambda d: d["known_answers"].append(d["known_answers"][0]),
        lambda d: d["networks"]["filter"]["variants"]["fp32"].pop("file"),
        lambda d: d["networks"]["filter"]["variants"]["int8-cpu"].update(status="rejected"),
        lambda d: d["networks"]["filter"]["variants"]["fp32"].update(bits=31),
        lambda d: d["networks"]["filter"]["variants"]["fp32"].update(precision="fp8"),
        lambda d: d["networks"]["filter"]["variants"]["fp32"]["tolerance"].update(logits=-1.0),
        lambda d: d["files"].pop(NETWORK),
        lambda d: d["files"][NETWORK].update(size_bytes=-1),
        lambda d: d["files"][NETWORK].update(size_bytes="1"),
        lambda d: d["files"][NETWORK].update(sha256="0" * 63),
        lambda d: d["files"][NETWORK].update(sha256="G" * 64),
        lambda d: d["files"][NETWORK].update(mode=0o777),
        lambda d: d["task"].update(notice="cleared"),
        lambda d: d["task"]["networks"]["filter"].update(python="os.system"),
    ],
)
def test_manifests_that_do_not_fit_the_schema_are_unreadable(
    change: Callable[[Document], object], folder: Path, document: Document, sign: Sign
) -> None:
    change(document)
    sign(folder, json.dumps(document).encode())
    assert isinstance(_refusal(folder), BundleUnreadableError)


# Sizes


@pytest.mark.parametrize("size", [10**12, 2**63, 10**400])
def test_sizes_that_a_manifest_claims_are_compared_before_anything_is_read(
    size: int, folder: Path, document: Document, sign: Sign
) -> None:
    document["files"][NETWORK]["size_bytes"] = size
    sign(folder, json.dumps(document).encode())
    tracemalloc.start()
    error = _refusal(folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(error, BundleTamperedError | BundleUnreadableError)
    assert peak < 32 * 1024**2


@pytest.mark.parametrize("limits", TIGHT_LIMITS)
def test_a_bundle_beyond_a_limit_is_unreadable(limits: BundleLimits, folder: Path) -> None:
    error = _refusal(folder, limits)
    assert isinstance(error, BundleUnreadableError)
    assert "large" in error.what


@pytest.mark.parametrize(
    ("name", "size"),
    [(NETWORK, 1 << 40), ("manifest.json", 1 << 34), ("manifest.sha256", 1 << 30)],
)
def test_huge_files_are_refused_by_their_size_alone(name: str, size: int, folder: Path) -> None:
    os.truncate(folder / name, size)  # sparse: reading it would take minutes, or the memory
    assert isinstance(_refusal(folder), BundleUnreadableError)


# Graphs


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../../manifest.json"), ("offset", "0"), ("length", "2400")):
        tensor.external_data.add(key=key, value=value)


def _custom(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.vendor"
    model.opset_import.append(helper.make_opsetid("com.vendor", 1))


def _huge(model: onnx.ModelProto) -> None:
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([50_000, 50_000])


@pytest.mark.parametrize("change", [_external, _custom, _huge])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_graphs_that_reach_outside_or_lie_are_refused_at_load(
    change: Callable[[onnx.ModelProto], None], runtime: str, folder: Path, sign: Sign
) -> None:
    path = folder / NETWORK
    model = onnx.load_model_from_string(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())
    sign(folder)
    Bundle.open(folder)  # every digest is right
    with pytest.raises(GraphRefusedError) as caught:
        medsdk.load(folder, runtime=runtime, variant="fp32")
    assert caught.value.exit_status == 4


def test_a_graph_that_is_no_graph_is_refused_at_load(folder: Path, sign: Sign) -> None:
    for data in (b"", b"text", (folder / NETWORK).read_bytes()[:-9], b"\x80\x04N."):
        (folder / NETWORK).write_bytes(data)
        sign(folder)
        with pytest.raises(GraphRefusedError):
            medsdk.load(folder, variant="fp32")
