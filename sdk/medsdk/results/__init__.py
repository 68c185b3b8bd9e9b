"""Findings, and the JSON documents that other programs read."""

from medsdk.results.finding import Finding, Provenance

__all__ = ["Finding", "Provenance"]
