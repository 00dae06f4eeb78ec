"""Export a store to COCO: granum against Datumaro, where `--peers` has it."""

from pathlib import Path
from typing import Any

from common import Options, convert, options, remove

PEER = Path(__file__).with_name("peer_datumaro.py")
PUBLISHED = {
    "measured_here": False,
    "export_s": 195,
    "source": "published figure for a quiet machine of 2 cores; not measured here",
}


def version(peers: Path | None) -> str | None:
    """Return the version of Datumaro in a virtual environment."""
    found = list(peers.glob("lib/*/site-packages/datumaro-*.dist-info")) if peers else []
    return found[0].stem.partition("-")[2] if found else None


def peer(run: Options, out: Path) -> dict[str, list[str]]:
    """Return the command of Datumaro, if it is installed among the peers.

    Datumaro wants a folder with `annotations` and `images`, so it gets one, with a link.
    """
    if not run.peers or not version(run.peers):
        return {}
    root = run.data / "datumaro"
    link = root / "annotations" / "instances_train2017.json"
    for folder in (link.parent, root / "images"):
        folder.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(run.coco().resolve())
    return {"datumaro": [str(run.peers / "bin/python"), str(PEER), str(root), str(out)]}


def main() -> None:
    """Run the benchmark."""
    run = options(__doc__)
    out, folder = run.data / "out.json", run.data / "out_datumaro"
    others = peer(run, folder)
    notes: dict[str, Any] = {"datumaro": version(run.peers) if others else PUBLISHED}
    commands = {"granum": convert(run.store(), out, "--to", "coco"), **others}
    found = run.run(
        "export_coco",
        commands,
        before=lambda: remove(out, folder),
        notes=notes,
        at_most={"datumaro": 1},
    )
    if others and "granum" in found.runs:
        own, other = (found.spread(name) for name in ("granum", "datumaro"))
        ratio = other["export_s"]["median"] / own["wall_s"]["median"]
        print(f"datumaro's export without its import takes {ratio:.1f} times granum's whole run")


if __name__ == "__main__":
    main()
