"""Open a store and count its annotations by category, in a fresh process."""

from common import options, python

IMPORTS = "import sys, time, json, granum, pyarrow, numpy"
COUNT = f"""{IMPORTS}
start = time.perf_counter()
counts = granum.open(sys.argv[1]).counts()
seconds = time.perf_counter() - start
print(json.dumps(dict(open_count_s=seconds, categories=len(counts), total=sum(counts.values()))))
"""


def main() -> None:
    """Run the benchmark."""
    run = options(__doc__, runs=11)
    store = run.store()
    commands = {"granum": python(COUNT, store), "imports only": python(IMPORTS)}
    run.run("open_count", commands, interval=0.005)


if __name__ == "__main__":
    main()
