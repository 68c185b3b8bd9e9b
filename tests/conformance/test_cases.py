"""What the cases expect is what ONNX says, and they cover what the catalogue uses."""

from __future__ import annotations

import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from medsdk.bundle.reading import Bundle
from medsdk.tasks import catalogue_task
from medsdk_conformance import CASES, Case, graphs
from medsdk_conformance.comparing import compare
from medsdk_export import architectures
from medsdk_export import graphs as export_graphs
from medsdk_export.from_torch import export_module
from medsdk_runtimes.graph import scan

REFERENCE_IS_WRONG = {
    "max-pool-stride-1": "onnx 1.23.2 takes begin, end, begin, end for the pads of MaxPool",
}
"""Cases that onnx's evaluator gets wrong; each is checked by hand below."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_reference_evaluator_agrees(case: Case, request: pytest.FixtureRequest) -> None:
    if case.id in REFERENCE_IS_WRONG:  # strict: it tells when that is mended
        request.applymarker(pytest.mark.xfail(reason=REFERENCE_IS_WRONG[case.id], strict=True))
    problem = case.build()
    model = onnx.load_from_string(problem.onnx)
    onnx.checker.check_model(model, full_check=True)
    if case.precision == "int8":
        # The evaluator has QuantizeLinear from opset 19 on; there it means the same.
        model.opset_import[0].version = max(19, model.opset_import[0].version)
    evaluator = ReferenceEvaluator(model)
    for call in problem.calls:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            results = evaluator.run(None, dict(call.inputs))
        # A copy in C order: the evaluator owes nobody an array of his own.
        found = {
            name: np.array(result, order="C")
            for name, result in zip(evaluator.output_names, results, strict=True)
        }
        compare(case, found, call.expected)


def test_graphs_are_made_as_the_exports_are() -> None:
    """A runtime that refuses what bundles hold may not pass."""
    assert graphs.OPSET == export_graphs.OPSET
    assert set(graphs.FOREIGN_OPSETS) <= set(export_graphs.READ_OPSETS)
    made = Counter(
        (facts.opsets[""], facts.ir_version)
        for facts in (scan(case.build().onnx) for case in CASES)
    )
    assert set(made) == set(graphs.IR_VERSIONS.items())
    assert made[graphs.OPSET, 10] > len(CASES) * 0.9
    assert min(made.values()) >= 4


def test_the_padded_pool_is_what_the_standard_says() -> None:
    """Begin of every axis, then end of every axis: a row and a column of padding at the end."""
    (case,) = [case for case in CASES if case.id == "max-pool-stride-1"]
    call = case.build().calls[0]
    x, y = call.inputs["x"], call.expected["y"]
    assert y.shape == x.shape
    for row in range(6):
        for column in range(6):
            window = x[:, :, row : row + 2, column : column + 2]
            assert np.array_equal(y[:, :, row, column], window.max(axis=(2, 3)))


def test_every_case_has_values_worth_comparing() -> None:
    """An output that is constant, or that a zero would pass for, tells nothing."""
    for case in CASES:
        if case.id in {"scalar-output"}:
            continue
        for name, array in case.build().calls[0].expected.items():
            assert array.size > 1, f"{case.id}: {name}"
            assert len(np.unique(array)) > 1, f"{case.id}: {name}"


def test_every_quantized_case_uses_its_range_without_ending_in_it() -> None:
    for case in CASES:
        if case.precision == "int8":
            steps = np.rint(np.asarray(case.build().calls[0].expected["y"], np.float64) / 0.4)
            ends = np.isin(steps, (steps.min(), steps.max())).mean()
            assert len(np.unique(steps)) > 8, case.id
            assert ends < 0.6, case.id


def _operators(onnx_bytes: bytes) -> set[str]:
    return {operator for _, operator in scan(onnx_bytes).operators}


def test_every_operator_of_the_bundles_is_in_a_case(
    bundle_dir: Path, liver_bundle_dir: Path
) -> None:
    covered = set().union(*(_operators(case.build().onnx) for case in CASES))
    for folder in (bundle_dir, liver_bundle_dir):
        assert Bundle.open(folder).manifest.networks
        for path in sorted(folder.glob("networks/*/*.onnx")):
            missing = _operators(path.read_bytes()) - covered
            assert not missing, f"{path.name}: add a case for {missing}"


ROOT = Path(__file__).parents[2]
SHIPPED = sorted(
    [*ROOT.glob("tests/bundles/*.medsdk"), *ROOT.glob("sdk/medsdk/demonstration/data/*.medsdk")]
)
"""Bundles that are kept or that ship, each one file."""


def test_every_operator_of_what_ships_and_is_kept_is_in_a_case() -> None:
    covered = set().union(*(_operators(case.build().onnx) for case in CASES))
    seen = set()
    for path in SHIPPED:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".onnx"):
                    seen.add(path.name)
                    missing = _operators(archive.read(name)) - covered
                    assert not missing, f"{path.name}, {name}: add a case for {missing}"
    assert seen == {path.name for path in SHIPPED}
    assert len(seen) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", architectures.NAMES)
def test_every_operator_of_the_architectures_is_in_a_case(name: str) -> None:
    """As this release exports them, not as a list remembers."""
    task = catalogue_task("liver-us/classify")
    module = architectures.build(name, {"width": 0.25, "classes": 2}).eval()
    exported = export_module(module, task.network_of(task.roles[0]))
    covered = set().union(*(_operators(case.build().onnx) for case in CASES))
    operators = {node.op_type for node in exported.graph.node}
    assert {"Conv", "Gemm"} <= operators
    assert not operators - covered


CATALOGUE = {
    "MobileNetV2": {"Conv", "BatchNormalization", "Clip", "Add", "GlobalAveragePool", "Gemm"},
    "VGG": {"Conv", "Relu", "MaxPool", "Flatten", "Gemm", "BatchNormalization", "Dropout"},
    "YOLOv3": {
        *("LeakyRelu", "Concat", "MaxPool", "Resize", "Sigmoid", "Exp", "Slice", "Transpose"),
        *("Reshape", "Mul", "Add"),
    },
    "DeepLabV3+": {"Conv", "GlobalAveragePool", "Resize", "Concat", "ArgMax"},
    "clips": {"Conv", "AveragePool", "ReduceMean", "Transpose", "Reshape"},
    "heat maps": {
        *("MatMul", "Where", "Greater", "Mul", "ReduceSum", "ReduceMean", "Unsqueeze", "Cast"),
        *("Gather", "Expand", "Sub", "Div"),
    },
    "Keras exports": {"Transpose", "Shape", "Pad", "Softmax", "Squeeze", "ConstantOfShape", "Tile"},
    "others": {"ConvTranspose", "HardSwish", "HardSigmoid", "Split", "Log", "Identity"},
}
"""Operators by network, for families that no exporter here makes: YOLOv3, DeepLabV3+, clips. What
can be read from graphs the tests above read."""


@pytest.mark.parametrize("network", CATALOGUE)
def test_every_operator_family_of_the_catalogue_is_in_a_case(network: str) -> None:
    covered = set().union(*(_operators(case.build().onnx) for case in CASES))
    assert CATALOGUE[network] <= covered
