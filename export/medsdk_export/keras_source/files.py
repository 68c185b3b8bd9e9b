"""What a Keras file is and holds, found without Keras.

Four kinds of file: a whole model as `.keras` (a zip) or `.h5` (HDF5 with a configuration), and
weights alone in the layout of Keras 2 (`layer_names`) or of Keras 3 (`layers/.../vars`).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import h5py

from medsdk_export.errors import SourceUnreadableError
from medsdk_export.keras_source import _config, _hdf5

Format = Literal["keras", "hdf5-model", "hdf5-weights", "keras-weights"]

MAX_FILE_BYTES = 16 * 1024**3

_MEMBERS = frozenset({"metadata.json", "config.json", "model.weights.h5"})
_MAX_METADATA_BYTES = 64 * 1024
_PIECE = 1024**2


@dataclass(frozen=True)
class Weight:
    """One array of weights.

    Attributes:
        name: Its last name, for instance `kernel`; a number in the layout of Keras 3.
        path: Where it is in the HDF5 file.
        shape: Its axes.
        dtype: Its element type.
        bytes: Its size in memory.
    """

    name: str
    path: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


@dataclass(frozen=True)
class KerasFacts:
    """What a file holds.

    Attributes:
        format: Which of the four kinds.
        version: Version of Keras that wrote it; empty where the file does not say.
        config: The configuration, modernised; None for weights alone.
        facts: What the configuration says; empty for weights alone.
        weights: Layer to its arrays, the optimizer's left out. In the layout of Keras 3 of
            before 3.7 a layer is known by its class and number only.
        changed: Whether `config` differs from what the file says.
    """

    format: Format
    version: str
    config: dict[str, Any] | None
    facts: _config.ConfigFacts
    weights: Mapping[str, tuple[Weight, ...]]
    changed: bool = False

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(_count(item.shape) for group in self.weights.values() for item in group)

    @property
    def weight_bytes(self) -> int:
        """Size of the weights in float32."""
        return 4 * self.parameters

    def document(self) -> dict[str, Any]:
        """As JSON, for the way between processes; without the configuration."""
        return {
            "format": self.format,
            "version": self.version,
            "facts": asdict(self.facts),
            "weights": {
                layer: [asdict(item) for item in group] for layer, group in self.weights.items()
            },
        }


@contextmanager
def opened(path: Path) -> Iterator[tuple[KerasFacts, Path]]:
    """Look a file over, and keep what Keras is to load until the end of the block.

    Args:
        path: `.keras`, `.h5` or `.hdf5`.

    Yields:
        What it holds, and the HDF5 file with its weights: the file itself, or what was unpacked
        from a `.keras` archive.

    Raises:
        SourceUnreadableError: Damaged, or not what Keras writes.
    """
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise SourceUnreadableError(
            "the model file is too large", got=f"{size} bytes", expected=f"at most {MAX_FILE_BYTES}"
        )
    with path.open("rb") as file:
        archive = file.read(4) == b"PK\3\4"
    if archive:
        with TemporaryDirectory(prefix="medsdk-keras-") as folder:
            weights = Path(folder, "model.weights.h5")
            text, version = _unpack(path, weights)
            yield _look(weights, text, version), weights
    else:
        yield _look(path, None, ""), path


def _look(path: Path, config: str | None, version: str) -> KerasFacts:
    with _hdf5.open_file(str(path)) as file:
        try:
            return _read(file, path.stat().st_size, config, version)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
            # What a damaged file makes h5py raise; none of it is about the file's contents.
            raise _hdf5.damaged() from error


def _read(file: h5py.File, size: int, config: str | None, version: str) -> KerasFacts:
    arrays = _hdf5.look_over(file, size)
    text = config
    if text is None:
        found = _hdf5.attribute(file, "model_config")
        text = found[0] if found else None
        version = "".join(_hdf5.attribute(file, "keras_version"))[:40]
        if not version and "model_weights" in file:
            version = "".join(_hdf5.attribute(file["model_weights"], "keras_version"))[:40]
    if config is not None or (text is None and "layers" in file):
        weights = dict(_new_layout(file, arrays))
        kind: Format = "keras" if config is not None else "keras-weights"
    else:
        group = file.get("model_weights", file)
        weights = dict(_old_layout(group, arrays))
        kind = "hdf5-model" if text is not None else "hdf5-weights"
    if text is None:
        if not weights:
            raise SourceUnreadableError(
                "the HDF5 file holds neither a Keras model nor its weights",
                got=f"{len(arrays)} arrays",
                expected="what model.save() or model.save_weights() of Keras wrote",
                remedy="save the model again with Keras",
            )
        return KerasFacts(kind, version, None, _config.ConfigFacts(), weights)
    if len(text) > _config.MAX_CONFIG_BYTES:
        raise _config.unreadable(f"{len(text)} characters", "a configuration")
    document = _config.parse(text)
    facts = _config.judge(document)
    modern = _config.modernised(document)
    assert isinstance(modern, dict)
    return KerasFacts(kind, version, modern, facts, weights, changed=modern != document)


def _old_layout(
    group: h5py.Group, arrays: Mapping[str, _hdf5.Stored]
) -> Iterator[tuple[str, tuple[Weight, ...]]]:
    """Keras 2: a group for each layer, which lists the names of its weights in their order."""
    root = group.name.strip("/")
    for layer in _hdf5.attribute(group, "layer_names"):
        if layer not in group:
            raise _hdf5.refused("a layer without its group", "one for each of layer_names")
        found = []
        for name in _hdf5.attribute(group[layer], "weight_names"):
            path = "/".join(part for part in (root, layer, name) if part)
            if path not in arrays:
                raise _hdf5.refused("a weight without its array", "one for each of weight_names")
            found.append(_weight(name.rsplit("/", 1)[-1].split(":")[0], path, arrays[path]))
        if found:
            yield layer, tuple(found)


def _new_layout(
    file: h5py.File, arrays: Mapping[str, _hdf5.Stored]
) -> Iterator[tuple[str, tuple[Weight, ...]]]:
    """Keras 3: `.../vars/0`, 1, ... in their order; the layer's name is an attribute."""
    groups: dict[str, list[str]] = {}
    for path in arrays:
        parent, _, name = path.rpartition("/")
        if parent.endswith("/vars") and name.isdigit() and not parent.startswith("optimizer/"):
            groups.setdefault(parent, []).append(name)
    taken: set[str] = set()
    for parent, names in groups.items():
        place = parent.removesuffix("/vars")
        label = "".join(_hdf5.attribute(file[parent], "name"))
        # Random layers and nested models of one name: the path tells them apart.
        layer = label if label and label not in taken else place.removeprefix("layers/")
        taken.add(layer)
        found = tuple(
            _weight(name, f"{parent}/{name}", arrays[f"{parent}/{name}"])
            for name in sorted(names, key=int)
        )
        if "seed_generator" not in place:
            yield layer, found


def _weight(name: str, path: str, stored: _hdf5.Stored) -> Weight:
    return Weight(name, path, stored.shape, stored.dtype, stored.bytes)


def _unpack(path: Path, weights: Path) -> tuple[str, str]:
    """The configuration and Keras's version from a `.keras` archive; the weights to a file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
            limit = path.stat().st_size * _hdf5.MAX_EXPANSION + _hdf5.SPARE_BYTES
            config = _member(archive, members, "config.json", _config.MAX_CONFIG_BYTES)
            metadata = _config.parse(
                _member(archive, members, "metadata.json", _MAX_METADATA_BYTES)
            )
            with archive.open(members["model.weights.h5"]) as source, weights.open("wb") as target:
                while piece := source.read(_PIECE):
                    limit -= len(piece)
                    if limit < 0:
                        raise _bomb("model.weights.h5")
                    target.write(piece)
            return config.decode("utf-8"), str(metadata.get("keras_version", ""))[:40]
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, KeyError) as error:
        raise SourceUnreadableError(
            "the .keras archive cannot be read",
            got="a damaged archive, or none",
            expected="what model.save('model.keras') wrote",
            remedy="save the model again, or copy the file again",
        ) from error


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for item in archive.infolist():
        if item.filename not in _MEMBERS or item.filename in found or item.flag_bits & 1:
            assets = item.filename.startswith("assets/")
            raise SourceUnreadableError(
                "the .keras archive is refused",
                got="files of layers (assets)" if assets else "a file that Keras does not write",
                expected=", ".join(sorted(_MEMBERS)),
                remedy="save a model of layers that need no files of their own",
            )
        found[item.filename] = item
    if set(found) != _MEMBERS:
        raise KeyError("a member is missing")
    return found


def _member(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str, limit: int
) -> bytes:
    with archive.open(members[name]) as source:
        data = source.read(limit + 1)
    if len(data) > limit:
        raise _bomb(name)
    return data


def _bomb(name: str) -> SourceUnreadableError:
    return SourceUnreadableError(
        "the .keras archive is refused",
        got=f"{name} unpacks to more than it can hold",
        expected="sizes in proportion to the file's",
    )


def _count(shape: tuple[int, ...]) -> int:
    number = 1
    for axis in shape:
        number *= axis
    return number
