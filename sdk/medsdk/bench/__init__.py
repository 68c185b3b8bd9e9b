"""Measuring how fast something answers; it knows nothing of models."""

from medsdk.bench.latency import Latency, SystemUnderTest, measure

__all__ = ["Latency", "SystemUnderTest", "measure"]
