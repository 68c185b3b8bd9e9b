"""What keeps a site's values from being stored or checked again.

::

    MedsdkError
    ├── PhantomRefusedError    2  a folder of phantom images that cannot be used
    ├── ValuesUnreadableError  4  no stored values, or a malformed file
    └── ValuesTamperedError    1  stored values that are not what was written
"""

from __future__ import annotations

from medsdk_runtimes.errors import MedsdkError


class PhantomRefusedError(MedsdkError):
    """A folder of phantom images cannot be used, or not in the way that was asked for."""

    code = "phantom-refused"
    exit_status = 2


class ValuesUnreadableError(MedsdkError):
    """There are no stored values, or the file is malformed."""

    code = "values-unreadable"
    exit_status = 4


class ValuesTamperedError(MedsdkError):
    """The stored values differ from their digest."""

    code = "values-tampered"
    exit_status = 1
