"""What a report says: the JSON document, and the tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from medsdk import __version__
from medsdk.bundle.manifest import Verdict
from medsdk.cli.output import table
from medsdk.results.documents import ConformanceDocument, ConformanceItem
from medsdk_conformance.case import Case
from medsdk_conformance.kit import Report
from medsdk_conformance.suite import ITEMS, Item
from medsdk_runtimes import CAPABILITIES
from medsdk_runtimes.machine import identify

_ITEM_OF = {item.id: item for item in ITEMS}
_WORDS = {"pass": "pass", "fail": "FAIL", "not-run": "not run", "advisory": "exception"}


def describe_report(report: Report) -> ConformanceDocument:
    """The document of a run."""
    items = tuple(
        _described(
            _ITEM_OF[timed.result.id], timed.result.verdict, timed.result.detail, timed.seconds
        )
        for timed in report.results
    )
    return ConformanceDocument(
        verdict=_verdict(items),
        runtime=report.runtime,
        runtime_version=report.version,
        device=report.device,
        capabilities=report.capabilities,
        exceptions=tuple(item.id for item in items if item.verdict == "advisory"),
        items=items,
        medsdk=__version__,
        machine_sha256=identify().digest,
    )


def describe_items(items: Iterable[Item]) -> ConformanceDocument:
    """The document of a run in which nothing was run: what would be asked."""
    return ConformanceDocument(
        verdict="not-run",
        runtime="",
        runtime_version="",
        device="",
        capabilities=(),
        exceptions=(),
        items=tuple(_described(item, "not-run", "only listed", 0.0) for item in items),
        medsdk=__version__,
        machine_sha256=identify().digest,
    )


def capability_table(document: ConformanceDocument) -> str:
    """One row a capability: whether it is declared, and what is kept of it."""
    return table(
        ("capability", "declared", "items", "pass", "fail", "not run", "exception"),
        (
            (
                capability or "(every runtime)",
                _declared(capability, document),
                len(items),
                *(
                    sum(item.verdict == verdict for item in items)
                    for verdict in ("pass", "fail", "not-run", "advisory")
                ),
            )
            for capability, items in _by_capability(document.items)
        ),
    )


def conclusion(document: ConformanceDocument) -> str:
    """The verdict in capitals, and how many exceptions it rests on."""
    number = len(document.exceptions)
    said = document.verdict.upper()
    return f"{said}, with {number} exception{'s' * (number > 1)}" if number else said


def remarks(document: ConformanceDocument, *, undeclared: bool = False) -> list[str]:
    """One line for every item that is not `pass`; one for all that were not run for one reason.

    Args:
        document: A run.
        undeclared: Whether to tell of items that were not run since they are not declared.
    """
    lines = []
    not_run: dict[str, list[ConformanceItem]] = {}
    for item in document.items:
        if item.verdict in {"fail", "advisory"}:
            lines.append(f"{_WORDS[item.verdict]}  {item.id}: {item.asks} {item.detail}")
        elif item.verdict == "not-run" and (
            undeclared or item.capability in {None, *document.capabilities}
        ):
            not_run.setdefault(item.detail, []).append(item)
    for reason, items in not_run.items():
        told = f"{items[0].id}: {items[0].asks}" if len(items) == 1 else f"{len(items)} items:"
        lines.append(f"{_WORDS['not-run']}  {told} {reason}")
    return lines


def items_table(document: ConformanceDocument) -> str:
    """One row an item: what it asks."""
    return table(
        ("item", "capability", "asks"),
        ((item.id, item.capability or "-", item.asks) for item in document.items),
    )


def _described(item: Item, verdict: Verdict, detail: str, seconds: float) -> ConformanceItem:
    is_case = isinstance(item, Case)
    return ConformanceItem(
        id=item.id,
        kind="case" if is_case else "check",
        capability=item.capability,
        asks=f"{item.asks}." if is_case else item.asks,
        verdict=verdict,
        detail=detail,
        seconds=seconds,
    )


def _verdict(items: Sequence[ConformanceItem]) -> Verdict:
    """The worst that decides; `not-run` where nothing was."""
    seen = {item.verdict for item in items}
    order: tuple[Verdict, ...] = ("fail", "pass", "advisory")
    return next((verdict for verdict in order if verdict in seen), "not-run")


def _by_capability(
    items: Sequence[ConformanceItem],
) -> list[tuple[str | None, list[ConformanceItem]]]:
    groups = [
        (capability, [item for item in items if item.capability == capability])
        for capability in (None, *CAPABILITIES)
    ]
    return [(capability, found) for capability, found in groups if found]


def _declared(capability: str | None, document: ConformanceDocument) -> str:
    if capability is None:
        return "-"
    return "yes" if capability in document.capabilities else "no"
