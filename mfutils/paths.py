"""One constant per folder of the compendium."""

from pathlib import Path

__all__ = [
    "BUILD",
    "CACHE",
    "DATA",
    "FIGURES",
    "NOTEBOOKS",
    "PROFILES",
    "PUBLISHED",
    "RAW",
    "ROOT",
]

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
PUBLISHED = DATA / "published"
RAW = DATA / "raw"
NOTEBOOKS = ROOT / "notebooks"
PROFILES = NOTEBOOKS / "profiles"
FIGURES = ROOT / "figures"
BUILD = ROOT / "build"
CACHE = BUILD / "cache"
