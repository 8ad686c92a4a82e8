"""Which runs the section compares, as jobs of `runs.train`: plain arguments by the variant's name.

The number of a split is also the seed of its network, so the spread over splits is one over test
crystals, training crystals and networks. Variants on the authors' folds and with disordered
crystals exist where the data have them.
"""

from collections.abc import Sequence

from mfutils.datasets import bandgap, icsd_gaps
from mfutils.study.s03_2b.measured_gaps import has_disordered

__all__ = [
    "ALONE", "FOLDS_PRINTED", "FOLDS_SOUND", "PRINTED", "SOUND", "WITH_DISORDERED", "jobs", "pairs",
    "weight_jobs",
]  # fmt: skip

PRINTED, SOUND = "as printed", "sound"
ALONE, WITH_DISORDERED = "measured gaps alone", "with disordered crystals"
FOLDS_PRINTED, FOLDS_SOUND = "authors' folds, as printed", "authors' folds, sound"
# What is compared, as a question and the two variants whose difference answers it
_PAIRS = {
    "the price of the sound protocol": (SOUND, PRINTED),
    "computed gaps, to measured ones": (PRINTED, ALONE),
    "disordered crystals, to ordered ones": (WITH_DISORDERED, PRINTED),
    "the price of the sound protocol, authors' folds": (FOLDS_SOUND, FOLDS_PRINTED),
}


def jobs(
    dataset: str, *, parts: Sequence[int], folds: Sequence[int], weight: float, samples: int,
    epochs: int, alone_epochs: int,
) -> dict[str, list[dict]]:  # fmt: skip
    """Jobs of every variant: parts number the random splits, folds the authors' folds.

    weight and samples are those of `runs.train`; alone_epochs train the network that sees measured
    gaps only, which has far fewer of them.
    """
    shared = {"dataset": dataset, "samples": samples, "weight": weight}
    shared["training"] = {"epochs": epochs}

    def over(numbers, split, protocol, **more):
        kind = {**shared, "split": split, "protocol": protocol, **more}
        return [{**kind, "part": number, "seed": number} for number in numbers]

    found = {PRINTED: over(parts, "random", "printed"), SOUND: over(parts, "random", "sound")}
    if has_disordered(dataset):
        found[WITH_DISORDERED] = over(parts, "random", "printed", disordered=True)
    alone = {"computed": [], "training": {"epochs": alone_epochs}}
    found[ALONE] = over(parts, "random", "printed", **alone)
    if bandgap.resolve(dataset) == "chen2021" and icsd_gaps.available() and folds:
        found[FOLDS_PRINTED] = over(folds, "folds", "printed")
        found[FOLDS_SOUND] = over(folds, "folds", "sound")
    return found


def weight_jobs(printed: dict, weights: Sequence[float]) -> list[dict]:
    """The job `printed` with each of the weights of a measured label."""
    return [{**printed, "weight": weight} for weight in weights]


def pairs(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Question -> the two variants that answer it, for the variants that are there."""
    return {question: both for question, both in _PAIRS.items() if set(both) <= set(names)}
