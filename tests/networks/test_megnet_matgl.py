"""MEGNet against matgl's model: equal outputs, descriptors and gradients from equal weights."""

import copy
import importlib.util
import json
import warnings

import numpy as np
import pytest
import torch
from crystal_examples import KINDS, random_crystal, symmetric_crystals
from pymatgen.core import Lattice, Structure

from mfutils import paths
from mfutils.crystals.graph_data import build_dataset
from mfutils.crystals.structure import SYMBOLS, Crystal
from mfutils.errors import InputError
from mfutils.networks.megnet import MEGNet
from mfutils.networks.megnet_matgl import ELEMENTS, MatglMEGNet, from_matgl
from mfutils.networks.training import Labels, Settings, fit, load_model

pytestmark = pytest.mark.slow  # importing matgl takes ten seconds

STUDY = {"cutoff": 5.0, "gauss_width": 0.4, "nblocks": 3, "niters_set2set": 3}


def known_to_both(crystal):
    """The crystal with polonium to radium, which matgl leaves out, replaced."""
    numbers = np.where((crystal.numbers >= 84) & (crystal.numbers <= 88), 50, crystal.numbers)
    return Crystal(crystal.lattice, crystal.frac_coords, numbers)


CRYSTALS = [
    known_to_both(c)
    for c in [
        *symmetric_crystals().values(),
        *(random_crystal(s, k) for s in (1, 2) for k in KINDS),
    ]
]
DATASET = build_dataset(CRYSTALS, cutoff=5.0, max_neighbors=None, progress=False)
BATCH = DATASET.batch(np.arange(len(DATASET))).to_torch()


@pytest.fixture(scope="module")
def matgl():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies, at import
        import matgl.config
        import matgl.ext.pymatgen
        import matgl.models
        import torch_geometric.data  # noqa: F401 - used as an attribute
    return matgl


def their_batch(matgl, crystals=CRYSTALS, dtype=torch.float32):
    import torch_geometric

    convert = matgl.ext.pymatgen.Structure2Graph(matgl.config.DEFAULT_ELEMENTS, cutoff=5.0)
    graphs = []
    for crystal in crystals:
        structure = Structure(Lattice(crystal.lattice), crystal.numbers, crystal.frac_coords)
        graph, lattice, _ = convert.get_graph(structure)
        graph.pbc_offshift = (graph.pbc_offset @ lattice[0]).to(dtype)
        graph.pos = (graph.frac_coords @ lattice[0]).to(dtype)
        graphs.append(graph)
    return torch_geometric.data.Batch.from_data_list(graphs)


def their_model(matgl, seed=0, lively=True, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = matgl.models.MEGNet(**STUDY | options)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # fresh weights give nearly the same output for every crystal
            if lively and parameter.ndim == 2 and "embedding" not in name:
                parameter *= 2.5
    return model


def assert_close(ours, theirs, tolerance):
    """Largest difference against the largest value."""
    scale = float(theirs.detach().abs().max())
    assert float((ours.detach() - theirs.detach()).abs().max()) <= tolerance * scale


def convert(model, **options):
    return from_matgl(
        model.state_dict(),
        gauss_width=STUDY["gauss_width"],
        set2set_steps=STUDY["niters_set2set"],
        **options,
    )


def test_graphs_are_the_same(matgl):
    theirs = their_batch(matgl)
    assert theirs.num_nodes == len(BATCH.numbers)
    assert [ELEMENTS[t] for t in theirs.node_type] == [matgl_symbol(z) for z in BATCH.numbers]
    assert tuple(matgl.config.DEFAULT_ELEMENTS) == ELEMENTS
    start, end = theirs.edge_index
    lengths = (theirs.pos[end] + theirs.pbc_offshift - theirs.pos[start]).norm(dim=1)

    def table(centre, neighbor, length):
        order = np.lexsort([np.round(length, 3), neighbor, centre])
        return np.stack([centre[order], neighbor[order]]), length[order]

    mine, my_lengths = table(*BATCH.edge_index.numpy(), BATCH.distances.numpy())
    other, other_lengths = table(start.numpy(), end.numpy(), lengths.numpy())
    assert np.array_equal(mine, other)
    # their positions are single precision; within a pair of atoms the order is free
    np.testing.assert_allclose(my_lengths, other_lengths, atol=2e-3)
    np.testing.assert_allclose(np.sort(my_lengths), np.sort(other_lengths), atol=3e-5)


def matgl_symbol(number):
    return Structure(Lattice.cubic(3), [int(number)], [[0, 0, 0]])[0].specie.symbol


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_outputs_descriptors_and_gradients(matgl, seed):
    theirs = their_model(matgl, seed)
    expected = theirs(their_batch(matgl), torch.zeros(len(CRYSTALS), 2))
    assert 0.1 < float(expected.detach().std()) < 10
    ours = convert(theirs)
    found = ours(BATCH)
    assert_close(found, expected, 1e-5)
    assert_close(ours.descriptor(BATCH), theirs.feature_dict["readout"], 1e-5)

    target = torch.linspace(-1, 2, len(CRYSTALS))
    (expected - target).square().mean().backward()
    (found - target).square().mean().backward()
    # their gradients go the way of their weights
    grads = convert_gradients(theirs)
    for name, parameter in ours.named_parameters():
        assert_close(parameter.grad, grads[name], 5e-5)


def convert_gradients(theirs):
    """Gradients of the matgl model under our names."""
    state = theirs.state_dict()
    state |= {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    model = from_matgl(state, gauss_width=0.4, set2set_steps=3)
    with torch.no_grad():
        model.embedding.weight[~model.known] = 0
    return dict(model.named_parameters())


def test_equal_in_double_precision(matgl):
    theirs = their_model(matgl)
    ours = convert(theirs).double()
    theirs.double()
    with torch.no_grad():
        batch = their_batch(matgl, dtype=torch.float64)
        expected = theirs(batch, torch.zeros(len(CRYSTALS), 2, dtype=torch.float64))
        assert_close(ours(BATCH), expected, 2e-6)
        assert_close(convert(theirs, compiled=False).double()(BATCH), expected, 2e-6)


def test_training_runs_side_by_side(matgl):
    theirs, batch = their_model(matgl, lively=False), their_batch(matgl)
    ours = convert(theirs)
    target = torch.linspace(-1, 2, len(CRYSTALS))
    losses = {}
    for name, model, inputs in (
        ("theirs", theirs, (batch, torch.zeros(len(CRYSTALS), 2))),
        ("ours", ours, (BATCH,)),
    ):
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        losses[name] = []
        for _ in range(10):
            optimizer.zero_grad()
            loss = (model(*inputs) - target).square().mean()
            loss.backward()
            optimizer.step()
            losses[name].append(loss.item())
    assert losses["ours"][-1] < losses["ours"][0]
    np.testing.assert_allclose(losses["ours"], losses["theirs"], rtol=2e-4)


def test_other_sizes_and_a_state_embedding(matgl):
    theirs = their_model(
        matgl, nblocks=2, dim_node_embedding=8, dim_edge_embedding=60, dim_state_embedding=5,
        ntypes_state=3, hidden_layer_sizes_input=(24, 16), hidden_layer_sizes_conv=(24, 16),
        hidden_layer_sizes_output=(12,), element_types=("Na", "Cl", "Ti", "Sr", "O"),
    )  # fmt: skip
    names = ("pbe", "hse", "scan")
    ours = convert(theirs, fidelities=names, elements=theirs.element_types)
    assert ours.cutoff == 5.0
    crystals = [symmetric_crystals()["rock salt"], symmetric_crystals()["perovskite"]] * 2
    batch = their_batch(matgl, crystals)
    index = {z: i for i, z in enumerate((11, 17, 22, 38, 8))}
    batch.node_type = torch.tensor([index[z] for c in crystals for z in c.numbers.tolist()])
    dataset = build_dataset(crystals, cutoff=5.0, max_neighbors=None, progress=False)
    codes = torch.from_numpy(ours.codes(["pbe", "scan", "hse", "pbe"], 4))
    with torch.no_grad():
        expected = theirs(batch, codes)
        assert_close(ours(dataset.batch(range(4)).to_torch(), codes), expected, 1e-5)
    copper = build_dataset([symmetric_crystals()["fcc"]], cutoff=5.0, max_neighbors=None)
    with pytest.raises(InputError, match="no weights for Cu; leave its crystals out"):
        ours(copper.batch([0]).to_torch(), codes[:1])


def test_a_crystal_without_neighbours_beside_others(matgl):
    lonely = Crystal(np.eye(3) * 6.0, np.zeros((1, 3)), np.array([54]))
    crystals = [lonely, symmetric_crystals()["fcc"]]
    dataset = build_dataset(crystals, cutoff=5.0, max_neighbors=None, progress=False)
    theirs = their_model(matgl)
    with torch.no_grad():
        expected = theirs(their_batch(matgl, crystals), torch.zeros(2, 2))
        ours = convert(theirs)
        assert_close(ours(dataset.batch([0, 1]).to_torch()), expected, 1e-5)
        # alone, matgl leaves out what the LSTM says; here companions do not matter
        torch.testing.assert_close(ours(dataset.batch([0]).to_torch())[0], expected[0])


@pytest.mark.parametrize("fidelities", [(), ("pbe", "hse")])
def test_behind_our_interface_with_our_weights(fidelities):
    """Outputs, descriptors and gradients by name of `MatglMEGNet`, and the way back."""
    crystals = [*symmetric_crystals().values(), random_crystal(1, "ordinary")]
    dataset = build_dataset(crystals, cutoff=5.0, max_neighbors=None, progress=False)
    batch = dataset.batch(np.arange(len(dataset))).to_torch()
    ours = MEGNet(seed=3, fidelities=fidelities, blocks=2)
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if parameter.ndim == 2 and "embedding" not in name:
                parameter *= 2.5
    theirs = MatglMEGNet.with_weights_of(ours)
    assert theirs.descriptor_size == ours.descriptor_size
    codes = ours.codes(list(fidelities[-1:]) or None, len(crystals))
    inputs = (batch,) if codes is None else (batch, torch.from_numpy(codes))
    assert_close(ours.descriptor(*inputs), theirs.descriptor(*inputs), 1e-5)
    outputs = [model(*inputs) for model in (ours, theirs)]
    assert 0.05 < float(outputs[1].detach().std()) < 10
    assert_close(*outputs, 1e-5)
    state = theirs.network.state_dict()
    back = from_matgl(
        state, gauss_width=0.4, set2set_steps=3, elements=SYMBOLS, fidelities=fidelities
    )
    for name, tensor in ours.state_dict().items():
        if name != "embedding.weight":
            assert torch.equal(back.state_dict()[name], tensor), name
    assert torch.equal(back.embedding.weight[1:], ours.embedding.weight[1:])
    double = MatglMEGNet.with_weights_of(ours.double())
    assert_close(ours(*inputs), double(*inputs), 2e-6)


def test_the_reference_trains_saves_and_predicts_like_ours(tmp_path):
    target = np.log(DATASET.n_edges / DATASET.n_atoms)
    samples = Labels(np.arange(len(DATASET)), target)
    settings = Settings(
        epochs=5, batch_size=6, optimizer="adam", learning_rate=1e-3, schedule="constant"
    )
    ours = MEGNet(seed=0)
    runs = [
        fit(model, DATASET, samples, samples, settings=settings, progress=False)
        for model in (MatglMEGNet.with_weights_of(ours), ours)
    ]
    theirs = runs[0]
    assert theirs.history["validation_mae"] == pytest.approx(
        runs[1].history["validation_mae"], rel=1e-3
    )
    theirs.save(tmp_path / "model.pt")
    loaded = load_model(tmp_path / "model.pt", architecture="megnet_matgl", cutoff=5.0)
    assert np.array_equal(loaded.predict(DATASET), theirs.predict(DATASET))
    assert loaded.descriptor(DATASET).shape == (len(DATASET), 160)
    copy.deepcopy(loaded.model)


def test_what_the_reference_refuses():
    with pytest.raises(InputError, match="matgl has no compiled passes"):
        MatglMEGNet(compiled=True)
    with pytest.raises(InputError, match="max_neighbors is 12"):
        MatglMEGNet(max_neighbors=12)
    ours = MEGNet()
    ours.known[29] = False
    with pytest.raises(InputError, match="weights for some elements only"):
        MatglMEGNet.with_weights_of(ours)
    with pytest.raises(InputError, match="knows the fidelities pbe; give a code per graph"):
        MatglMEGNet(fidelities=("pbe",))(BATCH)
    equal, other = MatglMEGNet(seed=4), MatglMEGNet(seed=5)
    assert torch.equal(equal(BATCH), MatglMEGNet(seed=4)(BATCH))
    assert not torch.equal(equal(BATCH), other(BATCH))


def test_what_is_no_state_dict_of_matgl(matgl):
    state = their_model(matgl).state_dict()
    options = {"gauss_width": 0.4, "set2set_steps": 3}
    with pytest.raises(InputError, match="not the state dict of a matgl MEGNet"):
        from_matgl(MEGNet().state_dict(), **options)
    with pytest.raises(InputError, match="no place for something"):
        from_matgl(state | {"something": torch.zeros(1)}, **options)
    with pytest.raises(InputError, match="2 fidelities for 0 entries"):
        from_matgl(state, fidelities=("pbe", "hse"), **options)
    with pytest.raises(InputError, match="2 elements for 89 rows"):
        from_matgl(state, elements=("H", "O"), **options)
    lacking = {name: t for name, t in state.items() if "node_s2s" not in name}
    with pytest.raises(InputError, match=r"has nothing for node_set2set\.bias_hh_l0"):
        from_matgl(lacking, **options)
    centers = state["bond_expansion.rbf.centers"] ** 2
    with pytest.raises(InputError, match="not evenly spaced"):
        from_matgl(state | {"bond_expansion.rbf.centers": centers}, **options)


def test_the_benchmark_compares_equal_models(matgl):
    script = paths.ROOT / "benchmarks" / "bench_megnet.py"
    spec = importlib.util.spec_from_file_location("bench_megnet", script)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    entries = bench.measure(count=8, rounds=1)
    assert [e["name"] for e in entries] == [
        "megnet_step_vs_matgl", "megnet_step_unmerged_vs_matgl", "graphs_vs_matgl",
    ]  # fmt: skip
    for entry in entries:
        assert set(entry) == {"name", "ours_s", "peer_s", "ratio", "peer", "equal_to"}
        assert entry["ratio"] == pytest.approx(entry["peer_s"] / entry["ours_s"])
        assert "on 8 crystals" in entry["equal_to"]
    assert json.loads(json.dumps(entries)) == entries
    ours, theirs = bench.equal_models()
    with torch.no_grad():
        ours.output[2].bias += 0.1
    peer_batch = their_batch(matgl)
    with pytest.raises(AssertionError, match="outputs differ"):
        bench.check_equal(ours, theirs, [BATCH], [peer_batch])
