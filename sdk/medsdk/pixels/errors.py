"""The errors of pixels: what cannot be read, and what is not what the contract takes.

::

    MedsdkError
    ├── PixelInputUnreadableError  4  no DICOM, truncated, no pixels, sizes that do not fit
    ├── PixelInputRefusedError     2  readable, but not what the contract takes
    ├── DecoderMissingError        3  a compressed transfer syntax without its decoder
    └── KernelUnavailableError     3  a resize that this release does not offer

Messages carry attribute keywords, sizes, and names that DICOM defines (photometric
interpretations, transfer syntaxes). They never carry other values of an object, nor the path
that it came from.
"""

from __future__ import annotations

from typing import Self

from medsdk_runtimes.errors import MedsdkError


class PixelInputUnreadableError(MedsdkError):
    """The input is no DICOM object, is broken, or holds no pixels."""

    code = "pixel-input-unreadable"
    exit_status = 4

    @classmethod
    def not_opened(cls, reason: str) -> Self:
        """The file cannot be read at all.

        Args:
            reason: What the operating system said, without a path.
        """
        return cls(
            "the input cannot be opened",
            got=reason,
            expected="a DICOM file that this process may read",
            remedy="check the path and its permissions",
        )

    @classmethod
    def not_dicom(cls, size: int) -> Self:
        """The prefix of a DICOM file is not there.

        Args:
            size: Bytes that were given.
        """
        return cls(
            "the input is no DICOM file",
            got=f"{size} bytes without the prefix DICM at offset 128",
            expected="a DICOM file as PS3.10 has it",
            remedy="give the object as the scanner or archive exports it",
        )

    @classmethod
    def malformed(cls, what: str) -> Self:
        """A part of the object cannot be parsed."""
        return cls(
            f"{what} cannot be read",
            got="truncated or malformed data",
            expected="a complete DICOM object",
            remedy="export the object again",
        )

    @classmethod
    def attribute(cls, keyword: str, got: str, expected: str) -> Self:
        """An attribute is missing or says what cannot be.

        Args:
            keyword: Its DICOM keyword.
            got: `missing`, `malformed`, or a number.
            expected: What would have been right.
        """
        return cls(
            f"{keyword} does not describe readable pixels",
            got=got,
            expected=expected,
            remedy="export the object again",
        )

    @classmethod
    def text(cls, keyword: str) -> Self:
        """A text attribute's bytes are no text of the character sets that the object names.

        Args:
            keyword: Its DICOM keyword.
        """
        return cls(
            f"{keyword} cannot be decoded without loss",
            got="bytes that are no text of the object's SpecificCharacterSet",
            expected="text in a character set of PS3.3 C.12.1.1.2 that the object names",
            remedy="correct SpecificCharacterSet where the object comes from",
        )

    @classmethod
    def no_pixels(cls) -> Self:
        """The object holds no pixel data."""
        return cls(
            "the object holds no pixels",
            got="no PixelData",
            expected="an image object with PixelData",
            remedy="give an image, not a report, plan or embedded document",
        )

    @classmethod
    def sizes(cls, got: str, expected: str) -> Self:
        """The header and the pixel data disagree."""
        return cls(
            "the pixel data does not have the size that its header claims",
            got=got,
            expected=expected,
            remedy="export the object again; it is truncated or its header is wrong",
        )

    @classmethod
    def too_large(cls, what: str, got: int, limit: int) -> Self:
        """A limit of `DicomLimits` is passed.

        Args:
            what: What is too large.
            got: Its bytes.
            limit: The most that is allowed.
        """
        return cls(
            f"{what} is larger than the limit",
            got=f"{got} bytes",
            expected=f"at most {limit} bytes",
            remedy="raise the limit with DicomLimits(...) if the object is genuine",
        )

    @classmethod
    def too_many(cls, what: str, limit: int) -> Self:
        """A count of `DicomLimits` is passed.

        Args:
            what: What there are too many of.
            limit: The most that is allowed.
        """
        return cls(
            f"the object has more {what} than the limit",
            got=f"more than {limit}",
            expected=f"at most {limit} {what}",
            remedy="raise the limit with DicomLimits(...) if the object is genuine",
        )

    @classmethod
    def not_decoded(cls, syntax: str, decoder: str) -> Self:
        """The decoder could not decode the frame.

        Args:
            syntax: Name of the transfer syntax.
            decoder: Its name and version.
        """
        return cls(
            "a compressed frame cannot be decoded",
            got=f"{syntax}, which {decoder} could not decode",
            expected="a complete frame of that transfer syntax",
            remedy="export the object again, uncompressed if it stays unreadable",
        )


class PixelInputRefusedError(MedsdkError):
    """The input is readable, but not what the contract or this release takes."""

    code = "pixel-input-refused"
    exit_status = 2

    @classmethod
    def not_offered(cls, what: str, got: str, offered: str, remedy: str = "") -> Self:
        """Something legitimate that this release does not execute.

        Args:
            what: The field or attribute.
            got: What it asks for.
            offered: What this release has.
            remedy: What the reader can do now.
        """
        return cls(
            f"{what} is not in this release",
            got=got,
            expected=offered,
            remedy=remedy or "a later release may bring it",
        )

    @classmethod
    def ambiguous(cls, got: str, expected: str) -> Self:
        """A bare array whose values could mean several things."""
        return cls(
            "a bare array does not say what its values mean here",
            got=got,
            expected=expected,
            remedy="give Frame(array, color=..., value_kind=...)",
        )

    @classmethod
    def frame(cls, got: str, expected: str, remedy: str = "") -> Self:
        """A frame's array is no image that can be prepared."""
        return cls("the frame's array is refused", got=got, expected=expected, remedy=remedy)

    @classmethod
    def roi(cls, got: str, expected: str, remedy: str = "") -> Self:
        """A region of interest that cannot be used.

        Args:
            got: What was given.
            expected: What would have been right.
            remedy: What to do, where it is not to write the region properly.
        """
        return cls(
            "the region of interest is refused",
            got=got,
            expected=expected,
            remedy=remedy
            or "give roi as medsdk.Box(x0, y0, x1, y1), on the command line --roi x0,y0,x1,y1, in "
            "pixels of the stored frame, outer corners",
        )

    @classmethod
    def region(cls, got: str) -> Self:
        """The object has no B-mode region that could be cropped to.

        Args:
            got: What it has.
        """
        return cls(
            "the frame cannot be cropped to its ultrasound region",
            got=got,
            expected="exactly one B-mode region inside the frame in SequenceOfUltrasoundRegions",
            remedy="give an object that says its region, or a task whose crop is 'roi' and a "
            "region of interest",
        )

    @classmethod
    def video(cls, syntax: str) -> Self:
        """A clip in a video syntax, which nothing here decodes.

        Args:
            syntax: Name of the transfer syntax.
        """
        return cls(
            "the object is a video stream, which cannot be decoded here",
            got=syntax,
            expected="a clip whose frames are stored one by one: uncompressed, RLE, JPEG, JPEG-LS "
            "or JPEG 2000",
            remedy="no decoder of MPEG-2, H.264 or HEVC frames exists for Python under a licence "
            "that a device can ship: let the scanner or archive store the clip as JPEG or "
            "uncompressed",
        )

    @classmethod
    def monochrome1(cls) -> Self:
        """The contract refuses inverted frames."""
        return cls(
            "the contract refuses MONOCHROME1 frames",
            got="MONOCHROME1",
            expected="MONOCHROME2",
            remedy="give the object that is stored as MONOCHROME2",
        )

    @classmethod
    def values(cls, got: str, expected: str) -> Self:
        """The frame's values are not those that the contract starts from."""
        return cls(
            "the frame's values are not those that the contract takes",
            got=got,
            expected=expected,
            remedy="give the object as the scanner stores it, or say what the values are with "
            "Frame(array, value_kind=...)",
        )


class DecoderMissingError(MedsdkError):
    """The transfer syntax is known, its decoder is not installed or not fit for use."""

    code = "decoder-missing"
    exit_status = 3

    @classmethod
    def missing(cls, syntax: str, packages: tuple[str, ...]) -> Self:
        """No decoder of the syntax is here.

        Args:
            syntax: Name of the transfer syntax.
            packages: Packages of which any one decodes it.
        """
        return cls(
            "the pixels are compressed and no decoder for them is installed",
            got=f"transfer syntax {syntax}",
            expected=" or ".join(packages),
            remedy='pip install "medsdk[dicom]"',
        )

    @classmethod
    def broken(cls, decoder: str, error: str) -> Self:
        """A decoder is installed and cannot be imported.

        Args:
            decoder: Package and version.
            error: The class of what its import raised.
        """
        return cls(
            "a decoder is installed and does not load",
            got=f"{decoder}, whose import raised {error}",
            expected="a package that this Python can import",
            remedy=f"reinstall it: pip install --force-reinstall {decoder.split()[0]}",
        )


class KernelUnavailableError(MedsdkError):
    """A resize that the schema names and this release does not offer."""

    code = "kernel-unavailable"
    exit_status = 3

    @classmethod
    def not_offered(cls, kernel: str, offered: tuple[str, ...]) -> Self:
        """`kernel` is not executed by this release.

        Args:
            kernel: What was asked for.
            offered: What this release executes.
        """
        return cls(
            f"the resize kernel {kernel!r} is not in this release",
            got=repr(kernel),
            expected=f"one of {', '.join(offered)}",
            remedy="nothing is resized by another kernel quietly; a later release may bring it",
        )
