"""Bundles of earlier formats, kept as they were written, still load and answer as they did."""

from __future__ import annotations

from pathlib import Path

import pytest

import medsdk
from medsdk.bundle import Bundle
from medsdk.cli.main import run
from medsdk.parity.verification import verify

FOLDER = Path(__file__).parent / "bundles"
KEPT = {
    "0.1.0-first": "a86ce6be96dcb20f3c1a6832f283e0ea56eeb1079a8cf6e85d0a970f2572e88a",
    "0.1.0-one-file.medsdk": "9cbaed129cc9e9a7ab5e9d599a0f641c14380f38763cc4dfdd9773d691e9e2e3",
}
"""Name to identity. An entry is never changed; tests/bundles/README.md says how one is added."""


def test_none_was_added_taken_away_or_made_anew() -> None:
    found = {
        path.name: Bundle.open(path).sha256
        for path in FOLDER.iterdir()
        if path.name not in ("README.md", "keep.py", ".gitattributes", "__pycache__")
    }
    assert found == KEPT


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_bundle_answers_as_its_reference_did(name: str) -> None:
    bundle = Bundle.open(FOLDER / name)
    answers = bundle.manifest.known_answers
    assert {answer.label for answer in answers} == {"none", "tumour"}
    for variant, within in (("fp32", 1e-4), ("int8-cpu", 0.05)):
        with medsdk.load(FOLDER / name, variant=variant) as engine:
            assert engine.plan.known_answers_checked > 0
            for answer in answers:
                finding = engine.predict(bundle.read(answer.input), roi=None)
                assert (finding.status, finding.label) == ("ok", answer.label)
                assert dict(finding.probabilities) == pytest.approx(
                    answer.probabilities, abs=within
                )


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_bundle_is_verified_on_every_runtime(name: str) -> None:
    verification = verify(Bundle.open(FOLDER / name))
    assert verification.verdict == "pass"
    assert verification.candidates
    assert all(item.flips == 0 and item.cases == 6 for item in verification.candidates)


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_bundle_changes_its_form_and_not_its_identity(name: str, tmp_path: Path) -> None:
    source = FOLDER / name
    if source.is_dir():
        packed = medsdk.pack(source, tmp_path / "packed.medsdk")
    else:
        medsdk.unpack(source, tmp_path / "directory")
        packed = medsdk.pack(tmp_path / "directory", tmp_path / "packed.medsdk")
        assert packed.storage.path.read_bytes() == source.read_bytes()
    assert packed.sha256 == KEPT[name]
    with medsdk.load(packed.storage.path) as engine:
        assert engine.provenance.bundle["sha256"] == KEPT[name]


@pytest.mark.parametrize("name", KEPT)
def test_the_command_line_takes_a_kept_bundle(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = FOLDER / name
    bundle = Bundle.open(source)
    image = tmp_path / "image.dcm"
    image.write_bytes(bundle.read(bundle.manifest.known_answers[0].input))
    assert run(["inspect", str(source)]) == 0
    assert run(["run", str(source), str(image), "--out", str(tmp_path / "out")]) == 0
    assert bundle.manifest.notice in capsys.readouterr().out
