"""Browse: a dataset in FiftyOne's App."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from granum.browse.fiftyone import to_fiftyone
from granum.errors import UnknownNameError
from granum.schema.losses import LossReport
from granum.verbs._inputs import Given, opened

__all__ = ["Browsing", "browse", "take_back"]


@dataclass(frozen=True, slots=True)
class Browsing:
    """A dataset that is open in FiftyOne.

    Attributes:
        dataset: the ``fiftyone.Dataset``; give it, or a view of it, to ``from_fiftyone``.
        report: what of the dataset is in it.
        session: the App's session, whose ``wait()`` blocks until its pages are closed and whose
            ``close()`` ends it; None where it was not launched.
        url: the address of the App.
    """

    dataset: Any
    report: LossReport
    session: Any
    url: str | None


def browse(
    source: Given,
    *,
    name: str | None = None,
    launch: bool = True,
    port: int = 5151,
    address: str | None = None,
    remote: bool = True,
    layers: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    polygons: str = "both",
    persistent: bool = False,
    overwrite: bool = False,
    embed_root: str | Path | None = None,
) -> Browsing:
    """Put a dataset into FiftyOne and open it in the App.

    Layers of mask trees are there, but the App opens with the saved view ``without trees``, where
    there are other layers: it loads all labels of a sample, and trees have hundreds.

    Args:
        source: a dataset, or the path of a store or of a source of any format.
        name: of the dataset in FiftyOne.
        launch: start the App; without it the dataset is only made.
        port: of the App's server.
        address: that the server listens on (default: this machine only).
        remote: only serve the App (the default); without it FiftyOne opens a page or a notebook
            cell itself.
        layers: which layers (default: all).
        columns: derived columns of samples to show (default: all that hold single values).
        polygons: ``masks``, ``polylines`` or ``both``.
        persistent: keep the dataset when FiftyOne's database stops.
        overwrite: replace a FiftyOne dataset of this name.
        embed_root: folder for files of embedded images.

    Raises:
        MissingExtraError: FiftyOne is not installed.
        GranumError: its database does not start, or what ``to_fiftyone`` raises.
    """
    made = to_fiftyone(
        opened(source),
        name,
        layers=layers,
        columns=columns,
        polygons=polygons,
        persistent=persistent,
        overwrite=overwrite,
        embed_root=embed_root,
    )
    if not launch:
        return Browsing(made.dataset, made.report, None, None)
    from granum.browse._fiftyone_package import database
    from granum.browse._fiftyone_schema import FLAT

    view = made.dataset.load_saved_view(FLAT) if made.dataset.has_saved_view(FLAT) else None
    session = database().launch_app(
        made.dataset,
        view=view,
        port=port,
        address=address or "127.0.0.1",
        remote=remote,
        auto=not remote,
    )
    url = f"http://{address or '127.0.0.1'}:{port}/datasets/{made.dataset.slug}"
    if view is not None:
        url += f"?view={FLAT.replace(' ', '-')}"
    return Browsing(made.dataset, made.report, session, url)


def take_back(source: Given, name: str | None, *, layer: str = "fiftyone") -> dict[str, Any]:
    """Take edits, tags and filtered views of a FiftyOne dataset back into its store.

    Args:
        source: the store that was exported, or its path.
        name: of the dataset in FiftyOne (made with ``persistent``).
        layer: prefix of the new layers.

    Returns:
        What came back: layers with their changes, views with their sizes, classes that the store
        does not know, and what was not taken.

    Raises:
        MissingExtraError: FiftyOne is not installed.
        UnknownNameError: FiftyOne has no such dataset.
    """
    from granum.browse._fiftyone_package import database
    from granum.browse.fiftyone import from_fiftyone

    package = database()
    known = package.list_datasets()
    if name not in known:
        raise UnknownNameError("FiftyOne dataset", str(name), known)
    back = from_fiftyone(package.load_dataset(name), opened(source), layer=layer)
    return {
        "layers": {k: str(v) for k, v in back.layers.items()},
        "views": dict(back.views),
        "unknown": dict(back.unknown),
        "notes": dict(back.notes),
    }
