"""A step of the pixel contract that was changed is named, whichever it is."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medsdk.parity.explaining_outputs import to_bfloat16
from medsdk.parity.explaining_pixels import explain_tensor
from medsdk.pixels import Frame, Preprocessor
from medsdk.pixels.frame import ModalityLut
from medsdk.tasks.pixel_contract import PixelContract

COLOUR: dict[str, Any] = {
    "values": "stored",
    "intensity": {"kind": "as-is"},
    "working": "uint8",
    "monochrome1": "invert",
    "crop": {"kind": "none"},
    "fit": "stretch",
    "resize": {"kernel": "pil.bilinear.hv", "height": 24, "width": 24},
    "channels": {"order": "rgb"},
    "normalisation": {
        "divide_by": 255.0,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}
CT: dict[str, Any] = {
    **COLOUR,
    "values": "hu",
    "intensity": {"kind": "window", "center": 40.0, "width": 400.0},
    "channels": {"order": "grey"},
    "normalisation": {"divide_by": 255.0, "mean": [0.5], "std": [0.25]},
}
rng = np.random.default_rng(5)
RGB = Frame(rng.integers(0, 256, (40, 64, 3)).astype(np.uint8), color="RGB", value_kind="display")
SLICE = Frame(
    rng.integers(800, 1300, (40, 64)).astype(np.uint16),
    modality_lut=ModalityLut(slope=1.0, intercept=-1024.0, units="HU"),
)


def _contract(base: dict[str, Any], **changes: Any) -> PixelContract:
    document = json.loads(json.dumps(base))
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = document
        for parent in parents:
            place = place[parent]
        place[last] = value
    return PixelContract.model_validate_json(json.dumps(document))


def _said(
    base: dict[str, Any],
    got: NDArray[Any] | None = None,
    want: NDArray[Any] | None = None,
    **at: Any,
) -> str:
    """What is said where the bundle's contract has these changes and the reference has none."""
    frame = RGB if base is COLOUR else SLICE
    contract = _contract(base, **at)
    made = Preprocessor(contract).prepare(frame).tensor
    stored = Preprocessor(_contract(base)).prepare(frame).tensor
    return (
        explain_tensor(
            made if got is None else got,
            stored,
            contract,
            "nchw",
            lambda other: other.prepare(frame).tensor,
        )
        or ""
    )


@pytest.mark.parametrize(
    ("base", "changes", "said"),
    [
        (COLOUR, {"channels__order": "bgr"}, "channels are in another order: reversed"),
        (COLOUR, {"normalisation__mean": [0.406, 0.456, 0.485]}, "channel 0"),
        (
            COLOUR,
            {"normalisation__mean": [0.485, 0.456 + 1 / 255, 0.406]},
            "a constant offset of -0.01751 in channel 1: the stored tensor was made with mean "
            "0.456, the task says 0.459922 (+0.003922)",
        ),
        (
            COLOUR,
            {"normalisation__std": [0.229, 0.224, 0.25]},
            "channel 2: the stored tensor was made with mean 0.406 and std 0.225, the task says "
            "0.406 and 0.25",
        ),
        (
            COLOUR,
            {"normalisation__divide_by": 256.0},
            "made with divide_by 255, the task says 256",
        ),
        (COLOUR, {"resize__kernel": "opencv.area"}, "kernel 'pil.bilinear.hv' gives, the task"),
        (COLOUR, {"resize__kernel": "torch.bilinear"}, "kernel 'pil.bilinear.hv' gives, the task"),
        (COLOUR, {"fit": "cover"}, "fit = 'stretch' gives, the task says 'cover'"),
        (COLOUR, {"crop": {"kind": "centre-square"}}, "crop 'none' gives, the task says"),
        (CT, {"intensity__center": 41.0}, "window of center 40 gives, the task says 41: it is off"),
        (CT, {"intensity__width": 398.0}, "window of width 400 gives, the task says 398"),
        (CT, {"intensity__function": "linear-exact"}, "window function 'linear' gives"),
        (
            CT,
            {"intensity__center": 47.0},
            "window of center 40 and width 400 gives, the task says 47",
        ),
        (CT, {"intensity__center": -23.0, "intensity__width": 313.0}, "center 40 and width 400"),
        (
            CT,
            {"intensity": {"kind": "percentile", "low": 1, "high": 99}},
            "window of center 40 and width 400 gives, the task says percentiles 1 to 99",
        ),
        (CT, {"intensity": {"kind": "min-max"}}, "width 400 gives, the task says 'min-max'"),
    ],
)
def test_a_step_that_was_changed_is_named(base, changes, said):
    assert said in _said(base, **changes)


def test_three_equal_channels_are_in_no_other_order():
    """A grey image in three channels, one of which is off by less than float32 tells."""
    three = {
        **CT,
        "channels": {"order": "rgb"},
        "normalisation": {"divide_by": 255.0, "mean": [0.5] * 3, "std": [0.25] * 3},
    }
    contract = _contract(three, normalisation__mean=[0.5 + 1e-6, 0.5, 0.5])
    got = Preprocessor(contract).prepare(SLICE).tensor
    want = Preprocessor(_contract(three)).prepare(SLICE).tensor
    assert not np.array_equal(got, want)
    said = explain_tensor(got, want, contract, "nchw", lambda other: other.prepare(SLICE).tensor)
    assert "order" not in (said or "")


def test_nothing_is_said_of_equal_tensors():
    assert _said(COLOUR) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x[:, :, :, ::-1], "flipped left to right"),
        (lambda x: x[:, :, ::-1], "flipped top to bottom"),
        (lambda x: x.swapaxes(2, 3), "transposed"),
        (lambda x: x.transpose(0, 2, 3, 1), "the axes are in another order: (1, 24, 24, 3)"),
        (lambda x: x[:, ::-1], "channels are in another order: reversed, all 3 agree, or their"),
        (to_bfloat16, "look like bfloat16"),
        (lambda x: np.where(np.arange(24) == 7, np.nan, x), "not finite at [0, 0, 0, 7]"),
        (lambda x: x[:, :, :12], ""),
    ],
)
def test_what_a_machine_may_do_to_a_tensor(change, said):
    tensor = Preprocessor(_contract(COLOUR)).prepare(RGB).tensor
    got = _said(COLOUR, got=np.ascontiguousarray(change(tensor)))
    assert said in got
    assert bool(said) == bool(got)


def test_a_turn_before_the_resize_is_a_turn():
    """It rounds otherwise after the resize, by one grey level."""
    contract = _contract(COLOUR)
    turned = Frame(np.ascontiguousarray(RGB.array[:, ::-1]), color="RGB", value_kind="display")
    got = Preprocessor(contract).prepare(turned).tensor
    assert "flipped left to right" in _said(COLOUR, got=got)


def test_inverted_grey_levels():
    contract = _contract(CT)
    inverted = Frame(SLICE.array, color="MONOCHROME1", modality_lut=SLICE.modality_lut)
    got = Preprocessor(contract).prepare(inverted).tensor
    assert "inverted: MONOCHROME1" in _said(CT, got=got)


def test_one_value_alone_is_placed():
    tensor = Preprocessor(_contract(COLOUR)).prepare(RGB).tensor
    got = tensor.copy()
    got[0, 2, 3, 4] += 3
    said = _said(COLOUR, got=got)
    assert "largest at channel 2, row 3, column 4" in said
    assert "only channel 2 is off" in said
    got = tensor.copy()
    got[0, 2, 3, 4] += np.float32(0.5 / 255 / 0.225)
    assert "nowhere by more than one grey level" in _said(COLOUR, got=got)
