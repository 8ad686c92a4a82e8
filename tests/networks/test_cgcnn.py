"""CGCNN: equal to the plain dense layer and torch_geometric, blind to how a cell is drawn."""

import copy
import importlib.util

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
)  # fmt: skip
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Element

from mfutils import paths
from mfutils.crystals.graph_data import build_dataset
from mfutils.crystals.quotient import quotient
from mfutils.crystals.structure import from_arrays
from mfutils.errors import InputError
from mfutils.networks import atom_features as features
from mfutils.networks import cgcnn_kernel
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.cgcnn_convolution import Edges, gated_sum
from mfutils.networks.labels import TargetScaler
from mfutils.networks.trained_model import TrainedModel, load_model

CRYSTALS = [random_crystal(seed, kind) for seed in range(5) for kind in KINDS]
DATASET = build_dataset(CRYSTALS, cutoff=8.0, max_neighbors=12, progress=False)


def _reference():
    path = paths.ROOT / "benchmarks" / "reference_cgcnn.py"
    spec = importlib.util.spec_from_file_location("reference_cgcnn", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = _reference()


def _shuffled(model, seed=0):
    """The model with batch normalisations that are no identities."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model.convolutions:
            for norm in (layer.norm_gate, layer.norm_sum):
                norm.weight.uniform_(0.5, 1.5, generator=generator)
                norm.bias.normal_(0.0, 0.3, generator=generator)
                norm.running_mean.normal_(0.0, 0.5, generator=generator)
                norm.running_var.uniform_(0.5, 2.0, generator=generator)
    return model


def _run(model, batch, target, *, training):
    """Output, gradients and buffers of one forward and backward pass, in float64."""
    model.train(training)
    out = model(batch)
    ((out - target.to(out.dtype)) ** 2).mean().backward()
    gradients = {name: p.grad.double() for name, p in model.named_parameters()}
    return out.detach().double(), gradients


# --- the layer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("compiled", [True, False])
def test_equals_the_dense_layer_and_its_gradient(compiled, training):
    model = _shuffled(CGCNN(seed=1, compiled=compiled))
    batch = DATASET.batch(np.arange(len(DATASET))).to_torch()
    target = torch.randn(len(DATASET), generator=torch.Generator().manual_seed(2))
    dense = REFERENCE.DenseCGCNN(model).double()
    ours, gradients = _run(model, batch, target, training=training)
    theirs, expected = _run(dense, batch, target, training=training)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    names = {"embedding.weight": "embedding.weight", "hidden.0.weight": "hidden.weight"}
    for k in range(3):
        for mine, peer in (("weight", "dense.weight"), ("bias", "dense.bias")):
            names[f"convolutions.{k}.{mine}"] = f"layers.{k}.{peer}"
        for norm in ("norm_gate", "norm_sum"):
            for part in ("weight", "bias"):
                names[f"convolutions.{k}.{norm}.{part}"] = f"layers.{k}.{norm}.{part}"
    for mine, peer in names.items():
        if training and mine.endswith(("convolutions.0.bias", "1.bias", "2.bias")):
            continue  # the normalisation takes every constant out: zero up to rounding
        scale = float(expected[peer].abs().max())
        error = float((gradients[mine] - expected[peer]).abs().max())
        assert error <= 2e-4 * scale + 1e-7, (mine, error, scale)
    for mine, peer in zip(model.convolutions, dense.layers, strict=True):
        for part in ("running_mean", "running_var"):
            torch.testing.assert_close(
                getattr(mine.norm_gate, part).double(), getattr(peer.norm_gate, part),
                rtol=1e-5, atol=1e-5,
            )  # fmt: skip


def test_equals_torch_geometric_in_evaluation_mode():
    pytest.importorskip("torch_geometric")
    model = _shuffled(CGCNN(seed=3)).eval()
    batch = DATASET.batch(np.arange(12)).to_torch()
    with torch.no_grad():
        ours, theirs = model(batch), REFERENCE.PyGCGCNN(model).double().eval()(batch)
    torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("cutoff", [2.6, 8.0])
def test_compiled_equals_torch_where_atoms_have_different_numbers_of_neighbours(training, cutoff):
    dataset = build_dataset(CRYSTALS, cutoff=cutoff, max_neighbors=9, progress=False)
    assert (cutoff == 8.0) == (dataset.short_atoms == 0)
    batch = dataset.batch(np.arange(len(dataset))).to_torch()
    model = _shuffled(CGCNN(seed=1, features=24, convolutions=2, hidden=8, max_neighbors=9))
    double = copy.deepcopy(model).double()
    target = torch.zeros(len(dataset))
    ours, gradients = _run(model, batch, target, training=training)
    theirs, expected = _run(double, batch, target, training=training)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)
    for name in ("convolutions.0.weight", "convolutions.1.weight", "embedding.weight"):
        scale = float(expected[name].abs().max())
        torch.testing.assert_close(gradients[name], expected[name], rtol=0, atol=3e-4 * scale)


def test_gradient_equals_finite_differences():
    """The written-out derivative of the plain torch form, checked against the function itself."""
    batch = DATASET.batch(np.array([0, 6, 12])).to_torch()
    count, f = 9, 3
    edges = Edges(*batch.edge_index, batch.distances.double(), batch.n_atoms, 1.0, count)
    generator = torch.Generator().manual_seed(0)
    shapes = [(len(batch.numbers), 4 * f), (count, 2 * f), (2 * f,), (2 * f,)]
    inputs = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]

    def function(uv, w, weight, bias):
        norm = torch.nn.BatchNorm1d(2 * f, dtype=torch.float64)
        del norm.weight, norm.bias
        norm.weight, norm.bias = weight, bias
        return gated_sum(uv, w, norm, edges, compiled=False)

    leaves = [x.requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(function, leaves, eps=1e-6, atol=1e-6, fast_mode=True)
    # and the compiled pass against the same automatic derivative
    edges32 = Edges(*batch.edge_index, batch.distances, batch.n_atoms, 1.0, count)
    weights = torch.randn(len(batch.numbers), f, generator=generator, dtype=torch.float64)
    (function(*leaves) * weights).sum().backward()
    norm = torch.nn.BatchNorm1d(2 * f)
    uv, w = (x.detach().float().requires_grad_() for x in inputs[:2])
    with torch.no_grad():
        norm.weight.copy_(inputs[2])
        norm.bias.copy_(inputs[3])
    (gated_sum(uv, w, norm, edges32, compiled=True) * weights.float()).sum().backward()
    pairs = [(uv.grad, leaves[0]), (w.grad, leaves[1])]
    for mine, leaf in [*pairs, (norm.weight.grad, leaves[2]), (norm.bias.grad, leaves[3])]:
        torch.testing.assert_close(mine.double(), leaf.grad, rtol=1e-4, atol=1e-4)


@given(st.lists(st.floats(0.0, 12.0, width=32), min_size=1, max_size=50))
@settings(max_examples=50, deadline=None)
def test_windows_hold_every_gaussian_above_rounding(distances):
    d = np.array(distances, dtype=np.float32)
    low, gauss = np.empty(len(d), np.int32), np.empty((len(d), cgcnn_kernel.WINDOW), np.float32)
    cgcnn_kernel.windows(d, 0.2, 41, low, gauss)
    full = np.zeros((len(d), 41))
    for row, (first, values) in enumerate(zip(low, gauss, strict=True)):
        full[row, first : first + len(values)] = values
    x = d[:, None].astype(float) / 0.2
    np.testing.assert_allclose(full, np.exp(-((x - np.arange(41)) ** 2)), rtol=0, atol=4e-7)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_distinct_distances_are_those_of_numpy(values, parts):
    d = (np.array(values, dtype=np.float32) + 1) / 3
    cuts = np.linspace(0, len(d), parts + 1).astype(np.int64)
    kind, found = np.empty(len(d), np.int32), np.empty(len(d), np.float32)
    first = np.empty(parts + 1, np.int64)
    cgcnn_kernel.distinct(d, cuts, kind, first, found)
    assert np.array_equal(found[kind], d)
    for a in range(parts):
        here = d[cuts[a] : cuts[a + 1]]
        assert sorted(found[first[a] : first[a + 1]]) == np.unique(here).tolist()


def test_equal_atoms_kept_once_give_the_same_as_all_of_them():
    """The compiled passes on a graph and on its quotient, whose counts enter every sum."""
    crystals = [*symmetric_crystals().values(), supercell(CRYSTALS[0], (2, 1, 1))]
    dataset = build_dataset(crystals, cutoff=8.0, max_neighbors=12, progress=False)
    batch = dataset.batch(np.arange(len(dataset)))
    merged = quotient(batch, tolerance=1e-6)
    assert len(merged.lengths) < 0.5 * len(batch.distances)
    f, count = 8, 41
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(100, 4 * f, generator=generator)
    w = torch.randn(count, 2 * f, generator=generator)
    found = []
    for graph, distances, counts in (
        (batch, batch.distances, {}),
        (merged, merged.lengths, {"edge_count": torch.from_numpy(merged.edge_count),
                                  "atom_count": torch.from_numpy(merged.atom_count)}),
    ):  # fmt: skip
        tensors = (torch.from_numpy(a) for a in (*graph.edge_index, distances, graph.n_atoms))
        edges = Edges(*tensors, 0.2, count, **counts)
        norm = torch.nn.BatchNorm1d(2 * f)
        leaves = [x.clone().requires_grad_() for x in (table, w)]
        row = torch.from_numpy(graph.numbers) - 1
        out = gated_sum(leaves[0], leaves[1], norm, edges, row, compiled=True)
        times = counts.get("atom_count", torch.ones(len(row)))
        (times * (out**2).sum(dim=1)).sum().backward()
        sums = torch.zeros(len(dataset), f).index_add(
            0, torch.from_numpy(graph.graph_index), times[:, None] * out.detach()
        )
        found.append([sums, *(x.grad for x in leaves), norm.weight.grad, norm.running_var])
    for whole, small in zip(*found, strict=True):
        torch.testing.assert_close(small, whole, rtol=1e-4, atol=1e-4 * float(whole.abs().max()))


def test_a_batch_without_edges_is_named():
    lonely = from_arrays(np.eye(3) * 30, [[0, 0, 0]], [1])
    dataset = build_dataset([lonely, lonely], cutoff=8.0, max_neighbors=12, progress=False)
    for compiled in (True, False):
        model = CGCNN(compiled=compiled)
        with pytest.raises(InputError, match="no atom of this batch has a neighbour"):
            model(dataset.batch(np.arange(2)).to_torch())


def test_not_a_number_is_not_hidden():
    model = CGCNN(seed=0)
    batch = DATASET.batch(np.arange(4)).to_torch()
    with torch.no_grad():
        model.convolutions[1].weight[0, 0] = torch.nan
    for training in (True, False):
        assert model.train(training)(batch).isnan().all()


# --- the crystal ---------------------------------------------------------------------------------


def _predict(model, crystals, cutoff=8.0):
    dataset = build_dataset(crystals, cutoff=cutoff, max_neighbors=12, progress=False)
    with torch.no_grad():
        return (
            model.eval()
            .double()
            .descriptor(dataset.batch(np.arange(len(dataset))).to_torch())
            .numpy()
        )


@pytest.mark.parametrize("name", ["rock salt", "perovskite", "hcp", "simple cubic"])
def test_descriptor_does_not_depend_on_how_a_crystal_is_drawn(name):
    crystal, rng = symmetric_crystals()[name], np.random.default_rng(0)
    other = [random_crystal(1, "ordinary"), random_crystal(2, "skewed")]
    for one in [crystal, *other]:
        same = [
            translated(one, rng.random(3)),
            rotated(one, random_rotation(rng)),
            permuted(one, rng.permutation(len(one))),
            supercell(one, (2, 1, 1)),
            supercell(one, (1, 2, 2)),
        ]
        found = _predict(_shuffled(CGCNN(seed=2)), [one, *same])
        # distances are float32 in the graph, so agreement ends there
        np.testing.assert_allclose(found[1:], np.tile(found[0], (5, 1)), rtol=0, atol=2e-5)


def test_descriptor_is_what_the_output_layer_reads():
    model = CGCNN(seed=4, hidden=16).eval()
    batch = DATASET.batch(np.arange(5)).to_torch()
    with torch.no_grad():
        d = model.descriptor(batch)
        assert d.shape == (5, 16) == (5, model.descriptor_size)
        torch.testing.assert_close(model.output(d)[:, 0], model(batch))


def test_one_batch_equals_graphs_alone_in_evaluation_mode():
    model = _shuffled(CGCNN(seed=5)).eval()
    with torch.no_grad():
        together = model(DATASET.batch(np.arange(10)).to_torch())
        alone = [model(DATASET.batch(np.array([i])).to_torch()) for i in range(10)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)


def test_fidelities_enter_by_name_and_matter():
    model, plain = (CGCNN(seed=0, fidelities=("pbe", "hse"), compiled=c) for c in (True, False))
    batch = DATASET.batch(np.arange(6)).to_torch()
    codes = torch.from_numpy(model.codes("hse", 6))
    ours = model(batch, codes)
    ours.sum().backward()
    gradient = model.fidelity.weight.grad
    assert gradient[1].abs().max() > 0
    assert gradient[0].abs().max() == 0  # the other fidelity was not in the batch
    torch.testing.assert_close(ours, plain(batch, codes), rtol=0, atol=1e-4)
    mixed = model.codes(["pbe", "hse"] * 3, 6)
    assert mixed.tolist() == [0, 1] * 3
    with torch.no_grad():
        model.eval()
        low, high = (model(batch, torch.full((6,), code)) for code in (0, 1))
        both = model(batch, torch.from_numpy(mixed))
    assert (low - high).abs().min() > 1e-6
    torch.testing.assert_close(both, torch.where(torch.from_numpy(mixed == 0), low, high))


def test_the_form_is_settled_when_the_model_is_built(tmp_path):
    model = CGCNN(seed=1, compiled=False)
    with pytest.raises(AttributeError):
        model.compiled = True
    TrainedModel(model, TargetScaler()).save(tmp_path / "model.pt")
    assert load_model(tmp_path / "model.pt").model.compiled is False
    with pytest.raises(InputError, match=r"compiled is True and the model computes with torch\.f"):
        CGCNN(compiled=True).double()(DATASET.batch(np.arange(4)).to_torch())
    # files written before there was a choice have no such entry
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    del content["config"]["compiled"]
    torch.save(content, tmp_path / "model.pt")
    older = load_model(tmp_path / "model.pt").model
    assert older.compiled is None
    assert torch.equal(older.output.weight, model.output.weight)


def test_same_seed_same_weights():
    a, b, c = (CGCNN(seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["embedding.weight"], c["embedding.weight"])
    before = torch.random.get_rng_state()
    CGCNN(seed=5)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": 0}, "features is 0; expected at least 1"),
        ({"cutoff": 3.0, "step": 0.5}, "7 Gaussians from 0 to 3 Angstrom in steps of 0.5"),
        ({"fidelities": ("pbe", "pbe")}, "repeat; expected every name once"),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        CGCNN(**options)


@pytest.mark.parametrize(
    ("fidelities", "given", "message"),
    [
        ((), "pbe", "the model knows none"),
        (("pbe",), None, "no fidelity given; expected a name per graph of pbe"),
        (("pbe",), "exp", "unknown fidelity 'exp'; the model knows pbe"),
        (("pbe",), ["pbe"] * 3, "expected one name or 4 names"),
        (("pbe",), 0, "expected one name or 4 names"),
    ],
)
def test_fidelity_names_are_checked(fidelities, given, message):
    with pytest.raises(InputError, match=message):
        CGCNN(fidelities=fidelities).codes(given, 4)


def test_elements_beyond_the_table_are_named():
    crystal = from_arrays(np.eye(3) * 4, [[0, 0, 0]], [103])
    batch = build_dataset([crystal], cutoff=8.0, max_neighbors=12).batch(np.array([0]))
    with pytest.raises(InputError, match="no atom features for atomic number 103"):
        CGCNN()(batch.to_torch())


# --- the atom features ---------------------------------------------------------------------------


def test_features_are_one_hot_and_92():
    table = features.atom_features()
    assert table.shape == (100, 92)
    assert features.N_FEATURES == 92
    first = 0
    for name, count in features.BIN_COUNTS.items():
        part, found = table[:, first : first + count], features.bins(name)
        assert np.array_equal(part.sum(axis=1), found >= 0)
        assert found.max() < count
        first += count


def test_features_agree_with_the_periodic_table():
    """Against pymatgen: exact where bins are classes, monotonic where they are ranges."""
    elements = [Element.from_Z(z) for z in range(1, 101)]
    heavy = [z for z in range(1, 101) if 57 <= z <= 70 or 89 <= z <= 100]
    group = features.bins("group")
    assert [z for z in range(1, 101) if group[z - 1] == 0] == heavy
    assert all(group[z - 1] == elements[z - 1].group for z in range(1, 101) if z not in heavy)
    rows = [6 if 57 <= e.Z <= 71 else 7 if 89 <= e.Z <= 103 else e.row for e in elements]
    assert np.array_equal(features.bins("period") + 1, rows)
    named = np.array(["spdf"[b] for b in features.bins("block")])
    # He is drawn in the p block there; La, Ac and the like may stand in d or f
    odd = {e.Z for e, b in zip(elements, named, strict=True) if e.block != b}
    assert odd <= {2, 57, 71, 89, 90, 103}, odd
    energy = np.array([e.ionization_energy or np.nan for e in elements])
    edges = np.exp(np.linspace(1.3, 3.3, 11))
    expected = np.clip(np.digitize(energy, edges) - 1, 0, 9)
    known = np.isfinite(energy)
    assert (features.bins("ionisation_energy")[known] == expected[known]).mean() > 0.95
    with pytest.raises(InputError, match="unknown property 'mass'"):
        features.bins("mass")
