"""Text of a DICOM object, decoded without loss (PS3.5 6.1, PS3.3 C.12.1.1.2).

pydicom replaces what it cannot decode and goes on; here that is an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from medsdk.pixels._quiet import reading
from medsdk.pixels.errors import PixelInputRefusedError, PixelInputUnreadableError

if TYPE_CHECKING:
    from pydicom import Dataset

TEXT_VRS = ("AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT")
"""Value representations whose values are text. The first three are ASCII in any object."""

_ASCII_VRS = ("AE", "AS", "CS")
_UNSPLIT_VRS = ("LT", "ST", "UT")
"""In these a backslash is a character; their trailing spaces may be padding."""

_ALONE = {
    "": "ascii",
    "ISO_IR 6": "ascii",
    "ISO 2022 IR 6": "ascii",
    "ISO_IR 13": "shift_jis",
    "ISO_IR 100": "iso8859_1",
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 110": "iso8859_4",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 127": "iso8859_6",
    "ISO_IR 138": "iso8859_8",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 148": "iso8859_9",
    "ISO_IR 166": "iso8859_11",
    "ISO_IR 192": "utf_8",
    "ISO_IR 203": "iso8859_15",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
"""Specific Character Sets to Python's codecs; `ISO 2022 IR n` is `ISO_IR n` with escapes."""

_MULTI_BYTE = ("ISO 2022 IR 87", "ISO 2022 IR 159", "ISO 2022 IR 149", "ISO 2022 IR 58")

_ESCAPES = {
    b"(B": ("ascii", "ISO 2022 IR 6"),
    b"(J": ("shift_jis", "ISO 2022 IR 13"),
    b")I": ("shift_jis", "ISO 2022 IR 13"),
    b"$B": ("iso2022_jp", "ISO 2022 IR 87"),
    b"$(D": ("iso2022_jp_2", "ISO 2022 IR 159"),
    b"$)C": ("euc_kr", "ISO 2022 IR 149"),
    b"$)A": ("gb2312", "ISO 2022 IR 58"),
    b"-A": ("iso8859_1", "ISO 2022 IR 100"),
    b"-B": ("iso8859_2", "ISO 2022 IR 101"),
    b"-C": ("iso8859_3", "ISO 2022 IR 109"),
    b"-D": ("iso8859_4", "ISO 2022 IR 110"),
    b"-F": ("iso8859_7", "ISO 2022 IR 126"),
    b"-G": ("iso8859_6", "ISO 2022 IR 127"),
    b"-H": ("iso8859_8", "ISO 2022 IR 138"),
    b"-L": ("iso8859_5", "ISO 2022 IR 144"),
    b"-M": ("iso8859_9", "ISO 2022 IR 148"),
    b"-T": ("iso8859_11", "ISO 2022 IR 166"),
    b"-b": ("iso8859_15", "ISO 2022 IR 203"),
}
"""What follows ESC, to the codec that it turns on and the character set that allows it (PS3.3
tables C.12-3 and C.12-4)."""

_PIECE = re.compile(
    rb"\x1b(?P<escape>\$\([A-Z]|\$\)[A-Z]|\$[A-Z]|[()\-][A-Zb])(?P<after>[^\x1b]*)|(?P<plain>[^\x1b]+)"
)


class TextAttributes:
    """The text attributes of one object, kept as they are stored until somebody asks.

    Args:
        dataset: The object.
    """

    def __init__(self, dataset: Dataset) -> None:
        with reading("SpecificCharacterSet"):
            self._character_sets = _character_sets(dataset)
            self._values: dict[int, tuple[str, bytes | str]] = {}
            for tag in list(dataset.keys()):
                element = dataset.get_item(tag)
                value = _text_value(element)
                if value is not None:
                    self._values[int(tag)] = value

    @property
    def keywords(self) -> tuple[str, ...]:
        """Keywords of the text attributes that DICOM defines and the object has."""
        from pydicom.datadict import keyword_for_tag

        return tuple(filter(None, map(keyword_for_tag, self._values)))

    def text(self, keyword: str) -> str:
        """One attribute, decoded.

        Args:
            keyword: A DICOM keyword of a text attribute.

        Returns:
            Its text, several values separated by a backslash, without padding; empty where it
            is missing.

        Raises:
            PixelInputRefusedError: No such keyword, or it is no text.
            PixelInputUnreadableError: Its bytes are not text of the object's character sets.
        """
        from pydicom.datadict import dictionary_VR, tag_for_keyword

        tag = tag_for_keyword(keyword)
        vr = "" if tag is None else dictionary_VR(tag)
        if tag is None or vr not in TEXT_VRS:
            raise PixelInputRefusedError(
                "that is no text attribute of DICOM",
                got="an unknown keyword" if tag is None else f"{keyword}, which is {vr}",
                expected=f"the keyword of an attribute of type {', '.join(TEXT_VRS)}",
            )
        if tag not in self._values:
            return ""
        stored, value = self._values[tag]
        if isinstance(value, str):
            if "\ufffd" in value:  # pydicom read it before us and put this for what it could not
                raise PixelInputUnreadableError.text(keyword)
            decoded = value
        else:
            try:
                sets = ("",) if stored in _ASCII_VRS else self._character_sets
                decoded = _decoded(value, sets, stored)
            except (UnicodeError, LookupError):
                raise PixelInputUnreadableError.text(keyword) from None
        if vr in _UNSPLIT_VRS:
            return decoded.rstrip(" \0")
        return "\\".join(part.strip(" \0") for part in decoded.split("\\"))


def _text_value(element: object) -> tuple[str, bytes | str] | None:
    """Value representation and value of a text element, None of any other."""
    from pydicom.datadict import dictionary_VR
    from pydicom.dataelem import RawDataElement
    from pydicom.multival import MultiValue

    if isinstance(element, RawDataElement):
        vr = element.VR
        if vr is None or vr == "UN":
            try:
                vr = dictionary_VR(element.tag)
            except KeyError:
                return None
        if vr not in TEXT_VRS or not isinstance(element.value, bytes):
            return None
        return vr, element.value
    vr, value = getattr(element, "VR", ""), getattr(element, "value", None)
    if vr not in TEXT_VRS or value is None:
        return None
    if vr == "PN":
        return vr, _person_name(value)
    return vr, "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)


def _person_name(value: object) -> bytes | str:
    """A name that pydicom has parsed: its bytes, unless they are already of what was replaced."""
    from pydicom.multival import MultiValue

    names = list(value) if isinstance(value, MultiValue) else [value]
    raw = [getattr(name, "original_string", None) for name in names]
    decoded = "\\".join(map(str, names))
    if "\ufffd" not in decoded and all(isinstance(item, bytes) for item in raw):
        return b"\\".join(item for item in raw if isinstance(item, bytes))
    return decoded


def _character_sets(dataset: Dataset) -> tuple[str, ...]:
    element = dataset.get("SpecificCharacterSet")
    if element is None or element == "":
        return ("",)
    values = [element] if isinstance(element, str) else list(element)
    return tuple(str(value or "").strip() for value in values) or ("",)


def _codec(character_set: str) -> str:
    """The codec of a character set that a value starts in.

    Raises:
        LookupError: It is no defined term.
    """
    if character_set in _MULTI_BYTE:
        return "ascii"  # reached by escapes alone; the first set is then the default repertoire
    if character_set not in _ALONE and character_set.startswith("ISO 2022 IR "):
        character_set = "ISO_IR " + character_set.removeprefix("ISO 2022 IR ")
    return _ALONE[character_set]


def _decoded(value: bytes, character_sets: tuple[str, ...], vr: str) -> str:
    first = _codec(character_sets[0])
    for character_set in character_sets[1:]:
        _codec(character_set)
    if b"\x1b" not in value or (len(character_sets) == 1 and first in ("utf_8", "gb18030", "gbk")):
        return _strict(value, first)
    # After these every value, component and line starts anew in the first character set.
    ends = rb"[\r\n\t\f]" if vr in _UNSPLIT_VRS else rb"[\r\n\t\f\\]"
    if vr == "PN":
        ends = rb"[\r\n\t\f\\^=]"
    allowed = {"ISO 2022 IR 6", *character_sets}
    pieces: list[str] = []
    position = 0
    for match in _PIECE.finditer(value):
        if match.start() != position:
            break
        position = match.end()
        if match["plain"] is not None:
            pieces.append(_strict(match["plain"], first))
            continue
        codec, needed = _ESCAPES[match["escape"]]
        if needed not in allowed and needed.replace("ISO 2022 IR", "ISO_IR") not in allowed:
            raise LookupError(needed)
        pieces.append(_piece(match["escape"], match["after"], codec, first, ends))
    if position != len(value):
        raise LookupError("escape")
    return "".join(pieces)


def _piece(escape: bytes, after: bytes, codec: str, first: str, ends: bytes) -> str:
    """What follows one escape: up to a delimiter by its codec, behind that by the first one."""
    if codec in ("iso2022_jp", "iso2022_jp_2"):
        # Both bytes of a character are 0x21 to 0x7E, those of delimiters among them: only
        # control characters end it, and the standard has it end before all others.
        return (b"\x1b" + escape + after).decode(codec)
    found = re.search(ends, after)
    cut = found.start() if found else len(after)
    return _strict(after[:cut], codec) + _strict(after[cut:], first)


def _strict(value: bytes, codec: str) -> str:
    if codec == "shift_jis" and re.search(rb"[\x80-\xa0\xe0-\xff]", value):
        # JIS X 0201 has no such bytes, and reading pairs of them as kanji would be a guess.
        raise UnicodeError(codec)
    return value.decode(codec)
