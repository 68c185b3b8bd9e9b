"""`medsdk tasks`: the catalogue, and what a task says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medsdk.cli.options import JsonFlag
from medsdk.cli.output import print_document, print_text, table

if TYPE_CHECKING:
    from medsdk.tasks import Task


def register(app: typer.Typer) -> None:
    """Add `tasks` and `tasks show`."""
    group = typer.Typer(
        help="List the clinical tasks, or show one: `medsdk tasks show ID`.",
        invoke_without_command=True,
        rich_markup_mode=None,
    )

    @group.callback()
    def listing(context: typer.Context, as_json: JsonFlag = False) -> None:
        if context.invoked_subcommand is None:
            _list(as_json=as_json)

    @group.command()
    def show(
        context: typer.Context,
        task_id: Annotated[
            str | None, typer.Argument(metavar="[ID]", help="For instance uterus-mr/tumor-filter.")
        ] = None,
        task_file: Annotated[
            Path | None,
            typer.Option("--task-file", metavar="FILE", help="Show (and check) a file of yours."),
        ] = None,
        toml: Annotated[
            bool, typer.Option("--toml", help="Print the TOML text, to start a file of your own.")
        ] = False,
        as_json: JsonFlag = False,
    ) -> None:
        """Show a task: question, input, networks, decision, gates, and what is inferred."""
        # `tasks --json show ID` means the same as `tasks show ID --json`.
        before = context.parent is not None and bool(context.parent.params.get("as_json"))
        _show(task_id, task_file, toml=toml, as_json=as_json or before)

    app.add_typer(group, name="tasks")


def _list(*, as_json: bool) -> None:
    from medsdk.results.documents import TaskRow, TasksDocument
    from medsdk.tasks import catalogue, catalogue_task

    tasks = [catalogue_task(task_id) for task_id in catalogue()]
    if as_json:
        rows = tuple(
            TaskRow(
                id=task.id,
                version=task.version,
                title=task.title,
                modalities=task.input.modalities,
                networks=task.roles,
                notice=task.notice,
            )
            for task in tasks
        )
        print_document(TasksDocument(tasks=rows))
        return
    print_text(
        table(
            ("task", "version", "modality", "networks", "title"),
            (
                (t.id, t.version, " ".join(t.input.modalities), ", ".join(t.roles), t.title)
                for t in tasks
            ),
        )
    )
    print_text("\nReference networks are trained on synthetic phantoms: not for clinical use.")
    print_text("`medsdk tasks show ID` shows one; a file of your own goes in with --task-file.")


def _show(task_id: str | None, task_file: Path | None, *, toml: bool, as_json: bool) -> None:
    import json

    from medsdk.cli.main import UsageError
    from medsdk.tasks import catalogue_task, catalogue_text, read_task

    if (task_id is None) == (task_file is None):
        raise UsageError(
            "which task to show?",
            got="neither an ID nor --task-file" if task_id is None else "both",
            expected="ID or --task-file FILE",
            remedy="`medsdk tasks` lists the ids",
        )
    if toml and (as_json or task_id is None):
        raise UsageError(
            "--toml prints the text of a task of the catalogue, and nothing else",
            got="--json" if as_json else "--task-file",
            expected="--toml with an ID alone",
        )
    task = catalogue_task(task_id) if task_id is not None else read_task(task_file or Path())
    if toml:
        text = (
            catalogue_text(task_id)
            if task_id is not None
            else (task_file or Path()).read_text(encoding="utf-8-sig")
        )
        print_text(text.rstrip())
        return
    if as_json:
        print_text(json.dumps(task.model_dump(mode="json"), ensure_ascii=False, indent=2))
        return
    lines = [
        f"{task.id}  version {task.version}",
        f"  {task.title}: {task.question}",
        f"  {task.notice}",
        "",
        f"input      {' '.join(task.input.modalities)}, {task.input.kind}"
        + (f", {task.input.body_region}" if task.input.body_region else ""),
        f"user       {task.intended_use.user}",
        f"population {task.intended_use.population}",
    ]
    lines += [f"weak       {limit}" for limit in task.intended_use.known_limits]
    for role, network in task.networks.items():
        pixels = network.pixels
        lines += [
            "",
            f"network {role}: {network.architecture.name}"
            f" {dict(network.architecture.parameters) or ''}".rstrip(),
            f"  pixels   {pixels.values} -> {pixels.intensity.kind} -> crop {pixels.crop.kind} -> "
            f"{pixels.fit} {pixels.resize.kernel} {pixels.resize.width}x{pixels.resize.height} -> "
            f"{pixels.channels.order}",
            f"  contract sha256 {pixels.digest[:16]}",
            f"  outputs  {', '.join(output.name for output in network.outputs)}",
            f"  decode   {network.decode.kind}"
            + (
                f": {', '.join(network.decode.labels)}" if hasattr(network.decode, "labels") else ""
            ),
        ]
    lines += ["", f"decision   {task.decision.rule.kind}, one finding a {task.decision.unit}"]
    lines += [f"threshold  {name} = {item.value}" for name, item in task.thresholds.items()]
    for figure in task.published:
        note = f" ({figure.note})" if figure.note else ""
        lines.append(
            f"published  {figure.metric}: {figure.value} {figure.unit}, level {figure.level}{note}"
        )
    lines += ["", *_gates(task)]
    lines += [
        "",
        f"known      {', '.join(task.marks.known) or '-'}",
        f"inferred   {', '.join(task.marks.inferred) or '-'}",
        "",
        "Everything else: --json, or --toml for the file itself.",
    ]
    print_text("\n".join(lines))


def _gates(task: Task) -> list[str]:
    """The gates and how many cases they need; one that none can decide is said so."""
    from medsdk.errors import UndecidableGateError
    from medsdk.parity.declaration import HEADER, rows
    from medsdk.parity.protocol import gate_values, gates_digest, requirements

    head = f"gates      sha256 {gates_digest(task)}"
    try:
        needs = requirements(task)
    except UndecidableGateError as error:
        return [head, f"  {error}"]
    every = ", ".join(
        f"{name} {value}"
        for name, value in gate_values(task).items()
        if name.startswith(("fp32.", "max_output_difference."))
    )
    return [head, table(HEADER, rows(needs)), f"every value of every image: {every}"]
