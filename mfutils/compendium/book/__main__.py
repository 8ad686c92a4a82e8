"""Command line: ``python -m mfutils.compendium.book [--profile quick]``."""

import argparse
import sys

from mfutils.compendium.book.build import build
from mfutils.errors import InputError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mfutils.compendium.book")
    parser.add_argument("--profile", default="quick")
    try:
        build(parser.parse_args().profile)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
