"""Resizing inside the graph, in the coordinate modes that torch and Keras export."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medsdk_conformance.case import Case, Problem, one_to_one
from medsdk_conformance.graphs import node
from medsdk_conformance.oracles import Coordinates, resize_linear


def _nearest(coordinates: str, rounding: str, factor: int) -> Callable[[], Problem]:
    return lambda: one_to_one(
        [
            node(
                "Resize",
                ["x", "", "scales"],
                "y",
                mode="nearest",
                coordinate_transformation_mode=coordinates,
                nearest_mode=rounding,
            )
        ],
        lambda x: x.repeat(factor, axis=2).repeat(factor, axis=3),
        (2, 4, 5),
        scales=np.array([1, 1, factor, factor], np.float32),
    )


def _linear(
    coordinates: Coordinates, size: tuple[int, int], axes: tuple[int, ...]
) -> Callable[[], Problem]:
    """To a size that the graph computes from the batch, as exporters write it."""
    return lambda: one_to_one(
        [
            node("Shape", ["x"], "shape"),
            node("Slice", ["shape", "zero", "two"], "kept"),
            node("Concat", ["kept", "size"], "sizes", axis=0),
            node(
                "Resize",
                ["x", "", "", "sizes"],
                "y",
                mode="linear",
                coordinate_transformation_mode=coordinates,
            ),
        ],
        lambda x: resize_linear(x, size, coordinates),
        axes,
        zero=np.array([0]),
        two=np.array([2]),
        size=np.array(size),
    )


def _scaled(coordinates: Coordinates, factor: int) -> Callable[[], Problem]:
    return lambda: one_to_one(
        [
            node(
                "Resize",
                ["x", "", "scales"],
                "y",
                mode="linear",
                coordinate_transformation_mode=coordinates,
            )
        ],
        lambda x: resize_linear(x, (4 * factor, 5 * factor), coordinates),
        (3, 4, 5),
        scales=np.array([1, 1, factor, factor], np.float32),
    )


CASES: tuple[Case, ...] = (
    Case(
        "resize-nearest",
        "fp32",
        "Resize nearest, twice, asymmetric and floor, as torch writes it",
        _nearest("asymmetric", "floor", 2),
    ),
    Case(
        "resize-nearest-half-pixel",
        "fp32",
        "Resize nearest, three times, half_pixel, as Keras writes it",
        _nearest("half_pixel", "round_prefer_floor", 3),
    ),
    Case(
        "resize-linear",
        "resize-linear",
        "Resize linear, 4 times, half_pixel",
        _scaled("half_pixel", 4),
    ),
    Case(
        "resize-linear-to-size",
        "resize-linear",
        "Resize linear to 13 x 9, half_pixel, of a size that the graph computes",
        _linear("half_pixel", (13, 9), (3, 5, 4)),
    ),
    Case(
        "resize-linear-torch",
        "resize-linear",
        "Resize linear to 11 x 10, pytorch_half_pixel",
        _linear("pytorch_half_pixel", (11, 10), (3, 4, 5)),
    ),
    Case(
        "resize-linear-torch-one-pixel",
        "resize-linear",
        "Resize linear to 1 x 1, pytorch_half_pixel: the first pixel",
        _linear("pytorch_half_pixel", (1, 1), (3, 4, 5)),
    ),
    Case(
        "resize-linear-aligned",
        "resize-linear",
        "Resize linear to 9 x 12, align_corners",
        _linear("align_corners", (9, 12), (3, 4, 5)),
    ),
    Case(
        "resize-linear-asymmetric",
        "resize-linear",
        "Resize linear, twice, asymmetric, as older Keras exports have it",
        _scaled("asymmetric", 2),
    ),
    Case(
        "resize-linear-shrinking",
        "resize-linear",
        "Resize linear from 9 x 8 to 4 x 3, half_pixel",
        _linear("half_pixel", (4, 3), (2, 9, 8)),
    ),
    Case(
        "resize-linear-from-one-pixel",
        "resize-linear",
        "Resize linear from 1 x 1, as ASPP's pooled branch needs it",
        _linear("half_pixel", (5, 6), (4, 1, 1)),
    ),
)
"""Every resize in float32."""
