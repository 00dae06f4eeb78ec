"""Networks of ``transformers``: from a configuration (random weights) or from a local folder.

Nothing is fetched: a checkpoint is a folder, weights are safetensors, and code that lies beside
them is not run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from granum.errors import FormatError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from granum.train._networks import Normalised

__all__ = ["Config", "folder", "imported", "load", "network", "normalisation", "read_config"]

Config = str | Mapping[str, Any] | None
"""A configuration of transformers with its ``model_type``: a dict, or the path of a JSON file."""


def network(
    task: str,
    config: Config,
    checkpoint: str | None,
    default: Mapping[str, Any],
    labels: Sequence[str],
) -> Normalised:
    """A network for a task, with an output per label, that takes images in [0, 1].

    Args:
        task: the auto class of transformers, ``AutoModelForObjectDetection``…
        config: random weights of this architecture.
        checkpoint: a folder that ``save_pretrained`` wrote. Where its classes differ in number,
            its last layer is drawn anew.
        default: the configuration where neither is given.
        labels: names of the classes, in the order of the outputs.

    Raises:
        UsageError: both ``config`` and ``checkpoint`` are given, or one that cannot be used.
        FormatError: a file that cannot be read.
        MissingExtraError: transformers is not installed.
    """
    if config is not None and checkpoint is not None:
        raise UsageError("give config (random weights) or checkpoint (its own), not both")
    imported("torch")
    transformers = imported("transformers")
    from granum.train._networks import Normalised

    auto = getattr(transformers, task)
    names = {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
    if checkpoint is None:
        built = _configured(transformers, auto, read_config(config, default), names)
        return Normalised(built)
    loaded = load(auto, folder(checkpoint), ignore_mismatched_sizes=True, **names)
    return Normalised(loaded, *normalisation(Path(checkpoint)))


def load(auto: Any, path: Path, **options: Any) -> Any:
    """What an auto class of transformers reads from a folder, and from nowhere else.

    Raises:
        FormatError: there are no safetensors, they are damaged, or of no network of this kind.
    """
    from safetensors import SafetensorError

    try:
        return auto.from_pretrained(
            path, local_files_only=True, use_safetensors=True, trust_remote_code=False, **options
        )
    except (OSError, RuntimeError, SafetensorError, ValueError) as error:
        raise FormatError(path, str(error).strip().splitlines()[0]) from error


def imported(package: str) -> Any:
    """``torch`` or ``transformers``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtraError("this training hook", "train", package) from error


def folder(path: str) -> Path:
    """The path of a local checkpoint.

    Raises:
        UsageError: it is no folder (names of a hub are not looked up).
    """
    if not Path(path).is_dir():
        raise UsageError(
            f"checkpoint {path!r} is not a folder. Weights are never downloaded: "
            "give the folder that save_pretrained wrote."
        )
    return Path(path)


def read_config(config: Config, default: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as a dict of its own."""
    if config is None:
        return dict(default)
    if isinstance(config, Mapping):
        return dict(config)
    try:
        values = json.loads(Path(config).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(config, f"no configuration of transformers: {error}") from error
    if not isinstance(values, dict):
        raise FormatError(config, "no configuration of transformers: the top is not an object")
    return values


def _configured(
    transformers: Any, auto: Any, values: dict[str, Any], names: Mapping[str, Any]
) -> Any:
    kind = values.pop("model_type", None)
    if kind not in transformers.CONFIG_MAPPING:
        raise UsageError(f"a configuration names a model_type of transformers, not {kind!r}")
    for name in ("id2label", "label2id", "num_labels"):
        values.pop(name, None)
    try:
        made = transformers.CONFIG_MAPPING[kind](**values, **names)
        return auto.from_config(made, trust_remote_code=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{kind} cannot be built: {str(error).splitlines()[0]}") from error


def normalisation(path: Path) -> tuple[Sequence[float], Sequence[float]] | tuple[()]:
    """Mean and deviation that the checkpoint was trained with, where it says them."""
    file = path / "preprocessor_config.json"
    if not file.exists():
        return ()
    facts = read_config(str(file), {})
    if facts.get("do_normalize") is False:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if "image_mean" in facts and "image_std" in facts:
        return facts["image_mean"], facts["image_std"]
    return ()
