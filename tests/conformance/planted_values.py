"""Runtimes that give wrong values, or refuse, only for what the smallest graphs do not show."""

from __future__ import annotations

import onnx

from medsdk_runtimes import Session, Settings
from medsdk_runtimes.errors import GraphRefusedError
from tests.conformance.planted import Fault


class Dated(Fault):
    """Built with a parser of 2023: no graph of IR 10, so no bundle of medsdk's."""

    def open(self, onnx_bytes: bytes, settings: Settings) -> Session:
        if onnx.load_from_string(onnx_bytes).ir_version >= 10:
            raise GraphRefusedError("a graph of a version that is too new")
        return super().open(onnx_bytes, settings)


class OnlyOwn(Fault):
    """Opens graphs of medsdk's opset and of no other."""

    def open(self, onnx_bytes: bytes, settings: Settings) -> Session:
        if onnx.load_from_string(onnx_bytes).opset_import[0].version != 20:
            raise GraphRefusedError("a graph of another opset")
        return super().open(onnx_bytes, settings)
