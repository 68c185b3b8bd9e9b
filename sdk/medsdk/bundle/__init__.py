"""Bundles: a task's networks with everything needed to run and to judge them."""

from medsdk.bundle.manifest import KnownAnswer, Manifest, NetworkRecord, Variant
from medsdk.bundle.reading import Bundle
from medsdk.bundle.writing import BundleWriter

__all__ = ["Bundle", "BundleWriter", "KnownAnswer", "Manifest", "NetworkRecord", "Variant"]
