"""Element types of ONNX tensors, and whether a tensor holds as much data as it declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# TensorProto.DataType: name and bits an element. numpy's name where numpy has the type.
TYPES: Final[Mapping[int, tuple[str, int]]] = {
    1: ("float32", 32),
    2: ("uint8", 8),
    3: ("int8", 8),
    4: ("uint16", 16),
    5: ("int16", 16),
    6: ("int32", 32),
    7: ("int64", 64),
    8: ("string", 0),
    9: ("bool", 8),
    10: ("float16", 16),
    11: ("float64", 64),
    12: ("uint32", 32),
    13: ("uint64", 64),
    14: ("complex64", 64),
    15: ("complex128", 128),
    16: ("bfloat16", 16),
    17: ("float8e4m3fn", 8),
    18: ("float8e4m3fnuz", 8),
    19: ("float8e5m2", 8),
    20: ("float8e5m2fnuz", 8),
    21: ("uint4", 4),
    22: ("int4", 4),
    23: ("float4e2m1", 4),
    24: ("float8e8m0", 8),
    25: ("uint2", 2),
    26: ("int2", 2),
}

# Fields of TensorProto that hold elements, other than raw_data (9): bytes an entry where fixed.
RAW_DATA: Final = 9
STRING_DATA: Final = 6
FIXED_DATA: Final = {4: 4, 10: 8}
VARINT_DATA: Final = frozenset({5, 7, 11})


def holds(entries: Mapping[int, int], data_type: int, elements: int, bits: int) -> bool:
    """Whether the data that a tensor holds are those of its shape."""
    if not entries:
        return elements == 0
    ((field, count),) = entries.items()
    if field == RAW_DATA:
        return bits > 0 and count == -(-elements * bits // 8)
    if field == STRING_DATA:
        return bits == 0 and count == elements
    if field == 5 and bits < 8:  # int32_data: a byte's worth of elements an entry
        return count == -(-elements * bits // 8)
    if data_type in {14, 15}:  # complex: two numbers an element
        return count == 2 * elements
    return count == elements
