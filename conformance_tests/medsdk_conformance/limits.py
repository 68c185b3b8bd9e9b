"""Limits of the kit, apart so that a command line can name them without loading the cases."""

from __future__ import annotations

TIME_LIMIT_S = 120.0
"""How long one item may take, unless it is said otherwise."""

MOST_SILENT = 3
"""After so many items in a row without an answer in time, no more are asked."""
