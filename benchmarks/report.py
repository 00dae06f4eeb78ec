"""Print what was measured as a table, and write it as JSON with a description of the machine."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from measure import Comparison

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    *("granum", "numpy", "pyarrow", "msgspec", "pillow", "polars", "pandas"),
    *("hotcoco", "pycocotools", "datasets"),
)


def machine() -> dict[str, Any]:
    """Describe the machine, and how busy it is."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    models = {line.partition(":")[2].strip() for line in cpus if line.startswith("model name")}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": ", ".join(sorted(models)),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def packages() -> dict[str, str]:
    """Return the versions of what is measured, as installed beside this interpreter."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def save(
    name: str, comparison: Comparison, folder: Path = RESULTS, notes: dict[str, Any] | None = None
) -> Path:
    """Write a comparison as `folder/name.json` and return the path.

    Args:
        name: Of the file and in it.
        comparison: What was measured.
        folder: Where the file goes.
        notes: More keys of the file.

    Returns:
        The path written.
    """
    result = {
        "name": name,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "python": platform.python_version(),
        "packages": packages(),
        "reference": comparison.reference,
        **(notes or {}),
        "commands": comparison.as_json(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    text = json.dumps(result, indent=1, ensure_ascii=False)
    text = text.replace(sys.prefix, "$VENV").replace(f"{Path.cwd()}/", "")
    path.write_text(text + "\n")
    return path


def table(comparison: Comparison) -> str:
    """Return a small table of medians, and below it what the commands reported themselves."""
    head = ("", "runs", "wall s", "min", "max", "cpu s", "private MB", "maxrss MB", "wall ratio")
    rows: list[tuple[str, ...]] = [head]
    reports = []
    for name, runs in comparison.runs.items():
        found = comparison.spread(name)
        median = {key: spread["median"] for key, spread in found.items()}
        wall = found["wall_s"]
        times = (wall["median"], wall["min"], wall["max"], median["cpu_s"])
        memory = (median["private_mb"], median["maxrss_mb"])
        ratio = f"{comparison.ratios(name)['wall_s']:.3f}"
        numbers = (*(f"{x:.3f}" for x in times), *(f"{x:.0f}" for x in memory))
        rows.append((name, str(len(runs)), *numbers, ratio))
        reports += [f"{name}: {key} {median[key]:.6g}" for key in runs[0].reported]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]))
    return "\n".join(lines + reports)
