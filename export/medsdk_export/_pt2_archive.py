"""`.pt2` archives of torch.export, judged before torch reads them.

`torch.export.load` unpickles without care where an archive asks for it, looks up any name of
torch as an operator, and evaluates the expressions of dynamic sizes as Python. So the archive is
read here first, as a zip and as JSON, and what is more than tensors and standard operators is
refused.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from medsdk_export.errors import PickleRefusedError, SourceUnreadableError

MAX_JSON_BYTES = 64 * 1024**2
MAX_NODES = 100_000
MAX_DEPTH = 64
MAX_ELEMENTS = 2**31

_MEMBER = re.compile(
    r"""(?x) ^[^/\\]+/(
        data/weights/(weight_\d+|\w+_weights_config\.json)
      | data/constants/(tensor_\d+|\w+_constants_config\.json)
      | data/sample_inputs/\w+\.pt
      | models/\w+\.json
      | archive_format | archive_version | byteorder | \.data/(version|serialization_id)
      | \.format_version | \.storage_alignment
    )$"""
)
_OPERATOR = re.compile(
    r"^(torch\.ops\.(aten|prims)\.\w+(\.\w+)?|torch\.sym_\w+|_operator\.[a-z]+|math\.(ceil|floor))$"
)
_FILES = re.compile(r"^torch\.ops\.aten\.(from_file|save|load)\b")
_SYMBOL = re.compile(r"Symbol\('[a-z]+\d+'(, (positive|integer|nonnegative|real)=True)*\)")
_EXPRESSION = re.compile(
    r"^(\d{1,18}|[a-z]+\d+|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|[-+/(), ]|\*(?!\*))*$"
)
_SPEC_TYPES = {None, "builtins.tuple", "builtins.list", "builtins.dict"}


@dataclass(frozen=True)
class ArchiveFacts:
    """What an archive says of itself.

    Attributes:
        version: Version of torch that wrote it.
        operators: The operator of each node.
        training: Nodes that were exported in training mode, by operator.
    """

    version: str
    operators: tuple[str, ...]
    training: tuple[str, ...]


def judge_archive(path: Path) -> ArchiveFacts:
    """Look an archive over.

    Args:
        path: The file.

    Returns:
        What it says of itself; `torch.export.load` runs none of its code.

    Raises:
        SourceUnreadableError: Damaged, or not what torch.export.save writes.
        PickleRefusedError: It wants to run code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _judge(archive, path.stat().st_size)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, KeyError, RuntimeError) as error:
        raise damaged(error) from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(error) from error


def damaged(error: Exception) -> SourceUnreadableError:
    """The error for an archive that cannot be read."""
    return SourceUnreadableError(
        "the .pt2 archive cannot be read",
        got=f"a damaged file, or no archive ({type(error).__name__})",
        expected="what torch.export.save() of this or an earlier torch wrote",
        remedy="save it again with torch.export.save(program, path), or copy it again",
    )


def _judge(archive: zipfile.ZipFile, size: int) -> ArchiveFacts:
    total = 0
    names = set()
    for item in archive.infolist():
        total += item.file_size
        if item.compress_type != zipfile.ZIP_STORED or total > size or item.flag_bits & 1:
            raise _refused("compressed or overlapping members", "members stored as they are")
        if not _MEMBER.match(item.filename) or item.filename in names:
            raise _refused("a member that torch.export.save does not write", "its own members")
        names.add(item.filename)
    programs = [name for name in names if "/models/" in name]
    if len(programs) != 1:
        raise _refused(f"{len(programs)} programs", "one")
    for name in sorted(names):
        if name.endswith("_config.json"):
            _check_payloads(_json(archive, name), name)
        elif "/sample_inputs/" in name:
            _check_samples(archive, name)
    return _check_program(_json(archive, programs[0]))


def _check_program(document: object) -> ArchiveFacts:
    if not isinstance(document, dict):
        raise _refused("a program that is no JSON object", "the program")
    operators: list[str] = []
    training: list[str] = []
    for node in _objects(document, 0):
        target, expression = node.get("target"), node.get("expr_str")
        if isinstance(target, str):
            if not _OPERATOR.match(target) or _FILES.match(target):
                raise PickleRefusedError.wants(f"it calls {target[:80]!r}")
            operators.append(target)
            if _trains(node):
                training.append(target)
        if expression is not None and not _is_arithmetic(expression):
            raise PickleRefusedError.wants("a size that is more than arithmetic")
        for key in ("in_spec", "out_spec"):
            spec = node.get(key)
            if isinstance(spec, str):
                _check_spec(json.loads(spec))
        if any(
            isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**63
            for value in node.values()
        ):
            raise _refused("a number out of all proportion", "sizes of tensors")
        if "sizes" in node:
            _check_size(node["sizes"])
    if len(operators) > MAX_NODES:
        raise _refused(f"{len(operators)} nodes", f"at most {MAX_NODES}")
    version = document.get("torch_version")
    return ArchiveFacts(
        version[:40] if isinstance(version, str) else "", tuple(operators), tuple(training)
    )


def _check_payloads(document: object, name: str) -> None:
    for node in _objects(document, 0):
        if node.get("use_pickle"):
            raise PickleRefusedError.wants("tensors or objects that are kept as pickles")
        if "sizes" in node:
            _check_size(node["sizes"])
        if "path_name" in node and not re.fullmatch(r"(weight|tensor)_\d+", str(node["path_name"])):
            raise PickleRefusedError.wants(f"an object that is no tensor, in {name.split('/')[-1]}")


def _check_samples(archive: zipfile.ZipFile, name: str) -> None:
    """Torch tries this safely first and then without care: so it must pass the first time."""
    with archive.open(name) as file:
        try:
            torch.load(file, map_location="cpu", weights_only=True)
        # A damaged pickle can make the loader fail in any way; none of them runs code.
        except Exception as error:
            raise PickleRefusedError.wants("sample inputs that are more than tensors") from error


def _check_spec(node: object) -> None:
    if isinstance(node, list):
        for item in node:
            _check_spec(item)
    elif isinstance(node, dict):
        if node.get("type") not in _SPEC_TYPES:
            raise PickleRefusedError.wants(f"arguments of the type {str(node.get('type'))[:60]!r}")
        _check_spec(node.get("children_spec"))


def _check_size(sizes: object) -> None:
    elements = 1
    for item in sizes if isinstance(sizes, list) else []:
        axis = item.get("as_int", 1) if isinstance(item, dict) else 1
        elements *= axis if isinstance(axis, int) else 1
    if not 0 <= elements <= MAX_ELEMENTS:
        raise _refused(f"a tensor of {elements} elements", f"at most {MAX_ELEMENTS}")


def _is_arithmetic(expression: object) -> bool:
    if not isinstance(expression, str) or len(expression) > 400:
        return False
    return _EXPRESSION.match(_SYMBOL.sub("s0", expression)) is not None


def _trains(node: dict[str, object]) -> bool:
    if not re.search(r"\.(batch_norm|dropout|instance_norm|feature_dropout)", str(node["target"])):
        return False
    inputs = node.get("inputs")
    for item in inputs if isinstance(inputs, list) else []:
        if item.get("name") in ("training", "train"):
            return item.get("arg", {}).get("as_bool") is True
    return False


def _objects(node: object, depth: int) -> Iterator[dict[str, object]]:
    if depth > MAX_DEPTH:
        raise _refused(f"JSON more than {MAX_DEPTH} deep", "a program")
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _objects(value, depth + 1)
    elif isinstance(node, list):
        for value in node:
            yield from _objects(value, depth + 1)


def _json(archive: zipfile.ZipFile, name: str) -> object:
    if archive.getinfo(name).file_size > MAX_JSON_BYTES:
        raise _refused("a JSON member out of all proportion", f"at most {MAX_JSON_BYTES} bytes")
    return json.loads(archive.read(name))


def _refused(got: str, expected: str) -> SourceUnreadableError:
    return SourceUnreadableError(
        "the .pt2 archive is refused",
        got=got,
        expected=expected,
        remedy="save it again with torch.export.save(program, path)",
    )
