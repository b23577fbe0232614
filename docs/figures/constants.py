"""The figure of docs/one-network-for-all.md about costs: what ``promptcert constants --plot`` draws."""

from pathlib import Path

from flint import fmpq

from verify.commands.constants_plot import write_plot


def main() -> None:
    write_plot(Path(__file__).parent / "constants.svg", 1, 1, fmpq(1), fmpq(2), fmpq(1, 100))


if __name__ == "__main__":
    main()
