"""From a network's outputs to what they mean."""

from medsdk.decode.classification import class_probabilities

__all__ = ["class_probabilities"]
