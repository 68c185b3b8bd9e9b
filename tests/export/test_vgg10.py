"""The ten-layer VGG against its description, written out by hand."""

from __future__ import annotations

import pytest
import torch

from medsdk_export.architectures import build, parameter_grid
from medsdk_export.architectures.vgg10 import scaled_channels

# Index of a convolution in `features`, its inputs and outputs: the normalisation follows it.
_CONVOLUTIONS_1_0 = (
    (0, 3, 64), (3, 64, 64),
    (7, 64, 128), (10, 128, 128),
    (14, 128, 256), (17, 256, 256),
    (21, 256, 512), (24, 512, 512),
)  # fmt: skip
_CONVOLUTIONS_0_25 = (
    (0, 3, 16), (3, 16, 16),
    (7, 16, 32), (10, 32, 32),
    (14, 32, 64), (17, 64, 64),
    (21, 64, 128), (24, 128, 128),
)  # fmt: skip


def _build(width: float, classes: int) -> torch.nn.Module:
    return build("vgg10", {"width": width, "classes": classes})


def _expected(
    convolutions: tuple[tuple[int, int, int], ...], hidden: int, classes: int
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for index, inputs, outputs in convolutions:
        shapes[f"features.{index}.weight"] = (outputs, inputs, 3, 3)
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"features.{index + 1}.{name}"] = (outputs,)
        shapes[f"features.{index + 1}.num_batches_tracked"] = ()
    shapes["classifier.0.weight"] = (hidden, convolutions[-1][2])
    shapes["classifier.0.bias"] = (hidden,)
    shapes["classifier.3.weight"] = (classes, hidden)
    shapes["classifier.3.bias"] = (classes,)
    return shapes


@pytest.mark.parametrize(
    ("width", "convolutions", "hidden", "classes"),
    [(1.0, _CONVOLUTIONS_1_0, 256, 4), (0.25, _CONVOLUTIONS_0_25, 64, 2)],
)
def test_state_has_the_names_and_shapes_of_torchvisions_vgg(
    width: float, convolutions: tuple[tuple[int, int, int], ...], hidden: int, classes: int
) -> None:
    state = _build(width, classes).state_dict()
    assert [(n, tuple(v.shape)) for n, v in state.items()] == list(
        _expected(convolutions, hidden, classes).items()
    )


def test_parameter_count_at_width_1() -> None:
    # 9 * sum(inputs * outputs) + 2 a normalised channel + dense 512 -> 256 -> 4 with biases.
    convolutions = 9 * (192 + 4096 + 8192 + 16384 + 32768 + 65536 + 131072 + 262144)
    norms = 2 * 2 * (64 + 128 + 256 + 512)
    dense = 512 * 256 + 256 + 256 * 4 + 4
    count = sum(p.numel() for p in _build(1.0, 4).parameters())
    assert count == convolutions + norms + dense == 4_819_652


def test_forward_agrees_with_the_description_written_out() -> None:
    torch.manual_seed(3)
    network = _build(0.25, 3).eval()
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith(("running_mean", "bias")):
            value.normal_(0.0, 0.2)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    x = torch.randn(2, 3, 32, 48)
    with torch.inference_mode():
        y = x
        for number, (index, _, _) in enumerate(_CONVOLUTIONS_0_25, 1):
            y = torch.nn.functional.conv2d(y, state[f"features.{index}.weight"], padding=1)
            norm = f"features.{index + 1}"
            scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + 1e-5)
            shift = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
            y = (y * scale[:, None, None] + shift[:, None, None]).clamp(min=0)
            if number % 2 == 0:
                y = y.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax(dim=(3, 5))
        hidden = y.mean(dim=(2, 3)) @ state["classifier.0.weight"].T + state["classifier.0.bias"]
        expected = hidden.clamp(min=0) @ state["classifier.3.weight"].T + state["classifier.3.bias"]
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)


def test_half_of_the_hidden_values_are_dropped_in_training_alone() -> None:
    dropout = _build(0.25, 2).get_submodule("classifier.2")
    assert isinstance(dropout, torch.nn.Dropout)
    torch.manual_seed(1)
    assert (dropout(torch.ones(10_000)) == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    dropout.eval()
    assert (dropout(torch.ones(100)) == 1).all()


def test_nothing_is_normalised_after_the_dense_relu() -> None:
    classifier = _build(0.25, 2).get_submodule("classifier")
    kinds = [type(module).__name__ for module in classifier.children()]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear"]


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [(64, 1.0, 64), (64, 0.25, 16), (64, 0.3, 16), (64, 0.35, 24), (64, 0.01, 8), (512, 0.2, 104)],
)
def test_channels_are_the_nearest_multiple_of_eight(
    channels: int, width: float, expected: int
) -> None:
    assert scaled_channels(channels, width) == expected


def test_the_width_is_found_by_its_shapes() -> None:
    wanted = {k: v.shape for k, v in _build(0.25, 4).state_dict().items()}
    fitting = [
        found["width"]
        for found in parameter_grid("vgg10", {"classes": 4})
        if {k: v.shape for k, v in build("vgg10", found).state_dict().items()} == wanted
    ]
    assert fitting == [0.25]
