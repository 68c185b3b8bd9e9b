"""The protobuf messages of ONNX as tables, and a strict, bounded reader of their fields.

The tables follow `onnx.proto` of onnx 1.23 (IR version 14). Fields that no inference graph needs
(training, segments, functions) are in them, so that `graph` can refuse them by name.
Protobuf's encoding: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from medsdk_runtimes.errors import GraphRefusedError

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_WIDTHS = {_FIXED32: 4, _FIXED64: 8}

# A field is "number:kind"; "*" marks a repeated one. Kinds: v varint, f float, d double,
# b bytes, s text, pv, pf and pd packed numbers, any other word a message.
_MESSAGES = {
    "ModelProto": "1:v 2:s 3:s 4:s 5:v 6:s 7:GraphProto 8:OperatorSetIdProto* "
    "14:StringStringEntryProto* 20:b* 25:b* 26:b*",
    "OperatorSetIdProto": "1:s 2:v",
    "StringStringEntryProto": "1:s 2:s",
    "GraphProto": "1:NodeProto* 2:s 5:TensorProto* 10:s 11:ValueInfoProto* 12:ValueInfoProto* "
    "13:ValueInfoProto* 14:TensorAnnotation* 15:SparseTensorProto* 16:StringStringEntryProto*",
    "NodeProto": "1:s* 2:s* 3:s 4:s 5:AttributeProto* 6:s 7:s 8:s 9:StringStringEntryProto* 10:b*",
    "AttributeProto": "1:s 2:f 3:v 4:b 5:TensorProto 6:GraphProto 7:pf* 8:pv* 9:b* "
    "10:TensorProto* 11:GraphProto* 13:s 14:TypeProto 15:TypeProto* 20:v 21:s "
    "22:SparseTensorProto 23:SparseTensorProto*",
    "TensorProto": "1:pv* 2:v 3:b 4:pf* 5:pv* 6:b* 7:pv* 8:s 9:b 10:pd* 11:pv* 12:s "
    "13:StringStringEntryProto* 14:v 16:StringStringEntryProto*",
    "SparseTensorProto": "1:TensorProto 2:TensorProto 3:pv*",
    "ValueInfoProto": "1:s 2:TypeProto 3:s 4:StringStringEntryProto*",
    "TensorAnnotation": "1:s 2:StringStringEntryProto*",
    "TypeProto": "1:TypeProto.Tensor 4:TypeProto.Sequence 5:TypeProto.Map 6:s 7:TypeProto.Opaque "
    "8:TypeProto.Tensor 9:TypeProto.Sequence",
    "TypeProto.Tensor": "1:v 2:TensorShapeProto",
    "TypeProto.Sequence": "1:TypeProto",
    "TypeProto.Map": "1:v 2:TypeProto",
    "TypeProto.Opaque": "1:s 2:s",
    "FunctionProto": "1:s 4:s* 5:s* 6:s* 7:b* 8:s 9:b* 10:s 11:b* 12:b* 13:s 14:b*",
    "TensorShapeProto": "1:TensorShapeProto.Dimension*",
    "TensorShapeProto.Dimension": "1:v 2:s 3:s",
}


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    wire: int
    repeated: bool
    kind: str


def _compile(text: str) -> dict[int, _Field]:
    """Fields by tag; a packed field may also come unpacked, so it has two tags."""
    wires = {"v": _VARINT, "f": _FIXED32, "d": _FIXED64}
    fields = {}
    for item in text.split():
        number_text, kind = item.rstrip("*").split(":")
        number, repeated = int(number_text), item.endswith("*")
        wire = wires.get(kind, _BYTES)
        fields[number << 3 | wire] = _Field(number, wire, repeated, kind)
        if kind in {"pv", "pf", "pd"}:
            single = wires[kind[1:]]
            fields[number << 3 | single] = _Field(number, single, repeated, kind[1:])
    return fields


_FIELDS = {name: _compile(text) for name, text in _MESSAGES.items()}
_TERMINATORS_DELETED = bytes(range(128))


class WireReader:
    """Fields of the messages that lie inside one buffer. Copies nothing but text.

    Args:
        data: The whole buffer.
        max_fields: Fields that may be read before the buffer is refused.
        max_depth: How deep messages may be nested.
    """

    def __init__(self, data: bytes, max_fields: int, max_depth: int) -> None:
        self.data = data
        self._max_fields = max_fields
        self._fields_left = max_fields
        self._max_depth = max_depth

    def fields(
        self, message: str, start: int, end: int, depth: int
    ) -> Iterator[tuple[int, int, int]]:
        """Yield `(number, a, b)` for every field of a message.

        A varint gives its unsigned value and -1, everything else its start and its end. A
        repeated number that came unpacked is told from a packed one by that -1.

        Raises:
            GraphRefusedError: Truncated, unknown fields, wrong wire types, a single field
                twice, too many fields or too deep.
        """
        if depth > self._max_depth:
            raise GraphRefusedError(
                "the graph is nested too deeply",
                got=f"more than {self._max_depth} messages inside each other",
                expected=f"at most {self._max_depth}",
            )
        data, known, seen, pos = self.data, _FIELDS[message], 0, start
        while pos < end:
            tag = data[pos]
            if tag < 0x80:
                pos += 1
            else:
                tag, pos = self.varint(message, pos, end)
            field = known.get(tag)
            if field is None:
                raise malformed(message, f"field {tag >> 3} of wire type {tag & 7}")
            if not field.repeated:
                if seen >> field.number & 1:
                    raise malformed(message, f"field {field.number} twice")
                seen |= 1 << field.number
            self._fields_left -= 1
            if self._fields_left < 0:
                raise GraphRefusedError(
                    "the graph has too many fields",
                    got=f"more than {self._max_fields}",
                    expected=f"at most {self._max_fields}",
                )
            wire = field.wire
            if wire == _BYTES:
                if pos < end and data[pos] < 0x80:
                    length = data[pos]
                    pos += 1
                else:
                    length, pos = self.varint(message, pos, end)
                begin = pos
                pos += length
                if pos > end:
                    raise malformed(message, "an end before its last field does")
                yield field.number, begin, pos
            elif wire == _VARINT:
                if pos < end and data[pos] < 0x80:
                    value = data[pos]
                    pos += 1
                else:
                    value, pos = self.varint(message, pos, end)
                yield field.number, value, -1
            else:
                begin = pos
                pos += _WIDTHS[wire]
                if pos > end:
                    raise malformed(message, "an end before its last field does")
                yield field.number, begin, pos

    def check(self, message: str, start: int, end: int, depth: int) -> None:
        """Read a message and all inside it for its form only."""
        kinds = _FIELDS[message]
        for number, a, b in self.fields(message, start, end, depth):
            field = kinds.get(number << 3 | _BYTES)
            if field is None or b < 0:
                continue
            if field.kind in _FIELDS:
                self.check(field.kind, a, b, depth + 1)
            elif field.kind == "s":
                self.text(message, a, b)

    def message_in(self, message: str, number: int) -> str | None:
        """Which message a field of a message holds; None where it holds a value."""
        field = _FIELDS[message].get(number << 3 | _BYTES)
        return field.kind if field is not None and field.kind in _FIELDS else None

    def varint(self, message: str, pos: int, end: int) -> tuple[int, int]:
        """An unsigned number of at most 64 bits and the position after it."""
        value = 0
        for shift in range(0, 70, 7):
            if pos >= end:
                raise malformed(message, "an end inside a number")
            byte = self.data[pos]
            pos += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64:
                    break
                return value, pos
        raise malformed(message, "a number of more than 64 bits")

    def text(self, message: str, start: int, end: int) -> str:
        """A string."""
        try:
            return self.data[start:end].decode()
        except UnicodeDecodeError:
            raise malformed(message, "text that is not UTF-8") from None

    def numbers(self, message: str, start: int, end: int) -> list[int]:
        """Packed signed 64-bit numbers."""
        values = []
        while start < end:
            value, start = self.varint(message, start, end)
            values.append(signed(value))
        return values

    def count(self, message: str, start: int, end: int) -> int:
        """How many packed varints there are."""
        if start < end and self.data[end - 1] >= 0x80:
            raise malformed(message, "an end inside a number")
        # Every varint ends with the one byte that has no high bit.
        return end - start - len(self.data[start:end].translate(None, _TERMINATORS_DELETED))


def signed(value: int) -> int:
    """The int64 that an unsigned varint stands for."""
    return value - (1 << 64) if value >> 63 else value


def malformed(message: str, got: str) -> GraphRefusedError:
    """The bytes are no well-formed ONNX."""
    return GraphRefusedError(
        "the bytes are no well-formed ONNX graph",
        got=f"{message} with {got}",
        expected="an ONNX ModelProto as onnx 1.23 (IR version 14) defines it",
        remedy="export the graph again; a copy of it was cut short or changed",
    )
