"""Every measure, level, method, verdict and change has its words, the same in both languages."""

from __future__ import annotations

import re
import string
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import pytest

import medsdk.reports
from medsdk.bundle.manifest import Verdict
from medsdk.parity.evidence import MEASURES, Bound, Claim, Level, Measure, Method, Scope
from medsdk.reports.quantities import PLAIN, POINTS, fixed, significant
from medsdk.reports.report import Change, EnvelopeAnswer, ReportKind
from medsdk.reports.wording import LANGUAGES, Wording

TEXTS: dict[str, dict[str, dict[str, str]]] = {
    language: tomllib.loads(
        (files("medsdk.reports") / "wordings" / f"{language}.toml").read_text("utf-8")
    )
    for language in LANGUAGES
}
CODE = "\n".join(
    path.read_text("utf-8") for path in Path(str(medsdk.reports.__file__)).parent.glob("*.py")
)


def _places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_languages_have_the_same_keys_and_places():
    en, ja = TEXTS["en"], TEXTS["ja"]
    assert list(en) == list(ja)
    for section, texts in en.items():
        assert list(texts) == list(ja[section]), section
        for key, text in texts.items():
            assert _places(text) == _places(ja[section][key]), f"{section}.{key}"
            assert text.strip(), f"{section}.{key}"
            assert ja[section][key].strip(), f"{section}.{key}"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        ("verdicts", get_args(Verdict)),
        ("verdict-meanings", get_args(Verdict)),
        ("measures", MEASURES),
        ("measure-meanings", MEASURES),
        ("levels", get_args(Level)),
        ("levels-one", get_args(Level)),
        ("level-names", get_args(Level)),
        ("methods", get_args(Method)),
        ("method-meanings", get_args(Method)),
        ("kinds", get_args(ReportKind)),
        ("envelope", get_args(EnvelopeAnswer)),
        ("envelope-meanings", get_args(EnvelopeAnswer)),
        ("changes", get_args(Change.model_fields["what"].annotation)),
    ],
)
def test_closed_sets_are_worded_whole(language, section, wanted):
    assert set(TEXTS[language][section]) == set(wanted)


def test_no_text_is_left_over():
    closed = {"verdicts", "measures", "levels", "levels-one", "level-names", "methods", "kinds"}
    closed |= {"verdict-meanings", "measure-meanings", "method-meanings", "changes", "unit-names"}
    closed |= {"envelope", "envelope-meanings"}
    for section, texts in TEXTS["en"].items():
        for key in texts if section not in closed else ():
            stem = re.sub("-(one|plain)$|^(seen|against)-", "", key)
            assert re.search(rf"[\"'}}-]{re.escape(stem)}[\"'-]", CODE), f"{section}.{key}"


def test_japanese_is_japanese():
    english = {"Bland-Altman", "Dice", "SHA-256", "SDK"}
    for section, texts in TEXTS["ja"].items():
        for key, text in texts.items():
            bare = re.sub(r"\{\w+\}|[^\w]", "", text)
            if bare and not any(word in text for word in english):
                assert re.search("[\u3040-\u30ff\u4e00-\u9fff～：、・%]", text), f"{section}.{key}"


def _claim(**changed: Any) -> Claim:
    facts: dict[str, Any] = {"measure": "flips", "n": 300, "verdict": "advisory"}
    return Claim(**(facts | changed))


EXACT = Bound(high=1 - 0.05 ** (1 / 300), method="clopper-pearson")


@pytest.mark.parametrize(
    ("claim", "en", "ja"),
    [
        (
            _claim(events=0, value=0.0, bound=EXACT, limit=0.02),
            "Changed decisions (flips): 0 in 300 slices; under 1.00 % (one-sided 95 % upper "
            "bound, Clopper-Pearson); limit 2.00 %",
            "判定の反転：300スライス中0件、1.00%未満（片側95%信頼上限、Clopper-Pearson法）、"
            "基準値 2.00%",
        ),
        (
            _claim(events=3, value=0.01, scope=Scope(level="study")),
            "Changed decisions (flips): 3 in 300 studies (1.00 %)",
            "判定の反転：300検査中3件（1.00%）",
        ),
        (
            _claim(n=1, measure="first-detection-delay", value=2.0, unit="frame"),
            "Delay of the first detection: 2 frames (n = 1 slice)",
            "初回検出の遅れ：2 フレーム（1スライス）",
        ),
        (
            _claim(n=1, measure="heat-map-peak-distance", value=2.0, unit="cell"),
            "Distance of heat-map peaks: 2 cells (n = 1 slice)",
            "ヒートマップ最大点間の距離：2 セル（1スライス）",
        ),
        (
            _claim(
                measure="sensitivity-change",
                value=-0.02124,
                bound=Bound(low=-0.03321, high=-0.01029, method="paired-bootstrap"),
            ),
            "Change of sensitivity: −2.12 points (n = 300 slices); −3.33 to −1.02 points "
            "(95 % interval, paired bootstrap, patients resampled)",
            "感度の変化：−2.12ポイント（300スライス）、−3.33～−1.02ポイント"
            "（95%信頼区間、対応のあるブートストラップ法（患者単位））",
        ),
        (
            _claim(
                measure="accuracy",
                n=200,
                events=193,
                value=0.965,
                bound=Bound(
                    low=0.88853, high=0.99464, method="clopper-pearson", effective_n=66.6667
                ),
            ),
            "Accuracy: 193 in 200 slices (96.50 %); 88.85 to 99.47 % (95 % interval, "
            "Clopper-Pearson, as of 66.6667 independent ones)",
            "正診率：200スライス中193件（96.50%）、88.85～99.47%（95%信頼区間、"
            "Clopper-Pearson法、独立な66.6667件に相当）",
        ),
        (
            _claim(
                measure="accuracy-change",
                value=0.0,
                bound=Bound(low=-0.0537, high=0.0537, method="paired-bootstrap-widened"),
            ),
            "Change of accuracy: 0.00 points (n = 300 slices); −5.37 to 5.37 points (95 % "
            "interval, paired bootstrap over patients, never narrower than no event in so many "
            "independent cases allows)",
            "正診率の変化：0.00ポイント（300スライス）、−5.37～5.37ポイント"
            "（95%信頼区間、対応のあるブートストラップ法（患者単位、同数の独立な症例で"
            "事象0件の場合に許される幅を下限とする））",
        ),
        (
            _claim(
                measure="output-difference",
                value=1.3111e-06,
                unit="",
                bound=Bound(high=1.3111e-06, method="extremes"),
                limit=1e-4,
            ),
            "Difference of an output: 1.311e-06 (n = 300 slices); largest seen 1.311e-06; "
            "limit 0.0001",
            "出力値の差：1.311e-06（300スライス）、観測最大値 1.311e-06、基準値 0.0001",
        ),
        (
            _claim(n=4, measure="known-answers", events=4, value=4.0, unit="count"),
            "Known answers reproduced: 4 in 4 slices",
            "既知解の再現（保存症例）：4スライス中4件",
        ),
        (
            _claim(n=160, measure="cases", value=160.0, unit="count"),
            "Cases: 160 slices",
            "症例：160スライス",
        ),
        (
            # The largest of 300 is no rate of 3 in 300.
            _claim(
                measure="float-difference",
                events=3,
                value=1.5,
                bound=Bound(high=1.5, method="extremes"),
            ),
            "Float outputs against what is allowed: 3 in 300 slices; largest seen 150.00 %",
            "浮動小数点出力の差（許容量比）：300スライス中3件、観測最大値 150.00%",
        ),
        (
            _claim(n=0, measure="specificity", reason="no negative case"),
            "Specificity: no value (n = 0 slices). no negative case",
            "特異度：値なし（0スライス）。no negative case",
        ),
    ],
)
def test_a_claim_states_n_and_its_bound(claim, en, ja):
    assert Wording.of("en").statement(claim) == en
    assert Wording.of("ja").statement(claim) == ja


def test_what_is_shown_is_never_narrower_than_what_was_found():
    assert fixed(0.0099361, 2, "up", 100) == "1.00"
    assert fixed(0.02, 2, "up", 100) == "2.00"  # not 2.01 for the float's last bit
    assert fixed(0.29, 2, "down", 100) == "29.00"  # 0.29 * 100 is 28.999999999999996
    assert fixed(-0.00001, 2, "down", 100) == "−0.01"
    assert fixed(-0.00001, 2, "up", 100) == "0.00"
    assert fixed(-0.0, 2) == "0.00"
    assert significant(1.00001, 4, "up") == "1.001"
    assert significant(1.00009, 4, "down") == "1"
    assert significant(-3.2e-5) == "−3.2e-05"
    assert significant(123456.0) == "1.235e+05"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_note_on_signs_holds_for_every_measure_in_points(language):
    """A measure in points is the candidate's less the reference's, or says loss or rise."""
    named = {"en": ("Loss of", "Rise of"), "ja": ("低下", "増加")}[language]
    signed = {"en": "where a loss or a rise", "ja": "「低下」または「増加」"}[language]
    assert signed in TEXTS[language]["notes"]["points"]
    for measure in POINTS:
        name = TEXTS[language]["measures"][measure]
        assert measure.endswith("-change") != any(word in name for word in named), measure


def test_a_term_is_explained_without_the_term_before_it():
    """A page lists the terms that it uses alone, so none may lean on another."""
    for language, words in (("en", ("That ", "The same ", "Their ")), ("ja", ("その", "同上"))):
        for measure, text in TEXTS[language]["measure-meanings"].items():
            assert not text.startswith(words), measure


def test_points_and_plain_numbers_are_measures():
    assert set(MEASURES) >= POINTS | PLAIN
    assert not POINTS & PLAIN
    changes = {name for name in get_args(Measure) if name.endswith("-change")}
    assert changes <= POINTS
