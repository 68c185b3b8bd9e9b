"""HTML and SVG by construction: whatever is not `Markup` is escaped, so nothing foreign is live."""

from __future__ import annotations

from html import escape

from medsdk.printable import printable

_VOID = frozenset({"br", "img", "link", "meta"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, /, *children: str | None, **attributes: str | float | bool | None) -> Markup:
    """One element.

    Args:
        name: Of the element.
        children: In order. A `str` that is no `Markup` is escaped, and what would steer a
            terminal or the direction of text is written out; None is left out.
        attributes: `class_` stands for `class`, other underscores for hyphens; True gives an
            attribute without a value, None and False none.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        written = key.rstrip("_").replace("_", "-")
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        parts.append(f" {written}" if value is True else f' {written}="{_escaped(shown)}"')
    inside = "".join(map(safe, (child for child in children if child is not None)))
    return Markup("".join(parts) + (">" if name in _VOID else f">{inside}</{name}>"))


def safe(text: str) -> Markup:
    """A text as markup: escaped unless it is markup already."""
    return text if isinstance(text, Markup) else Markup(_escaped(text))


def joined(*parts: str) -> Markup:
    """Several texts one after the other."""
    return Markup("".join(map(safe, parts)))


def foreign(text: str, language: str | None = None) -> Markup:
    """A text from a bundle, a table or an error, whose direction and language are its own.

    Args:
        text: Of anybody.
        language: Where it is known, for instance `en` for a reason.
    """
    return tag("bdi", text, lang=language)


def _escaped(text: str) -> str:
    return escape(printable(text), quote=True)
