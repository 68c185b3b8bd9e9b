"""Faults that are planted on purpose: each must be caught, where it is, by what leads to it.

``python -m tests.planted_faults`` prints the table; docs/planted-faults.md is one run of it.
"""
