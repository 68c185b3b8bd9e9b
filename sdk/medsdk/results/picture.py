"""A picture for a person: the frame, what the network saw, the answer, and the notice."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from medsdk.pixels import Box, Frame
from medsdk.results.finding import Finding

if TYPE_CHECKING:
    from typing import TypeAlias

    from PIL import Image, ImageFont

    _Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

CASE_SIDE = 512
"""The longer side of a case's picture, in pixels."""

_MIN_WIDTH = 640
_MARGIN = 12
_LINE = 26
NOTICE_COLOR = "#ffb74d"
_COLORS = {"ok": "#7fd1ff", "indeterminate": "#ffd166", "no-result": "#ff8a80"}


def finding_picture(frame: Frame, finding: Finding, title: str = "") -> bytes:
    """Draw a finding on its frame.

    Args:
        frame: The stored frame.
        finding: What was found in it.
        title: A first line, for instance the task's title.

    Returns:
        A PNG file. Grey values are stretched between the frame's 1st and 99th percentiles for
        display alone, RGB of 8 bits is shown as it is; the network saw what its pixel contract
        says.
    """
    from PIL import Image, ImageDraw, ImageFont

    picture = _display(frame)
    zoom = max(1, round(_MIN_WIDTH / max(picture.size)))
    size = (picture.width * zoom, picture.height * zoom)
    picture = picture.resize(size, Image.Resampling.NEAREST)
    width = max(picture.width, _MIN_WIDTH)
    color = _COLORS[finding.status]
    font, small = ImageFont.load_default(size=18), ImageFont.load_default(size=14)
    lines: list[tuple[str, str, _Font]] = []
    for text, fill, face in (
        (title, "#d8dee4", font),
        (_answer(finding), color, font),
        (_source(finding), "#d8dee4", font),
        (finding.provenance.notice, NOTICE_COLOR, small),
    ):
        lines += [(line, fill, face) for line in _wrapped(text, face, width - 2 * _MARGIN)]
    height = picture.height + _LINE * len(lines) + 2 * _MARGIN
    canvas = Image.new("RGB", (width, height), "#101418")
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    region = finding.region
    draw.rectangle(
        (
            round(region.x0 * zoom),
            round(region.y0 * zoom),
            round(region.x1 * zoom) - 1,
            round(region.y1 * zoom) - 1,
        ),
        outline=color,
        width=3,
    )
    top = picture.height + _MARGIN
    for line, fill, face in lines:
        draw.text((_MARGIN, top), line, fill=fill, font=face)
        top += _LINE
    stream = io.BytesIO()
    canvas.save(stream, format="PNG")
    return stream.getvalue()


def case_picture(frame: Frame, roi: Box | None) -> bytes:
    """Draw a case for a report: the frame as it is stored, and its region of interest.

    Args:
        frame: The stored frame.
        roi: Region of interest in its pixels, or None.

    Returns:
        A PNG file of at most `CASE_SIDE` pixels a side. Whatever is burnt into the frame is in
        it, names too.
    """
    from PIL import Image, ImageDraw

    picture = _display(frame)
    zoom = min(CASE_SIDE / max(picture.size), 4.0)
    size = (max(1, round(picture.width * zoom)), max(1, round(picture.height * zoom)))
    picture = picture.resize(size, Image.Resampling.BILINEAR)
    if roi is not None:
        x0, y0, x1, y1 = (round(corner * zoom) for corner in roi.corners)
        corners = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
        ImageDraw.Draw(picture).rectangle(corners, outline=_COLORS["ok"], width=2)
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()


def _wrapped(text: str, font: _Font, width: int) -> list[str]:
    """Lines that fit; the notice must be there whole, whatever its length."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            lines.append(line)
            longer = word
        line = longer
        while font.getlength(line) > width and len(line) > 1:
            fits = next(n for n in range(len(line) - 1, 0, -1) if _fits(line[:n], font, width))
            lines.append(line[:fits])
            line = line[fits:]
    return [*lines, line] if line else lines


def _fits(text: str, font: _Font, width: int) -> bool:
    return len(text) == 1 or font.getlength(text) <= width


def _display(frame: Frame) -> Image.Image:
    from PIL import Image

    if frame.color == "RGB" and frame.array.dtype == np.uint8:
        return Image.fromarray(frame.array)
    values = np.asarray(frame.array, np.float64)
    low, high = np.percentile(values, [1, 99])
    shown = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255
    if frame.color == "MONOCHROME1":
        shown = 255 - shown
    return Image.fromarray(np.rint(shown).astype(np.uint8)).convert("RGB")


def _answer(finding: Finding) -> str:
    if finding.label is None:
        return f"{finding.status}: {finding.reason}"
    thresholds = "".join(f", threshold {v:g}" for v in finding.provenance.thresholds.values())
    return f"{finding.label}  (p = {finding.probability:.3f}{thresholds})"


def _source(finding: Finding) -> str:
    network = next(iter(finding.provenance.networks.values()))
    return (
        f"frame {finding.frame_number}, {network['runtime']} {network['variant']}, "
        f"bundle {finding.provenance.bundle['sha256'][:12]}"
    )
