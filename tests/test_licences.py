"""Nothing on a device is under the GPL, and every licence there is known."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

DEVICE_EXTRAS = ("onnxruntime", "openvino", "dicom", "opencv")


def device_distributions() -> dict[str, Distribution]:
    """Everything that `pip install "medsdk[onnxruntime,openvino,dicom,opencv]"` brings, by name."""
    found: dict[str, Distribution] = {}
    pending: list[tuple[str, tuple[str, ...]]] = [("medsdk", DEVICE_EXTRAS)]
    while pending:
        name, extras = pending.pop()
        try:
            item = distribution(name)
        except PackageNotFoundError:
            continue  # for another system or Python
        if item.metadata["Name"].lower() in found:
            continue
        found[item.metadata["Name"].lower()] = item
        for requirement in item.requires or []:
            word = re.match(r"[A-Za-z0-9._-]+", requirement)
            marker = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", requirement)
            if word is not None and (marker is None or marker[1] in extras):
                pending.append((word[0], ()))
    return found


def licence(item: Distribution) -> str:
    """What a distribution says of its licence: expression, classifiers, or the first words."""
    entries = {"License-Expression": 200, "Classifier": 200, "License": 80}
    words = [
        text[:length]
        for name, length in entries.items()
        for text in item.metadata.get_all(name) or []
        if name != "Classifier" or text.startswith("License ::")
    ]
    return "; ".join(word for word in words if word)


def test_the_device_needs_what_is_listed() -> None:
    assert {"numpy", "pydicom", "pydantic", "typer", "pillow", "onnxruntime", "openvino"} <= set(
        device_distributions()
    )


def test_no_gpl_on_the_device() -> None:
    texts = {name: licence(item) for name, item in device_distributions().items()}
    assert [name for name, text in texts.items() if not text] == []
    assert [name for name, text in texts.items() if re.search(r"GPL|GNU General", text)] == []


def test_no_training_framework_on_the_device() -> None:
    assert not {"torch", "tensorflow", "keras", "nncf", "onnx"} & set(device_distributions())
