"""From what the networks say to the answer."""

from medsdk.decide.rules import Outcome, decide, decision_margin

__all__ = ["Outcome", "decide", "decision_margin"]
