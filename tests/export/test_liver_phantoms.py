"""Liver phantoms: physics against theory, truth against the picture, DICOM against PS3.3."""

from __future__ import annotations

import csv
import io
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from medsdk.tasks import catalogue_task
from medsdk_export.phantoms import TASKS, __main__, cases, to_dicom, write
from medsdk_export.phantoms._bmode import (
    Beams,
    compressed,
    envelope,
    round_trip_loss_db,
    scatterers,
    transmitted,
)
from medsdk_export.phantoms._liver import Liver, View, paint_liver, paint_shadows
from medsdk_export.phantoms._liver_lesions import KINDS, Lesion
from medsdk_export.phantoms._tissue import Tissue
from medsdk_export.phantoms._us_scanner import DEVICES, Device, Screen
from medsdk_export.phantoms.liver_us import (
    FRAMES_PER_PATIENT,
    Phantom,
    clip_at,
    frame_at,
    frames,
)

_SEED = 5
_LIVER_TASKS = ("liver-us/classify", "liver-us/malignancy")
_CONVEX = DEVICES[0]


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    return list(frames(60, _SEED))


def _beams(device: Device) -> Beams:
    return Beams.of(device.probe, device.depths_mm[0])


def _detected(tissue: Tissue, beams: Beams, seed: int = 3) -> NDArray[np.float32]:
    level = tissue.level_db - round_trip_loss_db(tissue.attenuation, beams)
    field = scatterers(np.random.default_rng(seed), beams) * transmitted(level)
    return envelope(field, beams)


def _power_db(detected: NDArray[np.float32]) -> float:
    return float(10.0 * np.log10(np.mean(np.square(detected, dtype=np.float64))))


# Physics.


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_speckle_is_rayleigh_and_of_unit_power_at_every_depth(device: Device) -> None:
    beams = _beams(device)
    detected = envelope(scatterers(np.random.default_rng(1), beams), beams)[16:-16]
    # A Rayleigh variable: mean over standard deviation is sqrt(pi / (4 - pi)) = 1.913.
    assert detected.mean() / detected.std() == pytest.approx(
        math.sqrt(math.pi / (4 - math.pi)), abs=0.04
    )
    for start in (8, 130, 250, 370):
        assert _power_db(detected[:, start : start + 120]) == pytest.approx(0.0, abs=0.4)


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_tissue_takes_half_a_db_per_cm_and_mhz_each_way(device: Device) -> None:
    beams = _beams(device)
    tissue = Tissue(beams, np.zeros_like(beams.x_mm), 0.5, 0.0)
    detected = _detected(tissue, beams)
    level = 10.0 * np.log10(np.mean(detected[16:-16] ** 2, axis=0))
    slope = np.polyfit(beams.r_mm[0, 20:-20] / 10.0, level[20:-20], 1)[0]
    assert slope == pytest.approx(-2 * 0.5 * device.probe.frequency_mhz, rel=0.03)


def test_the_beam_is_narrowest_at_the_focus() -> None:
    beams = _beams(_CONVEX)
    points = np.zeros_like(beams.x_mm, dtype=np.complex64)
    middle = beams.probe.lines // 2
    depths_mm = (20.0, 70.0, 105.0)
    at = [int(depth / beams.step_mm) for depth in depths_mm]
    points[middle, at] = 1.0
    image = envelope(points, beams)
    widths = []
    for sample in at:
        across = (np.arange(beams.probe.lines) - middle) * beams.pitch_mm[0, sample]
        row = image[:, sample].astype(np.float64)
        widths.append(2.355 * math.sqrt(np.sum(row * across**2) / np.sum(row)))
    # At the focus the width at half maximum is wavelength times f-number; elsewhere wider.
    expected = beams.probe.wavelength_mm * beams.probe.f_number
    assert widths[1] == pytest.approx(expected, rel=0.05)
    assert widths[0] > 1.3 * expected
    assert widths[2] > 1.15 * expected


def test_an_echo_does_not_come_back_at_the_other_end() -> None:
    beams = _beams(_CONVEX)
    field = np.zeros_like(beams.x_mm, dtype=np.complex64)
    field[0, 0] = 1.0
    image = envelope(field, beams)
    assert image.max() > 0.1
    assert image[-20:].max() < 1e-6
    assert image[:, -20:].max() < 1e-6


def test_compression_is_logarithmic() -> None:
    grey = compressed(np.array([[1.0, 10.0, 0.1]], np.float32), 0.0, 60.0, 0.5)
    np.testing.assert_allclose(grey, [[0.5, 0.5 + 20 / 60, 0.5 - 20 / 60]], rtol=1e-5)


def _with_lesion(kind: str, attenuation: float = 0.5) -> tuple[Tissue, Beams]:
    beams = _beams(_CONVEX)
    tissue = Tissue(beams, np.zeros_like(beams.x_mm), attenuation, 0.0)
    rng = np.random.default_rng(2)
    lesion = Lesion.draw(rng, kind, 15.0, attenuation)  # type: ignore[arg-type]
    while lesion.appearance not in ("simple", "bright", "target") or lesion.more:
        lesion = Lesion.draw(rng, kind, 15.0, attenuation)  # type: ignore[arg-type]
    lesion.paint(tissue, (0.0, 50.0))
    return tissue, beams


def _patch(beams: Beams, x_mm: float, z_mm: float) -> tuple[slice, slice]:
    """A piece of some resolution cells around a point."""
    distance = np.hypot(beams.x_mm - x_mm, beams.z_mm - z_mm)
    line, sample = np.unravel_index(int(np.argmin(distance)), distance.shape)
    return slice(line - 5, line + 6), slice(sample - 20, sample + 21)


def test_behind_a_cyst_it_is_brighter_than_beside() -> None:
    tissue, beams = _with_lesion("cyst")
    detected = _detected(tissue, beams)
    behind = _power_db(detected[_patch(beams, 0.0, 85.0)])
    beside = _power_db(detected[_patch(beams, 35.0, 85.0)])
    inside = _power_db(detected[_patch(beams, 0.0, 52.0)])
    # 3 cm of fluid in place of tissue save 2 x 0.5 dB/cm/MHz x 3.5 MHz x 3 cm, less the wall.
    assert 4.0 < behind - beside < 11.5
    assert inside < beside - 10.0


def test_a_typical_hemangioma_is_bright_and_a_target_has_a_dark_rim() -> None:
    tissue, beams = _with_lesion("hemangioma", attenuation=0.0)
    detected = _detected(tissue, beams)
    assert _power_db(detected[_patch(beams, 0.0, 50.0)]) > 3.0
    tissue, beams = _with_lesion("metastasis", attenuation=0.0)
    distance = np.hypot(beams.x_mm, beams.z_mm - 50.0)
    rim, core = (distance > 11.5) & (distance < 13.0), distance < 5.0
    detected = _detected(tissue, beams)
    assert _power_db(detected[rim]) < _power_db(detected[core]) - 3.0
    assert _power_db(detected[rim]) < -3.0


def test_shadows_are_dark_and_spare_the_lesion() -> None:
    beams = _beams(_CONVEX)
    view = View(beams, 0.0, 0.25)
    liver = Liver("normal", 15.0, 0.5, 20.0, 0.5, 0.0)
    shadows = 0
    for seed in range(12):
        tissue = Tissue(beams, np.zeros_like(beams.x_mm), 0.5, 0.0)
        paint_shadows(np.random.default_rng(seed), tissue, liver, view)
        deep = round_trip_loss_db(tissue.attenuation, beams)[:, -1]
        plain = 2 * 0.5 * beams.probe.frequency_mhz * beams.depth_mm / 10.0
        lines = np.linspace(-1, 1, beams.probe.lines)
        spared = np.abs(lines) < view.half_width
        np.testing.assert_allclose(deep[spared], plain, rtol=1e-4)
        shadowed = deep > plain + 20.0
        shadows += bool(shadowed.any())
        if shadowed.any():
            detected = _detected(tissue, beams)
            dark = _power_db(detected[shadowed, 400:])
            assert dark < _power_db(detected[spared, 400:]) - 15.0
    assert 3 <= shadows <= 12


def test_breathing_moves_the_liver_and_not_the_wall() -> None:
    beams = _beams(_CONVEX)
    liver = Liver("cirrhotic", 15.0, 0.5, 6.0, 1.5, 3.0)
    still, moved = (
        paint_liver(np.random.default_rng(4), liver, View(beams, 0.0, 0.2, sunk_mm))
        for sunk_mm in (0.0, 10 * beams.step_mm)
    )
    wall = slice(0, int(10.0 / beams.step_mm))
    np.testing.assert_allclose(still.level_db[:, wall], moved.level_db[:, wall], atol=1e-4)
    # Along the middle beam the liver has moved by ten samples.
    middle = beams.probe.lines // 2
    at_rest, sunk = still.level_db[middle, 120:400], moved.level_db[middle, 130:410]
    assert np.corrcoef(at_rest, sunk)[0, 1] > 0.98
    assert np.corrcoef(at_rest, moved.level_db[middle, 120:400])[0, 1] < 0.98


# Frames and their truth.


def test_a_longer_run_begins_with_the_shorter(phantoms: list[Phantom]) -> None:
    for short, long in zip(frames(4, _SEED), phantoms, strict=False):
        assert short.patient == long.patient
        np.testing.assert_array_equal(short.pixels, long.pixels)
    np.testing.assert_array_equal(frame_at(37, _SEED).pixels, phantoms[37].pixels)


def test_seeds_share_neither_patients_nor_pixels(phantoms: list[Phantom]) -> None:
    radii_mm = {round(p.lesion_px[2] * p.mm_per_pixel, 6) for p in phantoms}
    assert len(radii_mm) == len(phantoms) // FRAMES_PER_PATIENT
    for other in frames(6, _SEED + 1):
        assert round(other.lesion_px[2] * other.mm_per_pixel, 6) not in radii_mm
        assert all(other.patient != phantom.patient for phantom in phantoms)
        assert not any(np.array_equal(other.pixels, phantom.pixels) for phantom in phantoms[:6])


def test_frames_of_a_patient_show_one_lesion_from_several_sides(phantoms: list[Phantom]) -> None:
    for one, two in pairwise(phantoms):
        same = one.index // FRAMES_PER_PATIENT == two.index // FRAMES_PER_PATIENT
        assert (one.patient == two.patient) == same
        if same:
            assert (one.kind, one.appearance, one.stratum) == (
                two.kind,
                two.appearance,
                two.stratum,
            )
            assert not np.array_equal(one.pixels, two.pixels)


def test_every_kind_and_device_turns_up(phantoms: list[Phantom]) -> None:
    assert {phantom.kind for phantom in phantoms} == set(KINDS)
    assert {phantom.stratum for phantom in phantoms} == {device.name for device in DEVICES}
    assert all(p.malignant == (p.kind in ("HCC", "metastasis")) for p in phantoms)


def test_the_square_holds_the_lesion_and_lies_in_the_scanned_area(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        x0, y0, x1, y1 = phantom.roi
        left, top, right, bottom = phantom.region
        rows, columns = phantom.pixels.shape[:2]
        assert x1 - x0 == y1 - y0 >= 48
        assert 0 <= left <= x0 < x1 <= right <= columns
        assert 0 <= top <= y0 < y1 <= bottom <= rows
        x, y, radius = phantom.lesion_px
        assert x0 <= x - 0.7 * radius < x + 0.7 * radius <= x1
        assert y0 <= y - 0.7 * radius < y + 0.7 * radius <= y1


def test_a_simple_cyst_is_where_the_facts_say(phantoms: list[Phantom]) -> None:
    found = [phantom for phantom in phantoms if phantom.appearance == "cyst-simple"]
    assert found
    for phantom in found:
        x, y, radius = phantom.lesion_px
        rows, columns = np.mgrid[: phantom.pixels.shape[0], : phantom.pixels.shape[1]]
        distance = np.hypot(columns + 0.5 - x, rows + 0.5 - y)
        grey = phantom.pixels.max(axis=2)
        ring = (distance > 1.5 * radius) & (distance < 1.8 * radius)
        assert np.median(grey[distance < 0.4 * radius]) < 0.6 * np.median(grey[ring])


def test_outside_the_scanned_area_there_is_only_the_screen(phantoms: list[Phantom]) -> None:
    for device in DEVICES:
        one, two = [p for p in phantoms if p.stratum == device.name][:2]
        screen = Screen.of(device, one.depth_mm)
        outside = np.ones(screen.device.rows * screen.device.columns, dtype=bool)
        outside[screen.pixels] = False
        np.testing.assert_array_equal(
            one.pixels.reshape(-1, 3)[outside], screen.template.reshape(-1, 3)[outside]
        )
        assert two.pixels.shape == one.pixels.shape


def test_devices_differ_in_size_and_tint(phantoms: list[Phantom]) -> None:
    assert len({phantom.pixels.shape for phantom in phantoms}) == 3
    tinted = {
        phantom.stratum
        for phantom in phantoms
        if not np.array_equal(phantom.pixels[..., 0], phantom.pixels[..., 2])
    }
    assert {"convex-b", "convex-c"} <= tinted
    assert all(phantom.pixels.dtype == np.uint8 for phantom in phantoms)


def test_pixels_cannot_be_changed(phantoms: list[Phantom]) -> None:
    with pytest.raises(ValueError, match="read-only"):
        phantoms[0].pixels[0, 0, 0] = 1


@pytest.mark.parametrize(("index", "seed"), [(-1, 0), (0, -1)])
def test_arguments_out_of_range_are_refused(index: int, seed: int) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        frame_at(index, seed)


# DICOM.


@pytest.fixture(scope="module")
def clip() -> Phantom:
    return clip_at(4, _SEED, frame_count=3, frame_time_ms=200.0)


def _read_back(phantom: Phantom) -> pydicom.FileDataset:
    stream = io.BytesIO()
    to_dicom(phantom).save_as(stream, enforce_file_format=True)
    stream.seek(0)
    return pydicom.dcmread(stream)


def test_a_frame_reads_back_as_a_valid_ultrasound_image(phantoms: list[Phantom]) -> None:
    phantom = phantoms[7]
    dataset = _read_back(phantom)
    assert dataset.SOPClassUID == pydicom.uid.UltrasoundImageStorage
    assert dataset.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert dataset.Modality == "US"
    assert (dataset.SamplesPerPixel, dataset.PhotometricInterpretation) == (3, "RGB")
    assert (dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit) == (8, 8, 7)
    assert dataset.PlanarConfiguration == 0
    assert "PHANTOM" in dataset.Manufacturer
    assert "PHANTOM" in dataset.ManufacturerModelName
    assert phantom.stratum in dataset.ManufacturerModelName
    np.testing.assert_array_equal(dataset.pixel_array, phantom.pixels)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert dataset[keyword].value.is_valid


def test_a_clip_reads_back_as_a_valid_multi_frame(clip: Phantom) -> None:
    dataset = _read_back(clip)
    assert dataset.SOPClassUID == pydicom.uid.UltrasoundMultiFrameImageStorage
    assert dataset.NumberOfFrames == 3
    assert dataset.FrameIncrementPointer == pydicom.tag.Tag("FrameTime")
    assert float(dataset.FrameTime) == 200.0
    np.testing.assert_array_equal(dataset.pixel_array, clip.pixels)


def test_a_clip_begins_with_its_still_and_breathes(clip: Phantom, phantoms: list[Phantom]) -> None:
    np.testing.assert_array_equal(clip.pixels[0], phantoms[4].pixels)
    assert (clip.roi, clip.patient) == (phantoms[4].roi, phantoms[4].patient)
    assert not np.array_equal(clip.pixels[0], clip.pixels[1])
    assert to_dicom(clip).SOPInstanceUID != to_dicom(phantoms[4]).SOPInstanceUID
    with pytest.raises(ValueError, match="frame_count must be 1 or more"):
        clip_at(0, 1, frame_count=0)


def test_the_region_is_one_b_mode_area_in_cm(phantoms: list[Phantom]) -> None:
    for phantom in phantoms[::7]:
        dataset = _read_back(phantom)
        (region,) = dataset.SequenceOfUltrasoundRegions
        # 2D, tissue, cm in both directions (PS3.3 C.8.5.5.1).
        assert (region.RegionSpatialFormat, region.RegionDataType) == (1, 1)
        assert (region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection) == (3, 3)
        assert 0 <= region.RegionLocationMinX0 < region.RegionLocationMaxX1 < dataset.Columns
        assert 0 <= region.RegionLocationMinY0 < region.RegionLocationMaxY1 < dataset.Rows
        x0, y0, x1, y1 = phantom.roi
        assert region.RegionLocationMinX0 <= x0 < x1 <= region.RegionLocationMaxX1 + 1
        assert region.RegionLocationMinY0 <= y0 < y1 <= region.RegionLocationMaxY1 + 1
        # From the reference pixel, the skin, to the last row it is the depth that was set.
        below = (
            region.RegionLocationMaxY1 + 1 - region.RegionLocationMinY0 - region.ReferencePixelY0
        )
        assert 10 * below * region.PhysicalDeltaY == pytest.approx(
            phantom.depth_mm, abs=2 * phantom.mm_per_pixel
        )
        middle = region.RegionLocationMinX0 + region.ReferencePixelX0
        assert middle == pytest.approx((phantom.region[0] + phantom.region[2]) / 2, abs=1.5)
        assert region.PhysicalDeltaX == region.PhysicalDeltaY


def test_no_object_holds_an_identity(phantoms: list[Phantom], clip: Phantom) -> None:
    for phantom in (phantoms[0], clip):
        dataset = to_dicom(phantom)
        for keyword in (
            "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate",
            "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
        ):  # fmt: skip
            assert keyword in dataset
            assert not dataset[keyword].value
        assert dataset.PatientIdentityRemoved == "YES"
        assert dataset.BurnedInAnnotation == "NO"
        assert phantom.patient not in str(dataset)
        assert not any(e.VR in {"PN", "DA", "TM", "DT", "AE"} and e.value for e in dataset)


def test_uids_follow_the_patient(phantoms: list[Phantom]) -> None:
    first, second, stranger = (to_dicom(phantoms[index]) for index in (0, 1, 3))
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.StudyInstanceUID != stranger.StudyInstanceUID


@pytest.mark.parametrize("syntax", ["implicit-little", "rle"])
def test_every_syntax_keeps_the_pixels(syntax: str, phantoms: list[Phantom]) -> None:
    stream = io.BytesIO()
    to_dicom(phantoms[3], syntax=syntax).save_as(stream, enforce_file_format=True)  # type: ignore[arg-type]
    stream.seek(0)
    np.testing.assert_array_equal(pydicom.dcmread(stream).pixel_array, phantoms[3].pixels)


# Files.


@pytest.mark.parametrize("task_id", TASKS)
def test_cases_have_labels_of_their_task(task_id: str) -> None:
    task = catalogue_task(task_id)
    (network,) = task.networks.values()
    takes_roi = network.pixels.crop.kind == "roi"
    for case in cases(task_id, 4, 1):
        assert case.label in network.decode.labels  # type: ignore[union-attr]
        assert (case.roi is not None) == takes_roi
        dataset = pydicom.dcmread(io.BytesIO(case.to_bytes()))
        assert dataset.Modality in task.input.modalities


def test_both_liver_tasks_tell_the_same_truth() -> None:
    kinds, malignancies = (list(cases(task_id, 12, 3)) for task_id in _LIVER_TASKS)
    for kind, malignancy in zip(kinds, malignancies, strict=True):
        expected = "malignant" if kind.label in ("HCC", "metastasis") else "benign"
        assert malignancy.label == expected
        assert (malignancy.patient, malignancy.roi) == (kind.patient, kind.roi)


def test_the_tables_hold_truth_and_regions(tmp_path: Path, phantoms: list[Phantom]) -> None:
    table = tmp_path / "tables" / "cases.csv"
    written = write(_LIVER_TASKS[0], tmp_path / "images", 5, _SEED, table)
    assert [path.name for path in written] == [f"{number:04d}.dcm" for number in range(5)]
    text = table.read_text(encoding="utf-8")
    assert text.startswith("path,truth,patient,stratum,roi\n")
    rois = (tmp_path / "images" / "rois.csv").read_text(encoding="utf-8")
    assert rois.startswith("path,roi\n")
    rows = list(csv.DictReader(io.StringIO(text)))
    for row, beside, phantom in zip(
        rows, csv.DictReader(io.StringIO(rois)), phantoms[:5], strict=True
    ):
        assert row["path"] == f"../images/{phantom.index:04d}.dcm"
        assert (row["truth"], row["patient"]) == (phantom.kind, phantom.patient)
        assert row["stratum"] == phantom.stratum
        assert tuple(map(int, row["roi"].split(","))) == phantom.roi
        assert beside == {"path": f"{phantom.index:04d}.dcm", "roi": row["roi"]}


def test_a_task_without_a_region_has_no_table_of_them(tmp_path: Path) -> None:
    write("uterus-mr/tumor-filter", tmp_path, 1, 1, tmp_path / "cases.csv")
    assert not (tmp_path / "rois.csv").exists()
    assert (
        (tmp_path / "cases.csv")
        .read_text(encoding="utf-8")
        .startswith("path,truth,patient,stratum\n")
    )


@pytest.mark.parametrize("task_id", _LIVER_TASKS)
def test_the_command_line_writes_files(task_id: str, tmp_path: Path) -> None:
    out, table = tmp_path / "out", tmp_path / "cases.csv"
    arguments = [task_id, "--out", str(out), "--count", "2", "--seed", "3", "--cases", str(table)]
    assert __main__.main(arguments) == 0
    assert len(list(out.glob("*.dcm"))) == 2
    assert len(table.read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize(
    ("task_id", "count", "seed"), [("liver-us/no", 1, 1), *[(t, 0, 1) for t in TASKS]]
)
def test_cases_refuse_what_they_cannot_make(task_id: str, count: int, seed: int) -> None:
    with pytest.raises(ValueError, match=r"allowed: uterus-mr/tumor-filter|count must be 1"):
        cases(task_id, count, seed)
