"""One small job of every function that a sweep runs: function -> what makes its arguments.

Called in the process of the job, on a few hundred crystals; imports nothing of the library that the
job does not need itself, since its loaded modules are compared with its fingerprint.
"""

import numpy as np

NET = {"features": 8, "convolutions": 1, "hidden": 8}
ONE = {"epochs": 1}
WIDTHS = {"features": 8, "hidden": 8}
FUSION = {"dataset": "open", "fold": 0, "folds": 2, "seed": 0, "model": WIDTHS}
FUSED = FUSION | {"high": "exp", "lows": ["mp_pbe", "oqmd_pbe"], "low_labels": 40}
RECORDS = {"dataset": "open", "hidden": 0.5}
FORCES = {"element": "Si", "soap": {"cutoff": 4.0}}
ATOMS = {"seed": 0, "held": 2, "train_atoms": 4, "eval_atoms": 4}
MODULI = {"dataset": "open", "property": "bulk", "fold": 0, "folds": 4}


def made(*shape):
    return np.random.default_rng(0).normal(size=shape)


def of_process():
    drawn = {"descriptor_drawn": made(30, 2), "target_drawn": made(30)}
    return drawn | {"descriptor_test": made(5, 2)}


def of_member():
    return {
        "dataset": "open", "architecture": "cgcnn", "fidelity": "mp_pbe", "seed": 42,
        "samples": 40, "training": ONE, "model": NET,
    }  # fmt: skip


def of_multi_fidelity():
    return {
        "dataset": "open", "architecture": "cgcnn", "fidelities": ["mp_pbe", "exp"], "seed": 0,
        "protocol": "thesis", "samples": 40, "training": ONE, "model": NET,
    }  # fmt: skip


def of_train():
    return {
        "dataset": "open", "split": "random", "part": 0, "protocol": "sound", "seed": 0,
        "samples": 40, "training": ONE, "model": NET,
    }  # fmt: skip


def of_train_strategy():
    from mfutils.study.s04_2.job import draw_labels

    labels = draw_labels("open", 120, 0).true
    return {
        "dataset": "open", "size": 120, "seed": 0, "labels": labels, "strategy": "onion",
        "network": NET, "training": ONE | {"batch_size": 4},
    }  # fmt: skip


def of_train_weighted():
    from mfutils.study.s04_2.job import draw_labels

    labels = draw_labels("open", 120, 0).true
    return {
        "dataset": "open", "size": 120, "seed": 0, "labels": labels,
        "weights": np.ones((1, len(labels))), "network": NET, "training": ONE,
    }  # fmt: skip


def of_campaign():
    known = np.arange(40) < 20
    return {
        "x": made(40, 2), "gap": made(40, 2), "target": ~known,
        "owned": np.column_stack([known, known]), "cost": [1.0, 5.0], "rule": "high",
        "budgets": [], "seed": 0, "noise": [0.0, None],
    }  # fmt: skip


def fold():
    from mfutils.study.s05_1.measured import Fold

    return Fold("open", 0, limit=60, folds=3, calibration=0.3)


def of_network():
    return {
        "fold": fold(), "architecture": "cgcnn", "dropout": 0.2, "masks": 4, "training": ONE,
        "model": NET,
    }  # fmt: skip


def of_head():
    return {"method": "hurdle", "x": made(40, 2), "y": np.abs(made(40)) * (np.arange(40) % 4),
            "x_new": made(5, 2)}  # fmt: skip


def of_trees():
    return {"fold": fold(), "method": "extra trees", "count": 5}


def of_computed_models():
    from mfutils.study.s05_4 import records

    count = len(records.load("open", hidden=RECORDS["hidden"]).crystals)
    return RECORDS | {
        "cheap": "mp_pbe", "answer": "mp_pbe", "network": np.abs(made(count, 2)), "rounds": 2
    }  # fmt: skip


def computed():
    """A Deal, its Records, and made numbers (k, 3) by name as in Coordinates."""
    from mfutils.study.s05_4.records import Deal

    deal = Deal(**RECORDS, seed=0, folds=3)
    data = deal.records()
    n, m = len(data.rows), len(data.loose_gap)
    sizes = {"crystal": n, "formula": n, "loose": m, "polymorph": m}
    return deal, data, {name: np.abs(made(rows, 3)) for name, rows in sizes.items()}


def of_composition_model():
    deal, _, known = computed()
    return {"deal": deal, "formula": known["formula"], "loose": known["loose"], "trees": 3}


def of_fused():
    deal, data, known = computed()
    return {
        "deal": deal, "crystal": known["crystal"], "loose": known["loose"],
        "network": np.abs(made(len(data.crystals), 2)),
        "inner": np.abs(made(3, len(data.rows), 7)), "trees": 3, "rounds": 2,
    }  # fmt: skip


def of_loose_model():
    from mfutils.study.s05_4.models import Coordinates

    deal, _, known = computed()
    return {"deal": deal, "computed": Coordinates(**known), "inputs": "coordinates", "trees": 3}


def of_gap_pretrain():
    return {
        "dataset": "open", "fidelities": ["mp_pbe", "oqmd_pbe"], "seed": 0, "samples": 40,
        "training": ONE, "model": NET,
    }  # fmt: skip


def pretrained(count=3):
    """A network of two fidelities that learnt nothing and read `count` crystals."""
    from mfutils.networks.cgcnn import CGCNN
    from mfutils.networks.state import state_arrays
    from mfutils.study.s05_4.gap_networks import Pretrained

    model = CGCNN(seed=0, fidelities=("mp_pbe", "exp"), **NET)
    read = {"mp_pbe": np.zeros(count, np.float32)}
    config = dict(model.config)
    return Pretrained(state_arrays(model), config, (0.0, 1.0), read, np.arange(3), {})


def of_fine_tune():
    return {
        "dataset": "open", "network": pretrained(), "rows": np.arange(20), "gap": np.abs(made(20)),
        "predict": np.arange(20, 30), "seed": 0, "training": ONE,
    }  # fmt: skip


def of_out_of_fold():
    deal, data, _ = computed()
    return {"deal": deal, "network": pretrained(len(data.crystals)), "training": ONE}


def of_moved():
    return FUSION | {
        "fidelity": "exp", "labels": 16, "factor": 1.2, "adversaries": [1.0], "epochs": 1,
        "steps": 2,
    }  # fmt: skip


def of_transfer(**more):
    return {"dataset": "open", "seed": 0, "training": ONE, "model": NET} | more


def of_moduli_network():
    return MODULI | {"train_size": 30, "training": ONE, "model": WIDTHS, "gp": True}


def of_correct():
    return {
        "property": "bulk", "high": 10, "low": 20, "test": 10, "seed": 0, "known": True,
        "protocol": "maximum-likelihood", "methods": ["hf-only", "additive"], "draws": 0,
    }  # fmt: skip


def of_potential():
    return FORCES | ATOMS | {"sizes": [3], "inducing": [10], "kinds": [True]}


def of_force_network():
    return FORCES | ATOMS | {
        "method": "ensemble", "train": 4, "members": 2, "components": 8, "settings": {"epochs": 2}
    }  # fmt: skip


def of_active():
    return FORCES | {
        "seeds": [0], "pool": 8, "inducing": 10, "start": 2, "batch": 2, "rounds": 1, "members": 2,
        "train_atoms": 4,
    }  # fmt: skip


EXAMPLES = {
    "mfutils.study.s03_2.processes.exact_process": of_process,
    "mfutils.study.s03_2.processes.thesis_process": lambda: of_process() | {
        "trained": 24, "epochs": 2
    },
    "mfutils.study.s03_2.members.member": of_member,
    "mfutils.study.s03_2.members.multi_fidelity": of_multi_fidelity,
    "mfutils.study.s03_2b.runs.train": of_train,
    "mfutils.study.s04_1.likelihood_job.likelihood_draw": lambda: {
        "seed": 0, "kind": "mixed", "draws": 0
    },
    "mfutils.study.s04_1.thesis_job.thesis_draw": lambda: {"seed": 0, "kind": "mixed"},
    "mfutils.study.s04_2.job.train_strategy": of_train_strategy,
    "mfutils.study.s05_1.jobs.head": of_head,
    "mfutils.study.s05_1.jobs.network": of_network,
    "mfutils.study.s05_1.jobs.trees": of_trees,
    "mfutils.study.s05_2.feature_fusion.fuse_features": lambda: FUSED | {
        "method": "adversarial heads", "size": 8, "training": {"steps": 2}, "descriptors": 4
    },
    "mfutils.study.s05_2.stretched.align_stretched": of_moved,
    "mfutils.study.s05_2.feature_fusion.pretrain_low_encoder": lambda: FUSED | {"training": ONE},
    "mfutils.study.s05_3.campaign.run_campaign": of_campaign,
    "mfutils.study.s05_3.weighted_training.train_weighted": of_train_weighted,
    "mfutils.study.s05_4.crystal_model.fused": of_fused,
    "mfutils.study.s05_4.fine_tuning.fine_tune": of_fine_tune,
    "mfutils.study.s05_4.fine_tuning.out_of_fold": of_out_of_fold,
    "mfutils.study.s05_4.gap_networks.pretrain": of_gap_pretrain,
    "mfutils.study.s05_4.models.composition_model": of_composition_model,
    "mfutils.study.s05_4.models.computed_models": of_computed_models,
    "mfutils.study.s05_4.models.loose_model": of_loose_model,
    "mfutils.study.s07.transfer.fit_scarce_property": lambda: of_transfer(
        target="gap_exp", train=np.arange(30), test=np.arange(30, 40), mode="scratch"
    ),
    "mfutils.study.s07.transfer.pretrain_property_encoder": lambda: of_transfer(
        source="gap_exp", rows=np.arange(40)
    ),
    "mfutils.study.s08.potential_study.active": of_active,
    "mfutils.study.s08.potential_study.gaussian_process": of_potential,
    "mfutils.study.s08.network_study.network": of_force_network,
    "mfutils.study.s09.classical.classical_run": lambda: MODULI | {"name": "random forest"},
    "mfutils.study.s09.moduli_fidelity.correct": of_correct,
    "mfutils.study.s09.moduli_networks.network": of_moduli_network,
    "mfutils.study.s09.moduli_networks.survey": lambda: {"property": "bulk", "training": ONE},
}  # fmt: skip
