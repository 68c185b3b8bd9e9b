"""Plans: which runtime, device, precision and options run a bundle here."""

from medsdk.plan.candidate import Candidate, Choice, Plan, candidates_of, default_candidate

__all__ = ["Candidate", "Choice", "Plan", "candidates_of", "default_candidate"]
