"""Write the JSON Schemas of what `--json` prints, or check that the written ones still fit.

    python docs/schemas/generate.py            writes docs/schemas/*.schema.json
    python docs/schemas/generate.py --check    exit 1 where one differs, is missing or left over

The schemas describe what is printed (pydantic's serialization mode), so a key with a default is
still required. Records stay open to keys of later releases: `docs/json.md` says why.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic.json_schema import GenerateJsonSchema

from medsdk.results.schemas import DOCUMENTS
from medsdk.tasks.strict import FORMAT_VERSION

FOLDER = Path(__file__).parent
SUFFIX = ".schema.json"


class _Untitled(GenerateJsonSchema):
    """Without the titles that repeat the keys in capitals."""

    schema_dialect = "https://json-schema.org/draft/2020-12/schema"

    def field_title_should_be_set(self, schema: object) -> bool:
        """Never."""
        return False


def schema_text(name: str) -> str:
    """The schema of one document.

    Args:
        name: A key of `DOCUMENTS`.

    Returns:
        JSON with sorted keys and a newline at the end, the same on every machine.
    """
    model = DOCUMENTS[name]
    schema = model.model_json_schema(mode="serialization", schema_generator=_Untitled)
    major = FORMAT_VERSION.split(".")[0]
    schema["$schema"] = _Untitled.schema_dialect
    schema["properties"]["format_version"] = {"pattern": rf"^{major}\.\d+$", "type": "string"}
    return json.dumps(_open(schema), ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def _open(node: object) -> object:
    """Let records have keys that this release does not know; first paragraphs of docstrings."""
    if isinstance(node, list):
        return [_open(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: _open(value) for key, value in node.items()}
    if found.get("additionalProperties") is False:
        del found["additionalProperties"]
    required, text = found.get("required"), found.get("description")
    if isinstance(required, list):
        found["required"] = sorted(required)
    if isinstance(text, str):
        found["description"] = " ".join(text.split("\n\n")[0].split())
    return found


def differences(folder: Path) -> list[str]:
    """Names of the schema files that are not what they should be.

    Args:
        folder: Where they lie.
    """
    wanted = {f"{name}{SUFFIX}": schema_text(name) for name in DOCUMENTS}
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob(f"*{SUFFIX}")}
    return sorted(name for name in wanted | there if wanted.get(name) != there.get(name))


def main(arguments: Sequence[str], folder: Path = FOLDER) -> int:
    """Write or check.

    Args:
        arguments: `--check`, or nothing.
        folder: Where the schemas lie.

    Returns:
        The exit status.
    """
    if list(arguments) not in ([], ["--check"]):
        sys.stderr.write("usage: generate.py [--check]\n")
        return 2
    changed = differences(folder)
    if arguments:
        for name in changed:
            sys.stderr.write(f"{name} is not up to date: make schemas\n")
        return 1 if changed else 0
    for path in folder.glob(f"*{SUFFIX}"):
        if path.name in changed:
            path.unlink()
    for name in DOCUMENTS:
        (folder / f"{name}{SUFFIX}").write_bytes(schema_text(name).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
