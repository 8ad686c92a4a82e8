"""What the networks of one kind and their Gaussian processes say of one measured set (section 3.2).

An ensemble holds, for every fidelity that its networks were trained on, the predictions of m
networks for the n crystals of one measured set. A *prediction* is one of

- "network": what the network says, in eV;
- "z-score": its raw output, a number of standard deviations (section 3.2.2 standardises targets);
- "exact": the mean of the exact Gaussian process on its descriptors, with a std that it learned;
- "sparse": that of the study's sparse process, with the std of its untrained likelihood.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mfutils.errors import InputError
from mfutils.study.s03_2.members import Member
from mfutils.study.s03_2.processes import Process

__all__ = ["PREDICTIONS", "Ensemble", "gather"]

PREDICTIONS = ("network", "z-score", "exact", "sparse")
_PROCESSES = ("exact", "sparse")


@dataclass(frozen=True, eq=False)
class Ensemble:
    """m networks per fidelity on n crystals: y (n,) measured gaps in eV, group (n,) compositions.

    mean[prediction][fidelity] is (m, n); std likewise for the predictions of a Gaussian process,
    and noiseless without its noise.
    """

    label: str
    y: np.ndarray
    group: np.ndarray
    mean: dict[str, dict[str, np.ndarray]]
    std: dict[str, dict[str, np.ndarray]]
    noiseless: dict[str, dict[str, np.ndarray]]

    @property
    def fidelities(self) -> tuple[str, ...]:
        """Names in the order of the study's tables."""
        return tuple(self.mean["network"])

    @property
    def zero(self) -> np.ndarray:
        """Mask (n,) of the crystals whose measured gap is exactly 0."""
        return self.y == 0

    @property
    def members(self) -> int:
        """Number m of networks per fidelity."""
        return len(self.mean["network"][self.fidelities[0]])

    def error(self, prediction: str, fidelity: str, *, power: int = 1) -> np.ndarray:
        """Absolute errors (m, n) in eV, or squared ones for power 2."""
        return np.abs(self.mean[prediction][fidelity] - self.y) ** power

    def pool(
        self,
        prediction: str,
        fidelities: Iterable[str] | None = None,
        *,
        without: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means and stds (k, n) of all networks of the fidelities (default: all), in order.

        without: leave the network with this number out of every fidelity.
        """
        if prediction not in _PROCESSES:
            raise InputError(
                f"prediction is {prediction!r}; a std has one of {', '.join(_PROCESSES)}"
            )
        chosen = self.fidelities if fidelities is None else tuple(fidelities)
        kept = np.arange(self.members) != (-1 if without is None else without)
        mean, std = self.mean[prediction], self.std[prediction]
        return (
            np.concatenate([mean[name][kept] for name in chosen]),
            np.concatenate([std[name][kept] for name in chosen]),
        )


def gather(
    label: str,
    members: Mapping[str, Sequence[Member]],
    processes: Mapping[str, Mapping[str, Sequence[Process]]],
    *,
    measured: str,
    formula: np.ndarray,
    reading: str = "right",
) -> Ensemble:
    """The Ensemble of `members` (fidelity -> networks) on the measured set `measured`.

    processes: "exact" and "sparse" -> fidelity -> one Process per network, all fitted to the same
    reading ("right" or "as_published"); formula names the composition of every graph. Raises
    InputError when the networks were tested on other crystals than each other.
    """
    every = [m for of in members.values() for m in of]
    first = every[0]
    if measured not in first.measured:
        raise InputError(f"no measured set {measured!r}; tested are {', '.join(first.measured)}")
    if reading == "as_published" and any(m.as_published is None for m in every):
        raise InputError(f"{label} was not read as published; expected reading='right'")
    if not all(np.array_equal(m.test, first.test) for m in every):
        raise InputError(f"the networks of {label} were tested on different crystals; expected one")
    row = np.isfinite(first.measured[measured])
    said = {
        name: [m.right if reading == "right" else m.as_published for m in of]
        for name, of in members.items()
    }
    mean = {
        "network": {name: np.array([r.test[row] for r in of]) for name, of in said.items()},
        "z-score": {name: np.array([r.standardised[row] for r in of]) for name, of in said.items()},
    }
    std, noiseless = {}, {}
    for kind, by_fidelity in processes.items():
        fitted = by_fidelity.items()
        mean[kind] = {name: np.array([p.mean[row] for p in of]) for name, of in fitted}
        std[kind] = {name: np.array([p.std[row] for p in of]) for name, of in fitted}
        noiseless[kind] = {
            name: np.array([p.std_noiseless[row] for p in of]) for name, of in fitted
        }
    group = np.asarray(formula)[first.test[row]]
    return Ensemble(label, first.measured[measured][row], group, mean, std, noiseless)
