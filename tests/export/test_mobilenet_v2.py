"""MobileNetV2 against the published table, and the closed set of architectures.

The expected shapes below are written out from table 2 of arXiv:1801.04381, with the channel
counts at width 0.5 rounded to multiples of 8 by hand; nothing is computed by the module.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from medsdk_export.architectures import NAMES, build

# One row a block of ``features``: index, input, hidden (expanded), output channels.
_BLOCKS_1_0 = (
    (1, 32, 32, 16),
    (2, 16, 96, 24), (3, 24, 144, 24),
    (4, 24, 144, 32), (5, 32, 192, 32), (6, 32, 192, 32),
    (7, 32, 192, 64), (8, 64, 384, 64), (9, 64, 384, 64), (10, 64, 384, 64),
    (11, 64, 384, 96), (12, 96, 576, 96), (13, 96, 576, 96),
    (14, 96, 576, 160), (15, 160, 960, 160), (16, 160, 960, 160),
    (17, 160, 960, 320),
)  # fmt: skip
_BLOCKS_0_5 = (
    (1, 16, 16, 8),
    (2, 8, 48, 16), (3, 16, 96, 16),
    (4, 16, 96, 16), (5, 16, 96, 16), (6, 16, 96, 16),
    (7, 16, 96, 32), (8, 32, 192, 32), (9, 32, 192, 32), (10, 32, 192, 32),
    (11, 32, 192, 48), (12, 48, 288, 48), (13, 48, 288, 48),
    (14, 48, 288, 80), (15, 80, 480, 80), (16, 80, 480, 80),
    (17, 80, 480, 160),
)  # fmt: skip
# Blocks whose depthwise convolution has stride 2, by the table's column s.
_STRIDED = {2, 4, 7, 14}


def _build(width: float, classes: int) -> torch.nn.Module:
    return build("mobilenet-v2", {"width": width, "classes": classes})


def _norm(prefix: str, channels: int) -> dict[str, tuple[int, ...]]:
    names = ("weight", "bias", "running_mean", "running_var")
    shapes: dict[str, tuple[int, ...]] = {f"{prefix}.{name}": (channels,) for name in names}
    return shapes | {f"{prefix}.num_batches_tracked": ()}


def _expected(
    stem: int, blocks: tuple[tuple[int, int, int, int], ...], classes: int
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"features.0.0.weight": (stem, 3, 3, 3)}
    shapes |= _norm("features.0.1", stem)
    for index, inputs, hidden, outputs in blocks:
        prefix, at = f"features.{index}.conv", 0
        if index > 1:
            shapes[f"{prefix}.0.0.weight"] = (hidden, inputs, 1, 1)
            shapes |= _norm(f"{prefix}.0.1", hidden)
            at = 1
        shapes[f"{prefix}.{at}.0.weight"] = (hidden, 1, 3, 3)
        shapes |= _norm(f"{prefix}.{at}.1", hidden)
        shapes[f"{prefix}.{at + 1}.weight"] = (outputs, hidden, 1, 1)
        shapes |= _norm(f"{prefix}.{at + 2}", outputs)
    shapes["features.18.0.weight"] = (1280, blocks[-1][3], 1, 1)
    shapes |= _norm("features.18.1", 1280)
    shapes["classifier.1.weight"] = (classes, 1280)
    shapes["classifier.1.bias"] = (classes,)
    return shapes


@pytest.mark.parametrize(
    ("width", "stem", "blocks", "classes"),
    [(1.0, 32, _BLOCKS_1_0, 1000), (0.5, 16, _BLOCKS_0_5, 2)],
)
def test_state_has_the_published_names_and_shapes(
    width: float, stem: int, blocks: tuple[tuple[int, int, int, int], ...], classes: int
) -> None:
    state = _build(width, classes).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == _expected(
        stem, blocks, classes
    )


def test_state_is_in_torchvisions_order() -> None:
    assert list(_build(0.5, 2).state_dict()) == list(_expected(16, _BLOCKS_0_5, 2))


def test_parameter_count_of_the_published_model() -> None:
    assert sum(p.numel() for p in _build(1.0, 1000).parameters()) == 3_504_872


def test_strides_and_groups() -> None:
    network = _build(0.5, 2)
    for index, _, hidden, _ in _BLOCKS_0_5:
        depthwise = network.get_submodule(f"features.{index}.conv.{int(index > 1)}.0")
        assert isinstance(depthwise, torch.nn.Conv2d)
        assert depthwise.groups == hidden
        assert depthwise.stride == ((2, 2) if index in _STRIDED else (1, 1))
        assert depthwise.padding == (1, 1)


@pytest.mark.parametrize("size", [224, 225, 96])
def test_forward_gives_float32_logits(size: int) -> None:
    network = _build(0.5, 2).eval()
    with torch.inference_mode():
        logits = network(torch.rand(2, 3, size, size))
    assert logits.shape == (2, 2)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


def test_forward_agrees_with_the_paper_written_out() -> None:
    """Recompute the whole network with functions, from the state dictionary alone."""
    torch.manual_seed(3)
    network = _build(0.5, 3).eval()
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith(("running_mean", "bias")):
            value.normal_(0.0, 0.2)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    x = torch.randn(2, 3, 64, 64)

    def norm(y: torch.Tensor, prefix: str) -> torch.Tensor:
        mean, variance = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
        scale = state[f"{prefix}.weight"] / torch.sqrt(variance + 1e-5)
        shift = state[f"{prefix}.bias"] - mean * scale
        result: torch.Tensor = y * scale[:, None, None] + shift[:, None, None]
        return result

    def conv(y: torch.Tensor, prefix: str, **how: int) -> torch.Tensor:
        return torch.nn.functional.conv2d(y, state[f"{prefix}.weight"], None, **how)

    with torch.inference_mode():
        y = norm(conv(x, "features.0.0", stride=2, padding=1), "features.0.1").clamp(0, 6)
        for index, inputs, hidden, outputs in _BLOCKS_0_5:
            prefix, at, skip = f"features.{index}.conv", int(index > 1), y
            stride = 2 if index in _STRIDED else 1
            if at:
                y = norm(conv(y, f"{prefix}.0.0"), f"{prefix}.0.1").clamp(0, 6)
            y = conv(y, f"{prefix}.{at}.0", stride=stride, padding=1, groups=hidden)
            y = norm(y, f"{prefix}.{at}.1").clamp(0, 6)
            y = norm(conv(y, f"{prefix}.{at + 1}"), f"{prefix}.{at + 2}")
            if stride == 1 and inputs == outputs:
                y = y + skip
        y = norm(conv(y, "features.18.0"), "features.18.1").clamp(0, 6)
        pooled = y.mean(dim=(2, 3))
        expected = pooled @ state["classifier.1.weight"].T + state["classifier.1.bias"]
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)


def test_a_state_without_batch_counters_loads_strictly() -> None:
    network = _build(0.5, 2)
    state = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    _build(0.5, 2).load_state_dict(state)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ValueError, match=f"'vgg'.*{NAMES[0]}"):
        build("vgg", {})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"width": 0.5}, "exactly the parameters width, classes; got width"),
        ({"width": 0.5, "classes": 2, "depth": 1}, "got classes, depth, width"),
        ({"width": "0.5", "classes": 2}, "width must be a number"),
        ({"width": True, "classes": 2}, "width must be a number"),
        ({"width": 0.0, "classes": 2}, "width must be a number above 0"),
        ({"width": 0.5, "classes": 2.0}, "classes must be an integer"),
        ({"width": 0.5, "classes": 0}, "classes must be an integer >= 1"),
    ],
)
def test_wrong_parameters_are_refused(parameters: Mapping[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("mobilenet-v2", parameters)
