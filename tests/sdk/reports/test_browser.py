"""The page in a real browser: nothing wider than the screen, nothing refused, nothing loaded."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from medsdk.reports import PAGE, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="not tested: it takes chromium")

HARNESS = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0"><script>
const widths = %s, pages = %s, found = {};
let left = widths.length * pages.length;
for (const page of pages) for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `border:0;width:${width}px;height:2000px`;
  frame.src = page;
  frame.onload = () => {
    const inside = frame.contentDocument;
    const measured = () => inside.documentElement.scrollWidth;
    const closed = measured();
    for (const item of inside.querySelectorAll("details")) item.open = true;
    const cell = inside.querySelector(".claims td[data-label]");
    const beyond = [...inside.querySelectorAll("body *")]
      .filter((item) => item.getBoundingClientRect().right > width + 1)
      .filter((item) => !item.closest(".scroll, .symbols"))
      .map((item) => `${item.tagName}.${item.className}`);
    found[`${page} ${width}`] = {
      closed, open: measured(), beyond, title: inside.title,
      icon: inside.querySelector(".verdict .icon").getBoundingClientRect().width,
      card: frame.contentWindow.getComputedStyle(cell).display,
      loaded: frame.contentWindow.performance.getEntriesByType("resource").length,
    };
    if (--left === 0) document.body.textContent = JSON.stringify(found);
  };
  document.body.append(frame);
}
</script>"""


def look(folder: Path, pages: list[str], widths: list[int]) -> tuple[dict[str, Any], list[str]]:
    """What a browser measures of pages at widths, and what its console says."""
    harness = folder / "harness.html"
    harness.write_text(HARNESS % (json.dumps(widths), json.dumps(pages)), encoding="utf-8")
    command = [
        *(str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-extensions", "--disable-background-networking", "--disable-sync"),
        *("--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}"),
        *("--enable-logging=stderr", "--v=0", "--window-size=1400,2000"),
        *("--virtual-time-budget=20000", "--dump-dom", harness.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    body = re.search("<body[^>]*>(.*?)</body>", done.stdout.decode(), re.S)
    assert body is not None
    said = [line for line in done.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    return json.loads(unescape(body[1])), said


@needs_browser
def test_it_fits_the_screen(rich, tmp_path):
    pages = []
    for language in ("en", "ja"):
        write_report(rich, tmp_path / language, language=language)
        pages.append(f"{language}/{PAGE}")
    found, said = look(tmp_path, pages, [380, 700, 1280])
    assert said == []
    assert len(found) == 6
    for name, seen in found.items():
        width = int(name.split()[1])
        assert seen["closed"] <= width, name
        assert seen["open"] <= width, name
        assert seen["beyond"] == [], name
        assert seen["loaded"] == 0, name
        assert seen["icon"] > 20, name
        # Rows are cards where a table would not fit.
        assert seen["card"] == ("table-cell" if width == 1280 else "grid"), name


@needs_browser
def test_the_look_can_fail(rich, tmp_path):
    (path,) = [path for path in write_report(rich, tmp_path / "en") if path.name == PAGE]
    text = path.read_text(encoding="utf-8")
    wide = '<p style="width:1500px">wide</p><script>1</script><img src="missing.png" alt="">'
    path.write_text(text.replace("<footer>", f"{wide}<footer>"), encoding="utf-8")
    found, said = look(tmp_path, [f"en/{PAGE}"], [380])
    (seen,) = found.values()
    assert seen["open"] >= 1500
    assert seen["beyond"]
    # The page's own policy stops both.
    assert any("script" in line for line in said)
    assert any("missing.png" in line for line in said)
