"""The page of a report: well-formed, offline, complete, and dead whatever its texts say."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any, get_args

import pytest

from medsdk.parity.evidence import Claim, Evidence
from medsdk.reports.page import page_html
from medsdk.reports.report import EnvelopeAnswer
from medsdk.reports.wording import LANGUAGES, Wording

VOID = {"br", "img", "link", "meta"}
PNG = b"\x89PNG\r\n\x1a\nrest"


class Page(HTMLParser):
    """Every element with its attributes, and the text inside of those with an id."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute stands twice in {tag}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))  # in the packaged symbols

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def ids(self) -> list[str]:
        return [value for _, found in self.elements if (value := found.get("id"))]


def outside(page: Page) -> list[str]:
    """What of a page would be loaded, or would run, beyond itself."""
    found = [name for name, _ in page.elements if name in ("script", "iframe", "object", "embed")]
    for name, attributes in page.elements:
        for key, value in attributes.items():
            if key.startswith("on"):
                found.append(f"{name} {key}")
            if key in ("src", "href", "data", "action", "srcset", "background", "poster"):
                inside = (value or "").startswith(("#", "data:"))
                found += [] if inside else [f"{name} {key}={value}"]
            if key == "style" and not re.fullmatch(r"--share:\d+%", value or ""):
                found.append(f"{name} {value}")
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_whole_and_loads_nothing(rich, language):
    text = page_html(rich, language)
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>\n<html")
    assert page.elements[0] == ("html", {"lang": language})
    assert outside(page) == []
    assert len(page.ids) == len(set(page.ids))
    links = [href for item in page.all("a") if (href := item["href"])]
    uses = [href for item in page.all("use") if (href := item["href"])]
    assert {link.removeprefix("#") for link in links + uses} <= set(page.ids)
    style = re.findall("<style>(.*?)</style>", text, re.S)
    assert len(style) == 1
    assert not re.search(r"url\(|@import|expression|https?:", style[0])
    policy = next(item for item in page.all("meta") if "http-equiv" in item)["content"] or ""
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")


def test_the_check_for_what_is_loaded_can_fail():
    for bad in (
        "<script>1</script>",
        "<img src='https://a/b'>",
        "<a href='//a'>b</a>",
        "<p onclick='1'>a</p>",
        "<p style='background:url(b)'>a</p>",
    ):
        assert outside(Page(bad)), bad


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_of_others_are_dead_and_shown(rich, hostile, language):
    text = page_html(rich, language)
    page = Page(text)
    assert "<script" not in text
    assert "\u202e" not in text
    assert "\u2066" not in text
    shown = hostile.replace("\u202e", "\\u202e").replace("\u2066", "\\u2066")
    # Title, head, reasons, labels of a table, scopes, a worst case, a change, a gate.
    assert page.text.count(shown) >= 12
    for name, attributes in page.elements:
        for key, value in attributes.items():
            assert "alert" not in (value or "") or (name, key) == ("div", "aria-label")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_claim_is_there_with_n_bound_and_verdict(rich, language):
    words = Wording.of(language)
    text = page_html(rich, language)
    page = Page(text)
    rows = dict(re.findall(r'<tr role="row" id="claim-(\d+)".*?>(.*?)</tr>', text))
    assert len(rows) == len(rich.evidence.claims)
    for number, claim in enumerate(rich.evidence.claims, 1):
        row = Page(f"<table>{rows[str(number)]}</table>").text
        assert words.finding(claim) in row
        assert str(claim.n) in row
        if claim.bound is not None:
            assert words.bound(claim.bound, claim.unit, claim.measure) in row
            assert words.certainty(claim.bound) in row
        if claim.limit is not None:
            assert words.quantity(claim.limit, claim.unit, claim.measure) in row
        if claim.verdict != "advisory":
            assert words.text("verdicts", claim.verdict) in row
            assert f"#icon-{claim.verdict}" in rows[str(number)]
    assert words.text("verdict-meanings", "fail") in page.text
    assert "not for clinical use" in page.text
    if language == "ja":
        assert "臨床使用不可。" in page.text


def test_what_did_not_pass_stands_at_the_top(rich):
    text = page_html(rich, "en")
    top = text[: text.index('<section id="compared">')]
    for verdict, number in (("fail", 2), ("not-conclusive", 3), ("not-run", 4)):
        assert f'class="word {verdict}"' in top
        assert f'href="#claim-{number}"' in top
    assert 'href="#claim-1"' not in top
    assert top.index('href="#claim-2"') < top.index('href="#claim-3"')


def test_it_is_read_in_order(rich):
    page = Page(page_html(rich, "en"))
    wanted = [
        *("attention", "compared", "gates", "metrics", "changes", "agreement"),
        *("differences", "bland-altman", "worst", "method", "versions"),
    ]
    assert [name for name in page.ids if name in wanted] == wanted
    words = page.text
    for said in ("ab" * 32, "cd" * 32, "ef" * 32, "onnxruntime", "0.1.0", "not allowed", "row 7"):
        assert said in words
    assert "300 cases and 150 patients; 46 claims." in words


def test_tables_and_drawings_say_what_they_are(rich):
    text = page_html(rich, "en")
    page = Page(text)
    assert all(item.get("scope") for item in page.all("th"))
    assert text.count("<table") == text.count("<caption>")
    charts = re.findall(r'<svg class="chart".*?</svg>', text, re.S)
    assert len(charts) == 2
    assert all("<title>" in chart and "<desc>" in chart for chart in charts)
    rest = [item for item in page.all("svg") if item.get("class") != "chart"]
    assert all(item.get("aria-hidden") == "true" for item in rest)
    assert "The same as a table" in page.text


def test_pictures_are_there_only_where_somebody_gives_them(rich):
    assert Page(page_html(rich, "en")).all("img") == []
    asked = []

    def picture(case: str) -> bytes | None:
        asked.append(case)
        return PNG if case.startswith("00") else None

    page = Page(page_html(rich, "en", picture))
    assert asked == ["00112233445566aa", "ffeeddccbbaa0099"]
    (image,) = page.all("img")
    assert (image["src"] or "").startswith("data:image/png;base64,iVBORw0KGg")
    assert "may show who the patient is" in page.text
    with pytest.raises(ValueError, match="no PNG"):
        page_html(rich, "en", lambda case: b"<svg onload='1'>")


def test_a_report_of_nothing_is_a_page_too(make_report):
    empty = make_report(
        evidence=Evidence(),
        candidates=(),
        changes=(),
        gates={},
        reasons=("no runtime is installed here",),
        verdict="not-run",
        patients=None,
        cases=1,
        cases_sha256="",
    )
    page = Page(page_html(empty, "en"))
    assert "no runtime is installed here" in page.text
    assert "1 case; 0 claims." in page.text


def test_many_strata_are_folded_and_stay_small(make_report):
    def claim(number: int) -> Claim:
        scope = {"candidate": "a", "stratum": "site", "value": str(number)}
        facts: dict[str, Any] = {"measure": "accuracy", "n": 9, "value": 0.5, "verdict": "advisory"}
        return Claim.model_validate({**facts, "scope": scope})

    many = make_report(evidence=Evidence(claims=tuple(map(claim, range(2000)))))
    text = page_html(many, "en")
    assert text.index("<summary><bdi>By site") < text.index('id="claim-1"')
    assert len(text) < 2_000_000


def test_what_speaks_of_no_candidate_is_said_at_the_top(make_report):
    said = "1 of 160 cases has no truth"
    claim = Claim(measure="cases", n=160, events=159, verdict="advisory", reason=said)
    page = page_html(make_report(evidence=Evidence(claims=(claim,))), "en")
    assert said in page.split("<nav")[0]


def test_a_reason_that_two_candidates_share_is_no_row_of_its_own(make_report):
    facts = {"measure": "flips", "n": 9, "verdict": "fail", "reason": "2 flips"}
    claims = [Claim.model_validate({**facts, "scope": {"candidate": name}}) for name in "ab"]
    evidence = Evidence(claims=tuple(claims))
    assert evidence.reasons == ("a, b: 2 flips",)
    report = make_report(evidence=evidence, reasons=evidence.reasons, candidates=())
    assert "a, b: 2 flips" not in page_html(report, "en")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("answer", get_args(EnvelopeAnswer))
def test_the_answer_of_a_change_envelope_is_a_word_at_the_top(make_report, language, answer):
    words = Wording.of(language)
    others = [words.text("envelope", other) for other in get_args(EnvelopeAnswer)]
    header = page_html(make_report(envelope=answer, changes=()), language).split("<nav")[0]
    assert [said for said in others if f"{said}</strong>" in header] == [
        words.text("envelope", answer)
    ]
    plain = page_html(make_report(envelope=None), language)
    assert not any(said in plain for said in others)
