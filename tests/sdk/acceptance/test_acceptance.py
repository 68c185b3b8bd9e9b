"""A site stores what a phantom gives and checks it again: what moved, and what must not be so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from medsdk.acceptance.accepting import check, store
from medsdk.acceptance.phantoms import read_phantom
from medsdk.acceptance.values import StoredValues, read_values, write_values
from medsdk.bundle.reading import Bundle
from medsdk.canonical import canonical_json, sha256_of
from medsdk.errors import (
    CasesRefusedError,
    FormatVersionError,
    NotComparableError,
    OutputNotWritableError,
    PhantomRefusedError,
    ValuesTamperedError,
    ValuesUnreadableError,
)
from medsdk.parity.evidence import Claim
from medsdk.pixels import Box
from medsdk.plan.candidate import default_candidate
from medsdk.reports.report import Report
from medsdk.tasks import catalogue_task
from tests.conftest import blob_image, dicom_bytes, mr_object

IMAGES = 5


def _quiet(phase: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


def _write(folder: Path, seeds: list[int], shift: int = 0) -> Path:
    """Phantom images, every other with a bright disc; `shift` grey levels brighter on one spot."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds, 1):
        pixels = blob_image(seed, positive=number % 2 == 0)
        pixels[0, 0] += shift
        (folder / f"{number}.dcm").write_bytes(dicom_bytes(mr_object(pixels)))
    return folder


@pytest.fixture
def phantom(tmp_path: Path) -> Path:
    return _write(tmp_path / "phantom", list(range(500, 500 + IMAGES)))


def _stored(
    bundle: Path, phantom: Path, *, limit: float | None = None, **pins: Any
) -> tuple[StoredValues, Report]:
    opened = Bundle.open(bundle)
    candidate = default_candidate(opened.manifest, **pins).candidate
    images = read_phantom(phantom, opened.manifest.task)
    values, report, _ = store(opened, candidate, images, limit, _quiet)
    return values, report


def _checked(
    bundle: Path, phantom: Path, values: StoredValues, *, anew: bool = False, **pins: Any
) -> Report:
    opened = Bundle.open(bundle)
    candidate = default_candidate(opened.manifest, **pins).candidate
    images = read_phantom(phantom, opened.manifest.task, gone=True)
    report, _ = check(opened, candidate, images, values, _quiet, new_acquisition=anew)
    return report


def _claim(report: Report, measure: str) -> Claim:
    (found,) = [item for item in report.evidence.claims if item.measure == measure]
    return found


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("variant", ["fp32", "int8-cpu"])
def test_what_was_stored_is_found_again(bundle_dir, phantom, tmp_path, runtime, variant):
    values, report = _stored(bundle_dir, phantom, runtime=runtime, variant=variant)
    assert (report.verdict, report.kind, report.cases) == ("pass", "accept", IMAGES)
    assert values.header.title == f"{runtime} {variant}"
    write_values(tmp_path / "values.json", values)
    again = read_values(tmp_path / "values.json")
    assert again == values
    report = _checked(bundle_dir, phantom, again, runtime=runtime, variant=variant)
    assert (report.verdict, report.reasons, report.changes) == ("pass", (), ())
    claim = _claim(report, "stored-value")
    tolerance = Bundle.open(bundle_dir).manifest.networks["filter"].variants[variant].tolerance
    assert (claim.n, claim.value, claim.limit) == (IMAGES, 0.0, tolerance["logits"])
    assert claim.scope.output == "filter.logits"
    assert _claim(report, "known-answers").n == 6
    assert report.evidence.worst == ()


def test_the_file_names_no_path_and_no_identity(bundle_dir, phantom, tmp_path):
    values, _ = _stored(bundle_dir, phantom)
    write_values(tmp_path / "values.json", values)
    data = (tmp_path / "values.json").read_bytes()
    assert data == canonical_json(json.loads(data))
    for secret in (b".dcm", str(phantom).encode(), b"1.2.826", b"phantom/"):
        assert secret not in data
    first = json.loads(data)["images"][0]
    assert set(first) == {
        *("number", "case", "status", "label", "probabilities", "reason", "outputs")
    }
    assert len(first["outputs"]["filter.logits"]) == 2


def _moved(values: StoredValues, by: float, number: int = 2) -> StoredValues:
    """The same values as if one output of one image had been another."""
    images = [
        image.model_copy(
            update={
                "outputs": {
                    "filter.logits": (
                        image.outputs["filter.logits"][0] + by,
                        *image.outputs["filter.logits"][1:],
                    )
                }
            }
        )
        if image.number == number
        else image
        for image in values.images
    ]
    return values.model_copy(update={"images": tuple(images)})


@pytest.mark.parametrize(("share", "verdict"), [(0.99, "pass"), (1.01, "fail")])
def test_an_output_at_the_edge_of_its_tolerance(bundle_dir, phantom, share, verdict):
    values, _ = _stored(bundle_dir, phantom)
    limit = values.tolerance["filter.logits"]
    report = _checked(bundle_dir, phantom, _moved(values, limit * share))
    assert report.verdict == verdict
    claim = _claim(report, "stored-value")
    assert claim.value == pytest.approx(limit * share, rel=1e-6)
    assert claim.events == (verdict == "fail")
    assert [(item.number, item.case) for item in report.evidence.worst] == [
        (2, values.images[1].case)
    ]
    if verdict == "fail":
        assert "of image 2 moved by" in report.reasons[0]


def test_another_answer_fails_though_the_outputs_are_the_same(bundle_dir, phantom):
    values, _ = _stored(bundle_dir, phantom)
    other = values.images[3].model_copy(update={"label": "none"})
    assert values.images[3].label == "tumour"
    images = (*values.images[:3], other, *values.images[4:])
    report = _checked(bundle_dir, phantom, values.model_copy(update={"images": images}))
    assert (report.verdict, _claim(report, "flips").events) == ("fail", 1)
    assert report.reasons == ("the answer is another one for image 4 (none, now tumour)",)


def test_images_that_are_missing_extra_or_changed_are_named(bundle_dir, phantom):
    values, _ = _stored(bundle_dir, phantom)
    pixels = blob_image(900, positive=True)
    (phantom / "2.dcm").write_bytes(dicom_bytes(mr_object(pixels)))
    report = _checked(bundle_dir, phantom, values)
    assert report.verdict == "fail"
    assert report.reasons[0].endswith("stored: image 2 has other pixels or another region")
    assert _claim(report, "stored-value").n == IMAGES - 1

    (phantom / "5.dcm").unlink()
    (phantom / "2.dcm").write_bytes(dicom_bytes(mr_object(blob_image(501, positive=True))))
    assert _checked(bundle_dir, phantom, values).reasons[0].endswith("image 5 is missing")

    _write(phantom, list(range(500, 500 + IMAGES)))
    (phantom / "6.dcm").write_bytes(dicom_bytes(mr_object(blob_image(901, positive=True))))
    assert _checked(bundle_dir, phantom, values).reasons[0].endswith("image 6 is extra")


def test_an_image_that_cannot_be_read_any_more_fails(bundle_dir, phantom):
    values, _ = _stored(bundle_dir, phantom)
    (phantom / "1.dcm").write_bytes(b"no DICOM")
    report = _checked(bundle_dir, phantom, values)
    assert report.verdict == "fail"
    assert "image 1 has other pixels" in report.reasons[0]


def _changed_network(folder: Path, manifest: dict[str, Any]) -> None:
    """A bias moved within what the known answers allow: only the digest of the weights tells."""
    path = folder / "networks/filter/fp32.onnx"
    model = onnx.load(path)
    bias = next(item for item in model.graph.initializer if item.dims == [2])
    moved = numpy_helper.to_array(bias) + np.float32(1e-6)
    bias.CopyFrom(numpy_helper.from_array(moved, bias.name))
    path.write_bytes(model.SerializeToString())
    manifest["version"] = manifest["task"]["version"] = "9.0.0"


def test_what_changed_since_is_listed(bundle_dir, phantom, tampered):
    values, _ = _stored(bundle_dir, phantom, threads=1)
    old = values.header.model_copy(
        update={
            "runtime_version": "1.0.0",
            "machine": {**values.header.machine, "cpu_model": "another"},
        }
    )
    report = _checked(
        tampered(_changed_network), phantom, values.model_copy(update={"header": old}), threads=2
    )
    assert [(item.what, item.where) for item in report.changes] == [
        ("version", "bundle"),
        ("weights", "filter fp32"),
        ("version", ""),
        ("runtime-version", ""),
        ("settings", "threads"),
        ("machine", "cpu_model"),
    ]
    assert report.verdict == "pass"  # what changed decides nothing: the values do


def test_another_candidate_is_another_variant(bundle_dir, phantom):
    values, _ = _stored(bundle_dir, phantom)
    report = _checked(bundle_dir, phantom, values, variant="int8-cpu")
    assert [item.what for item in report.changes] == ["variant", "precision"]


@pytest.mark.parametrize(("limit", "verdict"), [(0.5, "pass"), (0.0, "fail")])
def test_a_new_acquisition_is_held_to_the_declared_limit(
    bundle_dir, phantom, tmp_path, limit, verdict
):
    values, _ = _stored(bundle_dir, phantom, limit=limit)
    anew = _write(tmp_path / "anew", list(range(500, 500 + IMAGES)), shift=9)
    report = _checked(bundle_dir, anew, values, anew=True)
    assert report.verdict == verdict
    assert _claim(report, "stored-value").limit == limit
    # The same images are no new acquisition.
    report = _checked(bundle_dir, phantom, values, anew=True)
    assert (report.verdict, "not acquired anew" in report.reasons[-1]) == ("not-conclusive", True)


def test_a_new_acquisition_needs_a_limit_and_as_many_images(bundle_dir, phantom, tmp_path):
    values, _ = _stored(bundle_dir, phantom)
    with pytest.raises(PhantomRefusedError, match="nothing of a new acquisition"):
        _checked(bundle_dir, phantom, values, anew=True)
    values, _ = _stored(bundle_dir, phantom, limit=0.5)
    for count, expected in ((4, "image 5 is missing"), (6, "image 6 is extra")):
        anew = _write(tmp_path / f"anew {count}", list(range(500, 500 + count)), shift=9)
        report = _checked(bundle_dir, anew, values, anew=True)
        assert report.verdict == "fail"
        assert expected in report.reasons[0]


def test_regions_of_interest_come_from_the_folders_table(phantom):
    task = catalogue_task("liver-us/classify")
    with pytest.raises(PhantomRefusedError, match="image 1 has no region of interest"):
        read_phantom(phantom, task)
    rows = [f'{number}.dcm,"1,2,{number + 10},20"' for number in range(1, IMAGES + 1)]
    (phantom / "rois.csv").write_text("\n".join(["path,roi", *rows]), encoding="utf-8")
    images = read_phantom(phantom, task)
    assert [image.name for image in images] == [f"image {n}" for n in range(1, IMAGES + 1)]
    assert [image.roi for image in images] == [Box(1, 2, n + 10, 20) for n in range(1, IMAGES + 1)]
    # Who stores wants a table that is right; who checks reports the image that is gone.
    (phantom / "3.dcm").unlink()
    with pytest.raises(PhantomRefusedError, match=r"line 3 of rois\.csv names a file that is"):
        read_phantom(phantom, task)
    images = read_phantom(phantom, task, gone=True)
    assert [image.roi for image in images] == [Box(1, 2, n + 10, 20) for n in (1, 2, 4, 5)]


@pytest.mark.slow
def test_a_region_of_interest_is_part_of_an_image(liver_bundle_dir, tmp_path):
    folder = tmp_path / "liver"
    folder.mkdir()
    manifest = Bundle.open(liver_bundle_dir).manifest
    rows = ["path,roi"]
    for answer in manifest.known_answers[:2]:
        shutil.copy(liver_bundle_dir / answer.input, folder / f"{answer.id}.dcm")
        assert answer.roi is not None
        rows.append(f'{answer.id}.dcm,"{",".join(map(str, answer.roi))}"')
    (folder / "rois.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    values, _ = _stored(liver_bundle_dir, folder)
    assert [image.label for image in values.images] == [
        answer.label for answer in manifest.known_answers[:2]
    ]
    assert _checked(liver_bundle_dir, folder, values).verdict == "pass"
    assert manifest.known_answers[0].roi is not None
    x0, y0, x1, y1 = manifest.known_answers[0].roi
    rows[1] = f'{manifest.known_answers[0].id}.dcm,"{x0},{y0},{x1},{y1 - 1}"'
    (folder / "rois.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert "image 1 has other pixels" in _checked(liver_bundle_dir, folder, values).reasons[0]

    # The table still names a file that is gone: the check fails by its number.
    (folder / f"{manifest.known_answers[1].id}.dcm").unlink()
    rows[1] = f'{manifest.known_answers[0].id}.dcm,"{x0},{y0},{x1},{y1}"'
    (folder / "rois.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    report = _checked(liver_bundle_dir, folder, values)
    assert (report.verdict, report.reasons[0].endswith("image 2 is missing")) == ("fail", True)


def test_values_of_another_task_are_refused(bundle_dir, phantom):
    values, _ = _stored(bundle_dir, phantom)
    header = values.header.model_copy(update={"task": {"id": "other/task", "version": "1.0.0"}})
    with pytest.raises(NotComparableError):
        _checked(bundle_dir, phantom, values.model_copy(update={"header": header}))


def test_folders_that_cannot_be_stored(bundle_dir, phantom, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("nothing", encoding="utf-8")
    for folder, said in ((empty, "is empty"), (tmp_path / "none", "there is no folder")):
        with pytest.raises(PhantomRefusedError, match=said):
            _stored(bundle_dir, folder)
    shutil.copy(phantom / "1.dcm", phantom / "7.dcm")
    with pytest.raises(CasesRefusedError, match="image 6 has the same pixels as image 1"):
        _stored(bundle_dir, phantom)
    (phantom / "7.dcm").write_bytes(b"no DICOM")
    with pytest.raises(PhantomRefusedError, match="image 6 cannot be used: pixel-input-unreadable"):
        _stored(bundle_dir, phantom)
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "1.dcm").write_bytes(dicom_bytes(mr_object(np.full((48, 64), 7, np.uint16))))
    with pytest.raises(PhantomRefusedError, match="no image of the phantom has an answer"):
        _stored(bundle_dir, flat)


def test_stored_values_are_replaced_only_on_demand(bundle_dir, phantom, tmp_path):
    values, _ = _stored(bundle_dir, phantom)
    path = tmp_path / "values.json"
    write_values(path, values)
    with pytest.raises(OutputNotWritableError, match="there already"):
        write_values(path, _moved(values, 1.0))
    assert read_values(path) == values
    write_values(path, values, replace=True)
    with pytest.raises(OutputNotWritableError, match="taken"):
        write_values(phantom, values, replace=True)
    for replace in (False, True):
        with pytest.raises(OutputNotWritableError, match="no folder at that path"):
            write_values(tmp_path / "none/values.json", values, replace=replace)
    assert not (tmp_path / "none").exists()


Spoil = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document["images"][0]["outputs"].update({"filter.logits": [0.0, 0.0]}),
        lambda document: document["images"].pop(),
        lambda document: document["tolerance"].update({"filter.logits": 9.0}),
        lambda document: document.update(max_probability_change=1.0),
        lambda document: document["header"].update(runtime="openvino"),
        lambda document: document.update(sha256="0" * 64),
        lambda document: document.pop("sha256"),
    ],
)
def test_a_tampered_file_is_refused(bundle_dir, phantom, tmp_path, spoil: Spoil):
    path = tmp_path / "values.json"
    write_values(path, _stored(bundle_dir, phantom)[0])
    document = json.loads(path.read_bytes())
    spoil(document)
    path.write_bytes(canonical_json(document))
    with pytest.raises(ValuesTamperedError):
        read_values(path)


def _resigned(path: Path, **update: Any) -> None:
    document = json.loads(path.read_bytes()) | update
    document["sha256"] = sha256_of(
        canonical_json({key: value for key, value in document.items() if key != "sha256"})
    )
    path.write_bytes(canonical_json(document))


def test_files_that_are_none(bundle_dir, phantom, tmp_path):
    path = tmp_path / "values.json"
    with pytest.raises(ValuesUnreadableError, match="there are no stored values"):
        read_values(path)
    with pytest.raises(ValuesUnreadableError, match=r"a folder; .* name the file in it") as caught:
        read_values(tmp_path)
    assert "store" not in caught.value.remedy
    for data in (b"", b"[]", b"{}", b"\xff", b'{"kind":"medsdk-answers"}'):
        path.write_bytes(data)
        with pytest.raises(ValuesUnreadableError, match="is none"):
            read_values(path)
    write_values(path, _stored(bundle_dir, phantom)[0], replace=True)
    good = path.read_bytes()
    path.write_bytes(good.replace(b",", b", ", 1))
    with pytest.raises(ValuesTamperedError):
        read_values(path)
    path.write_bytes(good)
    _resigned(path, format_version="2.0")
    with pytest.raises(FormatVersionError):
        read_values(path)
    path.write_bytes(good)
    _resigned(path, surprise=True)
    with pytest.raises(ValuesUnreadableError):
        read_values(path)
    path.write_bytes(good)
    _resigned(path, images=json.loads(good)["images"][1:])
    with pytest.raises(ValuesUnreadableError, match="is none"):
        read_values(path)
