"""What parsing a manifest may cost: bounded before it is parsed, and enough for the largest."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medsdk.bundle import Bundle, Manifest, reading
from medsdk.bundle.one_file import MOST_FILES
from medsdk.bundle.storage import BundleLimits
from medsdk.errors import BundleTamperedError, BundleUnreadableError

Document = dict[str, Any]
MARKS = (b"[", b"{", b",")


@pytest.mark.parametrize(
    "rest",
    [
        b'"task":[' + b"[]," * 5_500_000 + b"[]]}",
        b'"task":[' + b"{}," * 5_500_000 + b"{}]}",
        b'"optional":[' + b"1," * 8_000_000 + b"1]}",
        b'"task":' + b"[" * 800_000 + b"]" * 800_000 + b"}",
        b'"' + b'":1,"' * 800_000 + b'":1}',
    ],
    ids=["lists", "objects", "numbers", "deep", "keys"],
)
def test_a_manifest_of_very_many_parts_is_never_parsed(
    rest: bytes, folder: Path, sign: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(data: bytes) -> object:
        pytest.fail("parsing it takes minutes and gigabytes")

    monkeypatch.setattr(reading, "parse_json", parse)
    sign(folder, b'{"format_version":"1.0",' + rest)
    with pytest.raises(BundleUnreadableError, match="more than this reader takes on") as caught:
        Bundle.open(folder)
    assert caught.value.remedy


def test_more_files_than_a_bundle_may_have_never_reach_the_schema(
    folder: Path, sign: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def validate(text: str) -> Manifest:
        pytest.fail("the schema costs ten times what the count does")

    monkeypatch.setattr(Manifest, "model_validate_json", validate)
    files = {f"f{number:06}": 1 for number in range(BundleLimits.files + 1)}
    sign(folder, json.dumps({"format_version": "1.0", "files": files}).encode())
    with pytest.raises(BundleUnreadableError, match="more files") as caught:
        Bundle.open(folder)
    assert caught.value.got == "65537 files"


def _largest(document: Document) -> bytes:
    """As many known answers and files as are allowed, each file used where it can be.

    65,534 / 4,096 leaves a known answer fifteen files: input, frame, and for a network with
    twenty labels a tensor, its output, and eleven quantized variants' outputs.
    """
    record = {"size_bytes": 2**31, "sha256": "0" * 64}
    network = document["networks"]["filter"]
    for number in range(11):
        network["variants"][f"int8-{number}"] = network["variants"]["int8-cpu"]
    template = document["known_answers"][0]
    files = dict.fromkeys(document["files"], record)
    answers = []
    for number in range(4096):
        answer = copy.deepcopy(template)
        answer["id"] = f"ka-{number}"
        answer["roi"] = [0.0, 0.0, 1.0, 1.0]
        answer["probabilities"] = {f"label-{index}": 0.05 for index in range(20)}
        answer["variant_outputs"]["filter"] = {
            f"int8-{index}": {"logits": f"known_answers/{number}/{index}.npy"}
            for index in range(11)
        }
        answers.append(answer)
    files |= {f"evidence/{n:05}": record for n in range(MOST_FILES - 2 - len(files))}
    return json.dumps(document | {"known_answers": answers, "files": files}).encode()


def test_the_largest_manifest_that_is_allowed_is_within_the_limit(document: Document) -> None:
    text = _largest(document)
    parts = sum(text.count(mark) for mark in MARKS)
    assert 400_000 < parts < BundleLimits.manifest_parts
    assert len(text) < BundleLimits.manifest_bytes


def test_a_manifest_that_lists_65534_files_is_read(
    folder: Path, document: Document, sign: Callable[..., None]
) -> None:
    record = {"size_bytes": 0, "sha256": "0" * 64}
    extra = {f"e/{number:05}": record for number in range(MOST_FILES - len(document["files"]))}
    sign(folder, json.dumps(document | {"files": document["files"] | extra}).encode())
    with pytest.raises(BundleTamperedError, match=r"the 65534 files that manifest\.json lists"):
        Bundle.open(folder)  # which are not all there; the manifest itself was good
