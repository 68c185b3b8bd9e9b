"""Pieces of the catalogue's networks, as they are exported: what fuses in a library fuses here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsdk_conformance.case import Case, Problem, float32, normal, one_to_one, problem
from medsdk_conformance.graphs import node
from medsdk_conformance.oracles import (
    convolve,
    per_channel,
    pool,
    resize_linear,
    sigmoid,
    softmax,
)

Values = NDArray[Any]


def _wide(array: NDArray[np.float32]) -> NDArray[np.float64]:
    return array.astype(np.float64)


def _normalized(x: Values, scale: Values, shift: Values) -> Values:
    """BatchNormalization of mean 0 and variance 1, epsilon 1e-5."""
    return np.asarray(x / np.sqrt(1 + 1e-5) * per_channel(scale) + per_channel(shift))


def _inverted_residual() -> Problem:
    """MobileNetV2's block: widen, depthwise, narrow, add; BatchNormalization not folded."""
    widen, depthwise, narrow = (
        normal(50, 24, 8, 1, 1),
        normal(51, 24, 1, 3, 3),
        normal(52, 8, 24, 1, 1),
    )
    tensors: dict[str, Any] = {"widen": widen, "depthwise": depthwise, "narrow": narrow}
    for name, channels in (("1", 24), ("2", 24), ("3", 8)):
        tensors |= {
            f"scale{name}": np.abs(normal(53, channels)) + np.float32(0.3),
            f"shift{name}": normal(54, channels),
            f"mean{name}": np.zeros(channels, np.float32),
            f"variance{name}": np.ones(channels, np.float32),
        }
    tensors |= {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}

    def normalize(source: str, target: str, name: str) -> Any:  # noqa: ANN401 - NodeProto
        parts = [f"{part}{name}" for part in ("scale", "shift", "mean", "variance")]
        return node("BatchNormalization", [source, *parts], target, epsilon=1e-5)

    def formula(x: Values) -> Values:
        def bn(values: Values, name: str) -> Values:
            return _normalized(values, tensors[f"scale{name}"], tensors[f"shift{name}"])

        y = np.clip(bn(convolve(x, _wide(widen)), "1"), 0, 6)
        y = np.clip(bn(convolve(y, _wide(depthwise), groups=24), "2"), 0, 6)
        return x + bn(convolve(y, _wide(narrow)), "3")

    return one_to_one(
        [
            node("Conv", ["x", "widen"], "a"),
            normalize("a", "b", "1"),
            node("Clip", ["b", "low", "high"], "c"),
            node("Conv", ["c", "depthwise"], "d", pads=[1] * 4, group=24),
            normalize("d", "e", "2"),
            node("Clip", ["e", "low", "high"], "f"),
            node("Conv", ["f", "narrow"], "g"),
            normalize("g", "h", "3"),
            node("Add", ["x", "h"], "y"),
        ],
        formula,
        (8, 9, 7),
        **tensors,
    )


def _vgg_block() -> Problem:
    first, second = normal(55, 6, 3, 3, 3) / np.float32(4), normal(56, 6, 6, 3, 3) / np.float32(6)
    bias = normal(57, 6)
    return one_to_one(
        [
            node("Conv", ["x", "first", "bias"], "a", pads=[1] * 4),
            node("Relu", ["a"], "b"),
            node("Conv", ["b", "second"], "c", pads=[1] * 4),
            node("Relu", ["c"], "d"),
            node("MaxPool", ["d"], "y", kernel_shape=[2, 2], strides=[2, 2]),
        ],
        lambda x: pool(
            np.maximum(
                convolve(
                    np.maximum(convolve(x, _wide(first)) + per_channel(bias), 0), _wide(second)
                ),
                0,
            ),
            (2, 2),
            (2, 2),
            (0, 0, 0, 0),
            "max",
        ),
        (3, 10, 8),
        first=first,
        second=second,
        bias=bias,
    )


def _yolo_neck() -> Problem:
    """A coarse map, enlarged and joined to a fine one."""
    weights = normal(58, 3, 5, 1, 1)
    calls = []
    for batch in (1, 2):
        coarse, fine = normal(59, batch, 3, 3, 4), normal(60, batch, 2, 6, 8)
        joined = np.concatenate([coarse.repeat(2, axis=2).repeat(2, axis=3), fine], axis=1)
        mixed = convolve(_wide(joined), _wide(weights))
        slope = np.where(mixed > 0, mixed, np.float32(0.1) * mixed)
        calls.append(({"coarse": coarse, "fine": fine}, {"y": float32(slope)}))
    return problem(
        [
            node(
                "Resize",
                ["coarse", "", "scales"],
                "large",
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
            node("Concat", ["large", "fine"], "joined", axis=1),
            node("Conv", ["joined", "w"], "mixed"),
            node("LeakyRelu", ["mixed"], "y", alpha=0.1),
        ],
        calls,
        scales=np.array([1, 1, 2, 2], np.float32),
        w=weights,
    )


def _yolo_decode() -> Problem:
    """Rows of raw boxes to pixels and scores: sigmoid, exp, grid and anchors."""
    grid = np.stack(np.meshgrid(np.arange(4.0), np.arange(3.0)), -1).reshape(1, 12, 2)
    grid = float32(grid)
    anchors = np.array([[[30, 61]]], np.float32)

    def formula(x: Values) -> Values:
        centre = (sigmoid(x[..., :2]) + grid) * 16
        size = np.exp(x[..., 2:4]) * anchors
        return np.concatenate([centre, size, sigmoid(x[..., 4:])], axis=-1)

    cuts: dict[str, Any] = {
        name: np.array([value])
        for name, value in (("c0", 0), ("c2", 2), ("c4", 4), ("c7", 7), ("axis", 2))
    }
    return one_to_one(
        [
            node("Slice", ["x", "c0", "c2", "axis"], "xy"),
            node("Slice", ["x", "c2", "c4", "axis"], "wh"),
            node("Slice", ["x", "c4", "c7", "axis"], "rest"),
            node("Sigmoid", ["xy"], "offset"),
            node("Add", ["offset", "grid"], "cell"),
            node("Mul", ["cell", "stride"], "centre"),
            node("Exp", ["wh"], "growth"),
            node("Mul", ["growth", "anchors"], "size"),
            node("Sigmoid", ["rest"], "scores"),
            node("Concat", ["centre", "size", "scores"], "y", axis=2),
        ],
        formula,
        (12, 7),
        grid=grid,
        anchors=anchors,
        stride=np.array(16, np.float32),
        **cuts,
    )


def _aspp() -> Problem:
    """DeepLabV3+'s pyramid: dilated branches, a pooled one enlarged again, joined, classified."""
    point, near, far = normal(61, 4, 6, 1, 1), normal(62, 4, 6, 3, 3), normal(63, 4, 6, 3, 3)
    pooled, last = normal(64, 4, 6, 1, 1), normal(65, 2, 16, 1, 1) / np.float32(8)

    def formula(x: Values) -> Values:
        size = x.shape[2:]
        branches = [
            convolve(x, _wide(point)),
            convolve(x, _wide(near), dilations=(2, 2)),
            convolve(x, _wide(far), dilations=(4, 4)),
            resize_linear(
                convolve(x.mean(axis=(2, 3), keepdims=True), _wide(pooled)), size, "half_pixel"
            ),
        ]
        joined = np.maximum(np.concatenate(branches, axis=1), 0)
        return resize_linear(convolve(joined, _wide(last)), (22, 18), "half_pixel")

    def resized(source: str, target: str, size: str) -> list[Any]:
        return [
            node("Concat", ["kept", size], f"{target}_sizes", axis=0),
            node(
                "Resize",
                [source, "", "", f"{target}_sizes"],
                target,
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            ),
        ]

    return one_to_one(
        [
            node("Shape", ["x"], "shape"),
            node("Gather", ["shape", "zero"], "batch", axis=0),
            node("Conv", ["x", "point"], "b1"),
            node("Conv", ["x", "near"], "b2", pads=[2] * 4, dilations=[2, 2]),
            node("Conv", ["x", "far"], "b3", pads=[4] * 4, dilations=[4, 4]),
            node("GlobalAveragePool", ["x"], "mean"),
            node("Conv", ["mean", "pooled"], "b4_small"),
            node("Concat", ["batch", "four"], "kept", axis=0),
            *resized("b4_small", "b4", "same"),
            node("Concat", ["b1", "b2", "b3", "b4"], "joined", axis=1),
            node("Relu", ["joined"], "active"),
            node("Conv", ["active", "last"], "small"),
            node("Concat", ["batch", "two"], "kept_last", axis=0),
            node("Concat", ["kept_last", "large"], "large_sizes", axis=0),
            node(
                "Resize",
                ["small", "", "", "large_sizes"],
                "y",
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            ),
        ],
        formula,
        (6, 11, 9),
        point=point,
        near=near,
        far=far,
        pooled=pooled,
        last=last,
        zero=np.array([0]),
        four=np.array([4]),
        two=np.array([2]),
        same=np.array([11, 9]),
        large=np.array([22, 18]),
    )


def _heat_map() -> Problem:
    """Grad-CAM as plain operators: the head's backward pass from masks and constant matrices."""
    hidden, out = normal(66, 4 * 3 * 3, 8) / np.float32(4), normal(67, 8, 3)
    target = np.array([[0, 1, 0]], np.float32)

    def formula(x: Values) -> Values:
        before = x.reshape(1, -1) @ _wide(hidden)
        gradient = (target @ out.T.astype(np.float64)) * (before > 0) @ hidden.T.astype(np.float64)
        weights = gradient.reshape(1, 4, 3, 3).mean(axis=(2, 3), keepdims=True)
        return np.asarray(np.maximum((weights * x).sum(axis=1, keepdims=True), 0))

    return one_to_one(
        [
            node("Reshape", ["x", "row"], "flat"),
            node("MatMul", ["flat", "hidden"], "before"),
            node("Greater", ["before", "zero"], "on"),
            node("MatMul", ["target", "out_t"], "g_hidden"),
            node("Where", ["on", "g_hidden", "zero"], "g_masked"),
            node("MatMul", ["g_masked", "hidden_t"], "g_flat"),
            node("Reshape", ["g_flat", "image"], "gradient"),
            node("ReduceMean", ["gradient", "pixels"], "weights", keepdims=1),
            node("Mul", ["weights", "x"], "weighted"),
            node("ReduceSum", ["weighted", "channels"], "sum", keepdims=1),
            node("Relu", ["sum"], "y"),
        ],
        formula,
        (4, 3, 3),
        batches=(1,),
        hidden=hidden,
        hidden_t=hidden.T.copy(),
        out_t=out.T.copy(),
        target=target,
        zero=np.array(0, np.float32),
        row=np.array([1, -1]),
        image=np.array([1, 4, 3, 3]),
        channels=np.array([1]),
        pixels=np.array([2, 3]),
    )


def _frames_pooled() -> Problem:
    """A frame network over a clip: (N, C, T, H, W) as N * T images, then the mean over time."""
    weights, head = normal(68, 5, 2, 3, 3), normal(69, 5, 3)

    def formula(x: Values) -> Values:
        frames = x.transpose(0, 2, 1, 3, 4).reshape(-1, 2, 6, 5)
        features = np.maximum(convolve(frames, _wide(weights)), 0).mean(axis=(2, 3))
        return softmax(features.reshape(-1, 4, 5).mean(axis=1) @ _wide(head))

    return one_to_one(
        [
            node("Transpose", ["x"], "by_time", perm=[0, 2, 1, 3, 4]),
            node("Reshape", ["by_time", "images"], "frames"),
            node("Conv", ["frames", "w"], "c", pads=[1] * 4),
            node("Relu", ["c"], "r"),
            node("ReduceMean", ["r", "pixels"], "features", keepdims=0),
            node("Reshape", ["features", "clips"], "clip_features"),
            node("ReduceMean", ["clip_features", "frames_axis"], "pooled", keepdims=0),
            node("MatMul", ["pooled", "head"], "logits"),
            node("Softmax", ["logits"], "y", axis=1),
        ],
        formula,
        (2, 4, 6, 5),
        w=weights,
        head=head,
        images=np.array([-1, 2, 6, 5]),
        clips=np.array([-1, 4, 5]),
        pixels=np.array([2, 3]),
        frames_axis=np.array([1]),
    )


CASES: tuple[Case, ...] = (
    Case(
        "inverted-residual",
        "fp32",
        "MobileNetV2's block, not folded",
        _inverted_residual,
        atol=1e-4,
    ),
    Case("vgg-block", "fp32", "VGG's block: Conv, Relu, Conv, Relu, MaxPool", _vgg_block),
    Case("yolo-neck", "fp32", "YOLOv3's Resize, Concat, Conv, LeakyRelu", _yolo_neck),
    Case(
        "yolo-decode",
        "fp32",
        "YOLOv3's boxes: Slice, Sigmoid, Exp, Concat",
        _yolo_decode,
        atol=1e-4,
    ),
    Case("aspp", "resize-linear", "DeepLabV3+'s pyramid and its last Resize", _aspp, atol=1e-4),
    Case("heat-map", "fp32", "Grad-CAM of a dense head, as plain operators, batch 1", _heat_map),
    Case("clip-of-frames", "fp32", "A frame network over a clip, mean over time", _frames_pooled),
)
"""Pieces of networks in float32."""
