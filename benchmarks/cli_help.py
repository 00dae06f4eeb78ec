"""Start the command line: `granum --help`, against an interpreter that does nothing."""

from common import granum, options, python


def main() -> None:
    """Run the benchmark."""
    run = options(__doc__, runs=21)
    run.run("cli_help", {"granum": granum("--help"), "python": python("pass")}, interval=0.005)


if __name__ == "__main__":
    main()
