"""A fast reader for the P1 CIF of materials databases, with pymatgen as fallback and referee.

Database snapshots store every atom of the cell explicitly (space group P1, one operation, one
atom loop). Such a text needs no symmetry and no general grammar: six cell parameters, then rows
of numbers. Anything else in a CIF (symmetry operations, quoted labels, uncertainties in
brackets) goes to pymatgen. Lattice vectors follow pymatgen's orientation: c along z,
a in the xz plane.

Whoever reads it, a file is refused with one line when a site is only partly occupied, an element
is unknown, or the atoms do not add up to the formula that the file itself states (as after
truncation): no atom is dropped in silence.
"""

import math
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from mfutils.crystals import structure
from mfutils.errors import InputError

__all__ = ["read_cif", "read_many"]

_CELL = re.compile(
    r"^\s*_cell_length_a\s+(\S+)\s+_cell_length_b\s+(\S+)\s+_cell_length_c\s+(\S+)"
    r"\s+_cell_angle_alpha\s+(\S+)\s+_cell_angle_beta\s+(\S+)\s+_cell_angle_gamma\s+(\S+)\s",
    re.MULTILINE,
)
# One operation, the identity, and then straight the loop of the atoms.
_IDENTITY = re.compile(
    r"_(?:equiv_pos_as|symop_operation)_xyz\s+"
    r"(?:1\s+)?(['\"])\s*x\s*,\s*y\s*,\s*z\s*\1\s+loop_\s*$"
)
_FORMULA = re.compile(r"^\s*_chemical_formula_sum\s+(?:'([^'\n]*)'|\"([^\"\n]*)\"|(\S+))", re.M)
_UNITS = re.compile(r"^\s*_cell_formula_units_Z\s+(\d+)\s*$", re.M)
_PART = re.compile(r"([A-Z][a-z]?)(\d*\.?\d*)")
_SPECIES = re.compile(r"([A-Z][a-z]?)(?:\d*\.?\d*[+-])?$")
_NEEDED = ("fract_x", "fract_y", "fract_z")
_REMEDY = "expected a CIF with a cell and an atom loop; check or download the file again"


def read_cif(text: object, *, name: str = "CIF") -> structure.Crystal:
    """The checked Crystal of a CIF text with one structure; atoms in the order of the file.

    `name` (an id or a file) opens the message of the InputError that is raised for malformed
    text, partial occupancy, an unknown element, a cell without volume, atoms on top of each
    other, or atoms that contradict the stated formula. Files with symmetry come from pymatgen,
    which sorts atoms by electronegativity and rounds coordinates within 1e-4 of 1/3 and 2/3.
    """
    if not isinstance(text, str):
        raise InputError(f"{name}: CIF is a {type(text).__name__}; expected text")
    crystal = _read_p1(text, name)
    return _read_general(text, name) if crystal is None else crystal


def read_many(
    texts: Iterable, *, ids: Iterable
) -> tuple[list[tuple[int, structure.Crystal]], list[structure.Skip]]:
    """Crystals of many CIF texts: (crystals, skips), one Skip with its reason per unreadable row.

    texts and ids are iterables of the same length; crystals is a list of (row, Crystal).
    """
    crystals, skips = [], []
    for row, (text, name) in enumerate(zip(texts, ids, strict=True)):
        try:
            crystals.append((row, read_cif(text, name=str(name))))
        except InputError as error:
            skips.append(structure.Skip(row, str(name), str(error)))
    return crystals, skips


@lru_cache(maxsize=64)
def _columns(header):
    """(number of columns, symbol, x, y, z, occupancy or None) of an atom loop, or None."""
    names = header.split()
    if not all(n.startswith("_atom_site_") for n in names) or len(set(names)) != len(names):
        return None
    at = {n.removeprefix("_atom_site_"): i for i, n in enumerate(names)}
    if "type_symbol" not in at or any(n not in at for n in _NEEDED):
        return None
    return len(names), at["type_symbol"], *(at[n] for n in _NEEDED), at.get("occupancy")


def _read_p1(text, name):
    """The crystal of a text in exactly the layout of the databases, or None for any other."""
    start = text.find("_atom_site_")
    end = text.find("\n", text.rfind("_atom_site_"))
    if start < 0 or end < 0 or text.count("data_") != 1:
        return None
    head, columns, body = text[:start], _columns(text[start:end]), text[end:]
    cell = _CELL.search(head)
    if columns is None or cell is None or "_" in "".join(cell.groups()):
        return None
    # quotes, comments, text fields and further tags need the general grammar
    if not _IDENTITY.search(head.rstrip(" ")) or any(c in body for c in "_'\"#;"):
        return None
    width, symbol, x, y, z, occupancy = columns
    tokens = body.split()
    if not tokens or len(tokens) % width:
        return None
    try:
        lengths_and_angles = [float(value) for value in cell.groups()]
        frac = np.array([[float(v) for v in tokens[column::width]] for column in (x, y, z)])
        shares = [] if occupancy is None else [float(v) for v in tokens[occupancy::width]]
    except ValueError:
        return None
    numbers = _numbers(tokens[symbol::width], shares, name)
    _check_formula(numbers, text, name)
    lattice = _lattice(*lengths_and_angles, name)
    crystal = structure.Crystal(lattice, np.ascontiguousarray(frac.T), numbers)
    return structure.check(crystal, name=name)


def _numbers(symbols, shares, name):
    """Atomic numbers (n,) of the species texts, all of which must be occupied in full."""
    for row, share in enumerate(shares):
        if not abs(share - 1.0) < 1e-6:
            raise InputError(
                f"{name}: partial occupancy {share:g} of {symbols[row]} at site {row}; expected "
                "occupancy 1 at every site, so order the structure or leave it out"
            )
    numbers = np.empty(len(symbols), dtype=np.int64)
    for row, species in enumerate(symbols):
        number = structure.ATOMIC_NUMBERS.get(species)
        if number is None:
            charged = _SPECIES.match(species)
            number = structure.ATOMIC_NUMBERS.get(charged.group(1)) if charged else None
        if number is None:
            raise InputError(
                f"{name}: unknown element {species!r} at site {row}; expected a symbol from H to Og"
            )
        numbers[row] = number
    return numbers


def _check_formula(numbers, text, name):
    """Raises InputError when the atoms are not the stated formula, times the stated units."""
    stated = _FORMULA.search(text)
    if stated is None:
        return
    formula = next(part for part in stated.groups() if part is not None)
    wanted = Counter()
    for symbol, count in _PART.findall(formula):
        wanted[structure.ATOMIC_NUMBERS.get(symbol, 0)] += float(count) if count not in "." else 1.0
    given = Counter(numbers.tolist())
    if wanted == given or not wanted:
        return
    units = _UNITS.search(text)
    factor = float(units.group(1)) if units else sum(given.values()) / sum(wanted.values())
    if wanted.keys() == given.keys() and all(
        abs(wanted[z] * factor - given[z]) < 1e-3 * given[z] for z in given
    ):
        return
    atoms = " ".join(f"{structure.SYMBOLS[z - 1]}{n}" for z, n in sorted(given.items()))
    raise InputError(
        f"{name}: formula says {' '.join(formula.split())[:60]}, the atoms are {atoms[:60]}; "
        "expected the same, so the file may be cut short: download it again"
    )


def _lattice(a, b, c, alpha, beta, gamma, name):
    """Rows a, b, c in Angstrom from lengths and angles in degrees: c along z, a in the xz plane."""
    lengths = all(0 < length < math.inf for length in (a, b, c))
    if not lengths or not all(0 < angle < 180 for angle in (alpha, beta, gamma)):
        raise InputError(
            f"{name}: cell is {a:g} {b:g} {c:g} Angstrom, {alpha:g} {beta:g} {gamma:g} degrees; "
            "expected lengths above 0 and angles between 0 and 180"
        )
    cos_a, cos_b, cos_g = (math.cos(math.radians(angle)) for angle in (alpha, beta, gamma))
    sin_a, sin_b = math.sin(math.radians(alpha)), math.sin(math.radians(beta))
    cosine = (cos_a * cos_b - cos_g) / (sin_a * sin_b)
    if abs(cosine) > 1 + 1e-9:
        raise InputError(
            f"{name}: angles {alpha:g} {beta:g} {gamma:g} enclose no cell; expected each to be "
            "smaller than the sum of the others, and their sum below 360 degrees"
        )
    cosine = max(-1.0, min(1.0, cosine))
    sine = math.sqrt(1.0 - cosine * cosine)
    return np.array(
        [
            [a * sin_b, 0.0, a * cos_b],
            [-b * sin_a * cosine, b * sin_a * sine, b * cos_a],
            [0.0, 0.0, c],
        ]
    )


def _read_general(text, name):
    """The crystal of any CIF with one ordered structure, by pymatgen."""
    from pymatgen.io.cif import CifFile, CifParser

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters in them is checked here
            blocks = [block.data for block in CifFile.from_str(text).data.values()]
            blocks = [block for block in blocks if "_atom_site_fract_x" in block]
            if len(blocks) != 1:
                raise InputError(f"{name}: CIF holds {len(blocks)} structures; {_REMEDY}")
            species = blocks[0].get("_atom_site_type_symbol") or [
                re.sub(r"[^A-Za-z].*", "", label) for label in blocks[0]["_atom_site_label"]
            ]
            shares = blocks[0].get("_atom_site_occupancy", [])
            stated = ["1" if share in ".?" else share.split("(")[0] for share in shares]
            _numbers(species, [float(share) for share in stated], name)
            structures = CifParser.from_str(text).parse_structures(
                primitive=False, on_error="raise"
            )
    except InputError:
        raise
    except Exception as error:  # pymatgen and what it calls raise many kinds
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{name}: CIF cannot be read ({reason}); {_REMEDY}") from error
    crystal = structure.from_pymatgen(structures[0], name=name)
    _check_formula(crystal.numbers, text, name)
    return crystal
