"""The 92 one-hot atom features of CGCNN: nine properties of an element, cut into bins.

CGCNN knows an element by what chemists know about it (section 2.3.2): group, period,
electronegativity, covalent radius, valence electrons, first ionisation energy, electron affinity,
block and atomic volume, each as a one-hot vector of its bin; a property without a value is all
zeros. The bins below are those of the published model (Xie and Grossman, Phys. Rev. Lett. 120,
145301 (2018); its table atom_init.json, MIT licence), one character per element from H to Fm.
They differ from the printed table S2 in what its authors' data source gave: lanthanides and
actinides (except Lu) are group 0 of periods 6 and 7.
"""

import numpy as np

from mfutils.errors import InputError

__all__ = ["BIN_COUNTS", "N_FEATURES", "atom_features", "bins"]

_DIGITS = "0123456789abcdefghi"
# property -> number of bins, in the order of the 92 features
BIN_COUNTS = {
    "group": 19, "period": 7, "electronegativity": 10, "covalent_radius": 10,
    "valence_electrons": 12, "ionisation_energy": 10, "electron_affinity": 10, "block": 4,
    "atomic_volume": 10,
}  # fmt: skip
N_FEATURES = sum(BIN_COUNTS.values())
# one character per element, the bin in base 19, "-" where there is no value
_BINS = {
    "group":
        "1i12defghi12defghi123456789abcdefghi123456789abcdefghi"
        "12000000000000003456789abcdefghi12000000000000",
    "period":
        "001111111122222222333333333333333333444444444444444444"
        "5555555555555555555555555555555566666666666666",
    "electronegativity":
        "4-1345789-1233457-01223333343334457-012234445443344466"
        "011111-1-1-2222-122334445333344-01122322------",
    "covalent_radius":
        "004322211155443333765444443334444434876555444444555444"
        "9766666666666666655444444455555587766666666666",
    "valence_electrons":
        "0101234567012345670123456789ab234567012345678bab234567"
        "011111111111111123456789ab23456701111111111111",
    "ionisation_energy":
        "691445667813235567022333333334234456022233333434234455"
        "0122122222222222133334444523344501122222222222",
    "electron_affinity":
        "5-5046269-5-56579-544455-4566-56579-54455556656-466794"
        "545557--5-65--64444546677-55578-545-----------",
    "block":
        "000011111100111111002222222222111111002222222222111111"
        "0033333333333333222222222211111100333333333333",
    "atomic_volume":
        "463000444454234456864321111112333457975432222223445568"
        "975555-56555554643322222244555---855435-55----",
}  # fmt: skip


def bins(name: str) -> np.ndarray:
    """Bin of the property `name` for H to Fm, (100,) int64, -1 where there is no value."""
    if name not in _BINS:
        raise InputError(f"unknown property {name!r}; expected one of {', '.join(BIN_COUNTS)}")
    return np.array([_DIGITS.find(character) for character in _BINS[name]])


def atom_features() -> np.ndarray:
    """The table (100, 92) float32 of zeros and ones; row z - 1 is the element of number z."""
    table = np.zeros((len(_BINS["group"]), N_FEATURES), dtype=np.float32)
    first = 0
    for name, count in BIN_COUNTS.items():
        bin_of = bins(name)
        known = np.flatnonzero(bin_of >= 0)
        table[known, first + bin_of[known]] = 1.0
        first += count
    return table
