"""Mixed atom features: the ordered limit, what a mixture and a vacancy are worth, bad input."""

import numpy as np
import pytest
import torch
from crystal_examples import KINDS, random_crystal

from mfutils.crystals.disordered import from_occupancies
from mfutils.crystals.graph_data import build_dataset
from mfutils.crystals.occupancy_graphs import OccupancyGraphs, build
from mfutils.errors import InputError
from mfutils.networks.atom_features import atom_features
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.labels import Labels
from mfutils.networks.megnet import MEGNet
from mfutils.networks.mixtures import mixture_features, with_mixtures
from mfutils.networks.training import Settings, fit

GRAPH = {"cutoff": 8.0, "max_neighbors": 12}
SMALL = {"features": 8, "convolutions": 2, "hidden": 8}
ORDERED = [random_crystal(seed, kind) for seed in range(2) for kind in KINDS]
PLACES = [[0, 0, 0], [0.5, 0.5, 0.5]]


def whole(crystal):
    shares = [{int(z): 1.0} for z in crystal.numbers]
    return from_occupancies(crystal.lattice, crystal.frac_coords, shares)


def mixed(*occupancies):
    return from_occupancies(4.0 * np.eye(3), PLACES, list(occupancies))


def shares(**amounts):
    table = np.zeros((1, 118))
    for symbol, share in amounts.items():
        table[0, {"Li": 3, "O": 8, "Cu": 29, "Ag": 47, "Md": 101}[symbol] - 1] = share
    return table


def answer(model, data, fidelity=None):
    """Predictions (g,) and the gradients of their sum, in training mode."""
    model.train()
    batch = data.batch(np.arange(len(data))).to_torch()
    codes = None if fidelity is None else torch.full((len(data),), fidelity)
    out = model(batch, codes)
    model.zero_grad()
    out.sum().backward()
    return out.detach(), [p.grad for p in model.parameters()]


@pytest.mark.parametrize("fidelities", [(), ("low", "high")])
@pytest.mark.parametrize("compiled", [True, False])
def test_occupancies_of_one_give_the_ordered_prediction_and_gradients(compiled, fidelities):
    ordered = build_dataset(ORDERED, **GRAPH, progress=False)
    shared = build([whole(crystal) for crystal in ORDERED], **GRAPH)
    plain = CGCNN(seed=0, fidelities=fidelities, compiled=compiled, **SMALL)
    model = with_mixtures(plain, shared)
    code = 1 if fidelities else None
    (one, gradients), (other, theirs) = (
        answer(model, shared.graphs, code), answer(plain, ordered, code),
    )  # fmt: skip
    assert torch.equal(one, other)
    assert all(torch.equal(a, b) for a, b in zip(gradients, theirs, strict=True))


def test_mixtures_elsewhere_in_the_data_change_no_ordered_prediction():
    ordered = build_dataset(ORDERED, ids=[f"o{i}" for i in range(len(ORDERED))], **GRAPH)
    both = build([mixed({29: 0.5, 47: 0.5}, {8: 0.3})], **GRAPH).after(ordered)
    plain = CGCNN(seed=0, fidelities=("low", "high"), **SMALL).eval()
    model = with_mixtures(plain, both)
    index, codes = np.arange(len(ORDERED)), torch.ones(len(ORDERED), dtype=torch.int64)
    one = model(both.graphs.batch(index).to_torch(), codes)
    assert torch.allclose(one, plain(ordered.batch(index).to_torch(), codes), atol=1e-6)
    assert len(plain.elements) == len(atom_features())  # the first model is as it was


def test_a_mixture_is_the_mean_of_its_elements_and_a_vacancy_nothing():
    table = atom_features()
    half = mixture_features(shares(Cu=0.5, Ag=0.5))
    assert half.dtype == np.float32
    assert half == pytest.approx(0.5 * (table[28:29] + table[46:47]))
    assert mixture_features(shares(Cu=0.5)) == pytest.approx(0.5 * table[28:29])
    assert mixture_features(shares(Ag=1.0)) == pytest.approx(table[46:47])
    # the first layer is linear: learned vectors mix as the shares do
    layer = CGCNN(seed=0, **SMALL).embedding
    whole_atoms = layer(torch.from_numpy(table[[28, 46]]))
    assert torch.allclose(layer(torch.from_numpy(half))[0], whole_atoms.mean(dim=0), atol=1e-6)


def test_equal_elements_on_a_site_in_parts_are_the_whole_atom():
    """Half a Cu and half a Cu is Cu; a site of nearly one atom is that atom."""
    twice = mixed({29: 0.5}, {35: 1.0})
    twice.occupancy[0, 28] += 0.5
    ordered = build_dataset([mixed({29: 1.0}, {35: 1.0}).as_ordered()], **GRAPH)
    assert np.array_equal(build([twice], **GRAPH).graphs.numbers, ordered.numbers)


def test_compiled_and_plain_passes_agree_on_mixtures():
    crystals = [
        mixed({29: 0.5, 47: 0.5}, {8: 0.3}),
        mixed({3: 0.2}, {3: 0.2}),
        mixed({3: 0.2}, {8: 1.0}),
    ]
    data = build(crystals, **GRAPH)
    one, other = (
        answer(with_mixtures(CGCNN(seed=0, compiled=compiled, **SMALL), data), data.graphs)
        for compiled in (True, False)
    )
    assert torch.allclose(one[0], other[0], atol=1e-5)
    for a, b in zip(one[1], other[1], strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_order_of_the_elements_is_irrelevant_and_shares_matter():
    data = build(
        [
            mixed({29: 0.25, 47: 0.75}, {8: 1.0}),
            mixed({47: 0.75, 29: 0.25}, {8: 1.0}),
            mixed({29: 0.75, 47: 0.25}, {8: 1.0}),
        ],
        **GRAPH,
    )
    model = with_mixtures(CGCNN(seed=0, **SMALL), data).eval()
    with torch.no_grad():
        first, turned, other = model(data.graphs.batch([0, 1, 2]).to_torch())
    assert first == turned != other


def test_ordered_and_disordered_crystals_train_together():
    ordered = build_dataset(ORDERED, ids=[f"o{i}" for i in range(len(ORDERED))], **GRAPH)
    both = build([mixed({29: x, 47: 1 - x}, {8: 1.0}) for x in (0.1, 0.4, 0.7)], **GRAPH)
    both = both.after(ordered)
    target = np.arange(len(both.graphs), dtype=float)
    model = with_mixtures(CGCNN(seed=0, **SMALL), both)
    trained = fit(
        model, both.graphs, Labels(np.arange(len(target)), target), None,
        settings=Settings(epochs=150, optimizer="adam", learning_rate=0.01), progress=False,
    )  # fmt: skip
    assert trained.history["train_loss"][-1] < 0.2 * trained.history["train_loss"][0]


def of_other_data():
    few = build([mixed({3: 0.5}, {8: 1.0})], **GRAPH)
    many = build([mixed({3: 0.5}, {8: 0.5})], **GRAPH)
    return OccupancyGraphs(many.graphs, few.mixtures)


def heavy():
    return build([mixed({101: 1.0}, {8: 1.0})], **GRAPH)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: mixture_features(np.zeros((1, 5))), r"shape \(1, 5\); expected \(m, 118\)"),
        (lambda: mixture_features(shares(Li=1.5)), "a share lies outside of 0 to 1"),
        (lambda: mixture_features(shares(Li=0.7, O=0.7)), "add up to more than 1"),
        (lambda: mixture_features(shares(Li=np.nan)), "a share lies outside"),
        (lambda: mixture_features(shares(Md=0.5)), "no atom features for atomic number 101"),
        (lambda: with_mixtures(CGCNN(**SMALL), heavy()), "no atom features for atomic number 101"),
        (lambda: with_mixtures(CGCNN(**SMALL), of_other_data()), "code 120 in the graphs, but 1"),
        (lambda: with_mixtures(CGCNN(cutoff=6.0), of_other_data()), "cutoff 8.0, the model was"),
        (lambda: with_mixtures(MEGNet(), of_other_data()), "a MEGNet has no table"),
    ],
)
def test_bad_input_is_one_line(call, says):
    with pytest.raises(InputError, match=says) as error:
        call()
    assert "\n" not in str(error.value)


def test_mixtures_are_given_once():
    data = build([mixed({3: 0.5}, {8: 1.0})], **GRAPH)
    model = with_mixtures(CGCNN(**SMALL), data)
    with pytest.raises(InputError, match="knows mixtures already"):
        with_mixtures(model, data)
