"""The training runs of chapter 8, one call per model family, with plain values in and out.

`gaussian_process` fits sparse potentials of one element at several training sizes, with and without
forces; `network` a deep ensemble, a dropout network or a mean-field Bayesian network; `active` the
active-learning curves. All draw the same training configurations for the same seed and predict the
same evaluation set: the source's test configurations and some held-out training ones, which serve
to calibrate. Results are arrays, so `sweep.run` can store a run and find it again.
"""

import time

import numpy as np

from mfutils.datasets import mlearn
from mfutils.errors import InputError
from mfutils.forces import active_learning as active_learning
from mfutils.forces.potentials import snapshot
from mfutils.forces.soap import Soap
from mfutils.forces.sparse_potential import choose_inducing, fit_sparse, rows_of

__all__ = ["METHODS", "active", "draw", "evaluation", "gaussian_process", "network"]

METHODS = ("ensemble", "dropout", "variational")
_CANDIDATES = 3000  # environments among which the inducing ones are chosen


def draw(element, *, seed, train, held):
    """(training, evaluation) rows of the data set: `train` and then `held` random training
    configurations; the evaluation holds all test configurations before the held-out ones.
    """
    table = mlearn.load(element)
    known = table[table["split"] == "train"]
    if train < 1 or held < 0 or train + held > len(known):
        raise InputError(
            f"train {train} and held {held} of {element}; its training part has {len(known)} "
            "configurations"
        )
    order = np.random.default_rng([seed, 8]).permutation(len(known))
    test = table[table["split"] == "test"]
    parts = [known.iloc[order[:train]], known.iloc[order[train : train + held]]]
    return parts[0], [*test.itertuples(), *parts[1].itertuples()]


def _snapshots(soap, rows, atoms, seed):
    """Snapshots one after the other: their derivatives are large, so a caller keeps few."""
    generator = np.random.default_rng([seed, 88])
    return (snapshot(soap, row, force_atoms=atoms, generator=generator) for row in rows)


def _inducing(soap, structures, count, power, *, start=None, seed=0):
    """Up to `count` environments (m, d) of the structures, beyond those of `start`."""
    values = np.concatenate([soap.describe(s).values for s in structures])
    values = np.random.default_rng([seed, 888]).permutation(values)[:_CANDIDATES]
    return values[choose_inducing(values, count, power, start=start)]


def evaluation(rows, atoms, energy, forces):
    """What every model is compared with: a dict of arrays, by configuration and by force.

    rows of the data set; atoms and energy by row, forces a list of arrays (k, 3) by row.

    id, group and held (True for a held-out training configuration), atoms and energy (eV) by
    configuration; forces (f, 3) in eV/Angstrom and config (f,), the configuration of each.
    """
    return {
        "id": [row.id for row in rows],
        "group": [row.group for row in rows],
        "held": np.array([row.split == "train" for row in rows]),
        "atoms": np.array(atoms),
        "energy": np.array(energy),
        "forces": np.concatenate(forces),
        "config": np.repeat(np.arange(len(rows)), [len(f) for f in forces]),
    }


def gaussian_process(
    *, element, seed, sizes, inducing, held=30, train_atoms=24, eval_atoms=24, energy_noise=0.01,
    power=4, soap=None, kinds=(False, True),
):  # fmt: skip
    """Sparse potentials of one element trained on the first sizes[k] configurations of a draw.

    inducing[k] environments belong to size k, chosen from its own configurations; kinds says
    whether forces train. energy_noise is fixed (eV per square root of atoms; None fits it).
    Returns a dict: `evaluation`, and `models`, a list of dicts with size, with_forces,
    hyperparameters, bound, cpu_seconds, and the predictions energy_mean, energy_std, force_mean
    and force_cov, noise included.
    """
    soap = Soap(**(soap or {}))
    train, rows = draw(element, seed=seed, train=max(sizes), held=held)
    start = time.process_time()
    chosen, before, columns = np.zeros((0, soap.size)), 0, []
    for size, count in zip(sizes, inducing, strict=True):
        structures = train["structure"].iloc[before:size]
        more = _inducing(soap, structures, count - len(chosen), power, start=chosen, seed=seed)
        chosen, before = np.vstack([chosen, more]), size
        columns.append(len(chosen))
    snapshots = _snapshots(soap, train.itertuples(), train_atoms, seed)
    known = [rows_of(s, chosen, power) for s in snapshots]
    shared = (time.process_time() - start) / len(known)
    snapshots = _snapshots(soap, rows, eval_atoms, seed + 1)
    unknown = [rows_of(s, chosen, power) for s in snapshots]
    models = []
    for size, m in zip(sizes, columns, strict=True):
        for forces in kinds:
            start = time.process_time()
            noise = None if energy_noise is None else (energy_noise, None)
            fitted = fit_sparse(known[:size], chosen[:m], power=power, forces=forces, noise=noise)
            seconds = time.process_time() - start + size * shared
            found = [fitted.predict(u) for u in unknown]
            models.append(
                {
                    "size": size,
                    "with_forces": forces,
                    "inducing": m,
                    "hyperparameters": fitted.hyperparameters,
                    "bound": fitted.bound,
                    "cpu_seconds": seconds,
                    "energy_mean": np.array([p.energy for p in found]),
                    "energy_std": np.array([p.energy_std for p in found]),
                    "force_mean": np.concatenate([p.forces for p in found]),
                    "force_cov": np.concatenate([p.force_cov for p in found]),
                }
            )
    return {"element": element, "evaluation": _compared(rows, unknown), "models": models}


def _compared(rows, known):
    """`evaluation` from the Rows of a potential."""
    return evaluation(
        rows, [k.size for k in known], [k.energy for k in known], [k.forces for k in known]
    )


def network(
    *, element, seed, method, train=50, held=30, members=5, passes=32, train_atoms=8, eval_atoms=24,
    components=32, floor=0.2, settings=None, prior=1.0, soap=None,
):  # fmt: skip
    """One committee or Bayesian network of one element, trained like `gaussian_process`.

    method is one of METHODS. Returns a dict: evaluation; energy_mean, energy_std, force_mean,
    force_cov (noise included), force_cov_epistemic and energy_std_epistemic; force_samples
    (K, f, 3); history; kl (variational only); cpu_seconds of the training.
    """
    # torch is slow to import, and the Gaussian processes do without it
    import torch

    from mfutils.forces.bayesian_net import fit_variational
    from mfutils.forces.committees import NetworkSettings, fit_committee
    from mfutils.forces.force_network import Projection, network_data

    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown; expected one of {', '.join(METHODS)}")
    torch.set_num_threads(1)
    soap = Soap(**(soap or {}))
    chosen, rows = draw(element, seed=seed, train=train, held=held)
    values = np.concatenate([soap.describe(s).values for s in chosen["structure"]])
    projection = Projection.of(values, components, floor=floor)
    base = chosen["energy"].sum() / chosen["atoms"].sum()
    known = _snapshots(soap, chosen.itertuples(), train_atoms, seed)
    data = network_data(known, projection, energy_per_atom=base)
    forces = []

    def targets():
        for snap in _snapshots(soap, rows, eval_atoms, seed + 1):
            forces.append(snap.forces[snap.atoms])
            yield snap

    unseen = network_data(targets(), projection, energy_per_atom=base)
    truth = evaluation(rows, [r.atoms for r in rows], [r.energy for r in rows], forces)
    dropout = {"dropout": 0.1} if method == "dropout" else {}
    options = NetworkSettings(
        **{"learning_rate": 0.03, "epochs": 300, **dropout, **(settings or {})}
    )
    start = time.process_time()
    if method == "variational":
        fitted = fit_variational(
            data, settings=options, prior=prior, energy_per_atom=base, seed=seed
        )
    else:
        fitted = fit_committee(
            data, members=members, settings=options, energy_per_atom=base, seed=seed
        )
    seconds = time.process_time() - start
    drawn = fitted.predict(unseen, **({} if method == "ensemble" else {"passes": passes}))
    energy = drawn.energy_parts()
    mean, covariance = drawn.force_moments()
    return {
        "element": element,
        "method": method,
        "evaluation": truth,
        "energy_mean": energy.mean,
        "energy_std": energy.std,
        "energy_std_epistemic": np.sqrt(energy.epistemic),
        "force_mean": mean,
        "force_cov": covariance,
        "force_cov_epistemic": drawn.force_moments(noise=False)[1],
        "force_samples": drawn.forces.astype(np.float32),
        "history": fitted.history,
        "kl": fitted.kl() if method == "variational" else None,
        "cpu_seconds": seconds,
    }


def active(
    *, element, seeds, pool=120, inducing=200, start=5, batch=5, rounds=9, members=5,
    train_atoms=24, energy_noise=0.01, power=4, soap=None, seed=0,
):  # fmt: skip
    """Learning curves of both strategies for several seeds, on one pool and one test set.

    Hyperparameters come from `start` training configurations outside the pool. Returns a list of
    dicts strategy, seed, labels, energy_mae (eV/atom), force_mae (eV/Angstrom), groups: how many
    configurations of every kind were chosen in that round.
    """
    soap = Soap(**(soap or {}))
    table, rows = draw(element, seed=seed, train=pool, held=start)
    chosen = _inducing(soap, table["structure"], inducing, power, seed=seed)
    known, unknown = (
        [rows_of(s, chosen, power) for s in _snapshots(soap, part, train_atoms, seed + k)]
        for k, part in enumerate((table.itertuples(), rows))
    )
    fitted = fit_sparse(unknown[-start:], chosen, power=power, noise=(energy_noise, None))
    candidates = active_learning.Pool(known, fitted)
    test = active_learning.Pool(unknown[:-start], fitted)
    groups = np.array(table["group"])
    found = []
    for one in seeds:
        for strategy in active_learning.STRATEGIES:
            curve = active_learning.learning_curve(
                candidates, test, strategy=strategy, start=start, batch=batch, rounds=rounds,
                members=members, seed=one,
            )  # fmt: skip
            for point in curve:
                names, counts = np.unique(groups[point.pop("chosen")], return_counts=True)
                kinds = dict(zip(names.tolist(), counts.tolist(), strict=True))
                found.append({"strategy": strategy, "seed": one, **point, "groups": kinds})
    return found
