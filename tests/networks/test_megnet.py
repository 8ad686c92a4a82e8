"""MEGNet: its equations by a direct loop, its invariances, its edges and its errors."""

import copy

import numpy as np
import pytest
import torch
from crystal_examples import (
    KINDS,
    permuted,
    random_crystal,
    random_rotation,
    rotated,
    supercell,
    symmetric_crystals,
    translated,
)

from mfutils.crystals.graph_data import build_dataset
from mfutils.crystals.quotient import QuotientBatch
from mfutils.crystals.structure import Crystal
from mfutils.errors import InputError
from mfutils.networks.architectures import build_model
from mfutils.networks.megnet import MEGNet
from mfutils.networks.training import Labels, Settings, fit, load_model

CRYSTALS = [*symmetric_crystals().values(), *(random_crystal(s, k) for s in (1, 2) for k in KINDS)]
LONELY = Crystal(np.eye(3) * 6.0, np.zeros((1, 3)), np.array([54]))
# a pair of atoms and one atom that has no neighbour within 5 Angstrom
PAIR = Crystal(np.diag([6.0, 6.0, 12.0]), np.array([[0, 0, 0], [0, 0, 0.2], [0, 0, 0.7]]),
               np.array([1, 17, 18]))  # fmt: skip


def data(*crystals, cutoff=5.0):
    return build_dataset(crystals, cutoff=cutoff, max_neighbors=None, progress=False)


def batch_of(*crystals):
    dataset = data(*crystals)
    return dataset.batch(np.arange(len(dataset))).to_torch()


def lively(seed=0, **options):
    """A model whose output varies from crystal to crystal, unlike that of fresh weights."""
    model = MEGNet(seed=seed, **options)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "embedding" not in name:
                parameter *= 2.5
    return model.eval()


def softplus2(x):
    return np.logaddexp(0, x) - np.log(2)


def by_loops(model, crystal):
    """Eqs 2.8 to 2.13 and set2set, atom by atom and edge by edge: (descriptor, output)."""
    state = {name: t.double().numpy() for name, t in model.state_dict().items()}
    graph = data(crystal).graph(0)

    def dense(name, x):
        layer = 0
        while f"{name}.{layer}.weight" in state:
            x = softplus2(state[f"{name}.{layer}.weight"] @ x + state[f"{name}.{layer}.bias"])
            layer += 1
        return x

    centers = np.linspace(0, 6, 100)
    v = [dense("node_encoder", state["embedding.weight"][z]) for z in graph.numbers]
    e = [dense("edge_encoder", np.exp(-0.4 * (d - centers) ** 2)) for d in graph.distances]
    u = dense("state_encoder", np.zeros(2))
    pairs = graph.edge_index.T
    for block in range(3):
        name = f"blocks.{block}."
        before = e, v, u
        e = [dense(name + "edge_dense", x) for x in e]
        v = [dense(name + "node_dense", x) for x in v]
        u = dense(name + "state_dense", u)
        e = [
            dense(name + "edge_update", np.concatenate([v[i], v[j], x, u]))
            for (i, j), x in zip(pairs, e, strict=True)
        ]
        means = [np.mean([x for (i, _), x in zip(pairs, e, strict=True) if i == a], axis=0)
                 for a in range(len(v))]  # fmt: skip
        v = [
            dense(name + "node_update", np.concatenate([x, mean, u]))
            for x, mean in zip(v, means, strict=True)
        ]
        u = dense(
            name + "state_update", np.concatenate([u, np.mean(e, axis=0), np.mean(v, axis=0)])
        )
        e, v, u = np.add(e, before[0]), np.add(v, before[1]), u + before[2]
    descriptor = np.concatenate([set2set(state, "node", v), set2set(state, "edge", e), u])
    x = descriptor
    for layer in range(2):
        x = softplus2(state[f"output.{layer}.weight"] @ x + state[f"output.{layer}.bias"])
    return descriptor, (state["output.2.weight"] @ x + state["output.2.bias"])[0]


def set2set(state, name, x):
    weights = {key: state[f"{name}_set2set.{key}_l0"] for key in
               ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}  # fmt: skip
    answer, hidden, cell = np.zeros(64), np.zeros(32), np.zeros(32)
    for _ in range(3):
        gates = weights["weight_ih"] @ answer + weights["bias_ih"]
        gates = gates + weights["weight_hh"] @ hidden + weights["bias_hh"]
        enter, forget, new, leave = np.split(gates, 4)
        cell = cell / (1 + np.exp(-forget)) + np.tanh(new) / (1 + np.exp(-enter))
        hidden = np.tanh(cell) / (1 + np.exp(-leave))
        share = np.exp(x @ hidden - (x @ hidden).max())
        answer = np.concatenate([hidden, share @ x / share.sum()])
    return answer


@pytest.mark.parametrize(
    "crystal",
    [symmetric_crystals()["perovskite"], random_crystal(2, "ordinary"), random_crystal(4, "tiny")],
)
def test_the_equations_term_by_term(crystal):
    model = lively()
    descriptor, output = by_loops(model, crystal)
    batch = batch_of(crystal)
    with torch.no_grad():
        np.testing.assert_allclose(model.descriptor(batch)[0], descriptor, rtol=1e-4, atol=1e-5)
        assert float(model(batch)[0]) == pytest.approx(output, rel=1e-4, abs=1e-5)


def test_shapes():
    model, batch = lively(), batch_of(*CRYSTALS)
    with torch.no_grad():
        output = model(batch)
        assert model.descriptor(batch).shape == (len(CRYSTALS), model.descriptor_size)
    assert model.descriptor_size == 160
    assert output.shape == (len(CRYSTALS),)
    assert 0.1 < output.std() < 10


def unmerged(batch):
    """The batch as a quotient in which every atom and edge stands for itself alone."""
    arrays = batch.numbers, batch.edge_index, batch.distances, batch.graph_index
    ones = torch.ones(len(batch.numbers)), torch.ones(len(batch.distances))
    return QuotientBatch(*arrays, batch.n_atoms, batch.n_edges, *ones)


def test_merging_equal_atoms_changes_nothing():
    """Outputs and every gradient, in double precision, with the compiled loops and without."""
    batch = batch_of(*CRYSTALS, LONELY, PAIR)
    results = {}
    for dtype in (torch.float32, torch.float64):
        for form, compiled, inputs in (
            ("merged", None, batch), ("unmerged", None, unmerged(batch)), ("plain", False, batch),
        ):  # fmt: skip
            model = lively(compiled=compiled).to(dtype)
            output = model(inputs)
            output.square().mean().backward()
            results[dtype, form] = [output.detach(), *(p.grad for p in model.parameters())]
    exact = results[torch.float64, "plain"]
    for (dtype, _), values in results.items():
        tolerance = 1e-5 if dtype == torch.float64 else 1e-4
        for a, b in zip(values, exact, strict=True):
            scale = max(float(b.abs().max()), 1e-3)
            assert float((a - b).abs().max()) < tolerance * scale


@pytest.mark.parametrize("compiled", [None, False])
@pytest.mark.parametrize("kind", ["ordinary", "skewed", "perovskite"])
def test_invariances(kind, compiled):
    rng = np.random.default_rng(1)
    crystal = symmetric_crystals()[kind] if kind == "perovskite" else random_crystal(6, kind)
    variants = [
        crystal,
        permuted(crystal, rng.permutation(len(crystal))),
        translated(crystal, rng.random(3)),
        rotated(crystal, random_rotation(rng)),
        supercell(crystal, (2, 1, 1)),
        supercell(crystal, (1, 2, 3)),
    ]
    model = lively(compiled=compiled)
    with torch.no_grad():
        found = model.descriptor(batch_of(*variants))
    assert float((found - found[0]).abs().max()) < 2e-5 * float(found[0].abs().max())
    other = Crystal(crystal.lattice * 1.01, crystal.frac_coords, crystal.numbers)
    with torch.no_grad():
        assert float((model.descriptor(batch_of(other)) - found[0]).abs().max()) > 1e-3


def test_companions_do_not_matter():
    model = lively()
    crystals = [*CRYSTALS[:5], LONELY, PAIR]
    with torch.no_grad():
        together = model(batch_of(*crystals))
        alone = torch.cat([model(batch_of(crystal)) for crystal in crystals])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("compiled", [None, False])
def test_atoms_and_crystals_without_neighbours(compiled):
    model = lively(compiled=compiled)
    descriptor = model.descriptor(batch_of(LONELY, PAIR))
    assert descriptor.isfinite().all()
    assert torch.equal(descriptor[0, 96:128], torch.zeros(32))  # the answer of the edges
    model.descriptor(batch_of(LONELY)).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients)
    # the element of an atom without neighbours still counts
    changed = Crystal(PAIR.lattice, PAIR.frac_coords, np.array([1, 17, 36]))
    with torch.no_grad():
        assert float((model(batch_of(changed)) - model(batch_of(PAIR))).abs()) > 1e-4


def test_one_atom_per_cell():
    copper, silver = (Crystal((np.ones((3, 3)) - np.eye(3)) * 1.8, np.zeros((1, 3)),
                              np.array([z])) for z in (29, 47))  # fmt: skip
    first, second = lively()(batch_of(copper, silver)).tolist()
    assert abs(first - second) > 1e-3


def test_seeds_decide_and_nothing_else():
    batch = batch_of(*CRYSTALS[:4])
    torch.manual_seed(1)
    first = MEGNet(seed=3)
    before = torch.rand(1)
    torch.manual_seed(2)
    again = MEGNet(seed=3)
    assert torch.equal(first(batch), again(batch))
    assert not torch.equal(first(batch), MEGNet(seed=4)(batch))
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), before)  # building a model leaves the generator alone
    first(batch).sum().backward()
    again(batch).sum().backward()
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert a.grad is None or torch.equal(a.grad, b.grad)


def test_a_learned_vector_per_fidelity():
    model = lively(fidelities=("pbe", "hse"), state_size=16)
    batch = batch_of(*CRYSTALS[:4])
    low, high = (model(batch, torch.from_numpy(model.codes(n, 4))) for n in ("pbe", "hse"))
    assert float((low - high).detach().abs().min()) > 1e-4
    mixed = model(batch, torch.from_numpy(model.codes(["pbe", "hse", "hse", "pbe"], 4)))
    torch.testing.assert_close(mixed, torch.stack([low[0], high[1], high[2], low[3]]))
    mixed.sum().backward()
    assert float(model.fidelity_embedding.weight.grad.abs().min(dim=1).values.min()) > 0
    with pytest.raises(InputError, match="knows the fidelities pbe, hse; give a code per graph"):
        model(batch)


def test_training_saving_and_loading(tmp_path):
    dataset = data(*CRYSTALS)
    target = np.log(dataset.n_edges / dataset.n_atoms)
    samples = Labels(np.arange(len(dataset)), target)
    settings = Settings(
        epochs=20, batch_size=6, optimizer="adam", learning_rate=1e-3, schedule="constant"
    )
    runs = [
        fit(MEGNet(seed=0), dataset, samples, samples, settings=settings, target="density",
            progress=False)
        for _ in range(2)
    ]  # fmt: skip
    errors = runs[0].history["validation_mae"]
    assert errors == runs[1].history["validation_mae"]
    assert min(errors) < 0.7 * errors[0]
    runs[0].save(tmp_path / "model.pt")
    loaded = load_model(tmp_path / "model.pt", architecture="megnet", cutoff=5.0)
    assert np.array_equal(loaded.predict(dataset), runs[0].predict(dataset))
    assert np.array_equal(loaded.descriptor(dataset), runs[0].descriptor(dataset))


def test_the_form_is_settled_when_the_model_is_built():
    model = MEGNet(compiled=True)
    with pytest.raises(AttributeError):
        model.compiled = False
    with pytest.raises(InputError, match=r"compiled is True and the model computes with torch\.f"):
        model.double()(batch_of(CRYSTALS[0]))


def test_a_model_can_be_copied_and_built_by_name():
    model = build_model("megnet", **MEGNet(seed=5, blocks=2).config)
    batch = batch_of(*CRYSTALS[:3])
    assert torch.equal(copy.deepcopy(model)(batch), MEGNet(seed=5, blocks=2)(batch))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_neighbors": 12}, "max_neighbors is 12; MEGNet reads all neighbours"),
        ({"cutoff": 0.0}, "cutoff is 0.0; expected a number above 0"),
        ({"cutoff": float("nan")}, "cutoff is nan"),
        ({"gauss_width": -0.4}, "gauss_width is -0.4"),
        ({"blocks": 0}, "blocks is 0; expected a whole number above 0"),
        ({"gaussians": 10.5}, "gaussians is 10.5"),
        ({"dense": (64, 48)}, r"dense \(64, 48\) and update \(64, 64, 32\) must end"),
        ({"fidelities": ("pbe", "pbe")}, "repeat"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(InputError, match=message):
        MEGNet(**options)


def test_graphs_of_another_kind_are_refused():
    wide = data(CRYSTALS[0], cutoff=8.0)
    with pytest.raises(InputError, match=r"graphs have cutoff 8\.0, the model was made for 5\.0"):
        MEGNet().check_dataset(wide)
    with pytest.raises(InputError, match="Angstrom long, the model reads graphs of cutoff 5;"):
        MEGNet()(wide.batch([0]).to_torch())
