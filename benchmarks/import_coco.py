"""Import a COCO instances file: granum against hotcoco and pycocotools; and orders of the file."""

from common import convert, options, python, remove


def main() -> None:
    """Run the benchmark."""
    run = options(__doc__)
    store = run.data / "x.granum"
    path, by_image, late = run.coco(), run.coco("sorted"), run.coco("annotations-first")
    load = "import sys; from {} import COCO; COCO(sys.argv[1])"
    commands = {
        "granum": convert(path, store),
        "hotcoco": python(load.format("hotcoco"), path),
        "pycocotools": python(load.format("pycocotools.coco"), path),
        "granum sorted": convert(by_image, store),
        "granum annotations-first": convert(late, store),
    }
    notes = {"input_mb": {p.stem: round(p.stat().st_size / 1e6, 1) for p in (path, by_image, late)}}
    run.run(
        "import_coco",
        commands,
        before=lambda: remove(store),
        notes=notes,
        at_most={"pycocotools": 3},
    )


if __name__ == "__main__":
    main()
