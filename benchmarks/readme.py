"""Writes what was measured between two marks of README.md; the prose around stays."""

import re
from pathlib import Path

__all__ = ["fill"]

README = Path(__file__).resolve().with_name("README.md")


def fill(mark: str, text: str, readme: Path = README) -> None:
    """Replace what stands between <!-- mark --> and <!-- /mark -->."""
    old = readme.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    new, count = pattern.subn(lambda found: found[1] + text.strip("\n") + "\n" + found[2], old)
    if count != 1:
        raise SystemExit(f"error: {readme.name} has {count} places marked {mark}; expected one")
    readme.write_text(new, encoding="utf-8")
