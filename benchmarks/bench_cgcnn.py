"""CGCNN beside torch_geometric's CGConv and beside the published layer written plainly.

    python benchmarks/bench_cgcnn.py [--crystals N] [--rounds N]

`cgcnn_step_vs_cgconv`: one training step (forward, backward, optimiser) on a batch of 128
crystals. `cgcnn_epoch_vs_dense`: one epoch with its data loading; the peer looks up stored graphs
and collates them as the published code does. Both sides start from the same weights on the
embedded crystals, their outputs are compared first, and they take turns. Times are CPU times of
one thread, medians over rounds, so other work on the machine hardly counts.
"""

import argparse
import copy
import json

import numpy as np
import torch
from reference_cgcnn import DenseCGCNN, PyGCGCNN
from turns import entry, in_turns

from mfutils.crystals.graph_data import GraphBatch, build_dataset
from mfutils.datasets import bandgap
from mfutils.networks.cgcnn import CGCNN

BATCH = 128
TOLERANCE = 1e-5


def embedded_graphs(count):
    """Graphs of `count` crystals spread evenly over the embedded data set."""
    table = bandgap.load("open", columns=["structure"])
    rows = np.unique(np.linspace(0, len(table) - 1, count).astype(int))
    structures = table["structure"].iloc[rows]
    return build_dataset(structures, cutoff=8.0, max_neighbors=12, short="grow", progress=False)


def warmed_model(dataset, seed=0):
    """A CGCNN whose batch normalisations have seen data, so that none is the identity."""
    model = CGCNN(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model.convolutions:
            for norm in (layer.norm_gate, layer.norm_sum):
                norm.weight.uniform_(0.5, 1.5, generator=generator)
                norm.bias.normal_(0.0, 0.3, generator=generator)
        for _ in range(20):
            model(dataset.batch(np.arange(min(BATCH, len(dataset)))).to_torch())
    return model


def difference(ours, peer, batch, *, training):
    """Largest difference of outputs on one batch, the peer in double precision."""
    ours, peer = (copy.deepcopy(model).train(training) for model in (ours, peer))
    with torch.no_grad():
        a, b = ours(batch), peer.double()(batch)
    return float((a - b).abs().max())


def check(value, what):
    if not value <= TOLERANCE:
        raise SystemExit(f"error: {what} differ by {value:.3g}, more than {TOLERANCE:g}")
    return f"{value:.1g} on {what}, peer in float64"


def stepper(model):
    """step(batch, target): one training step of the study's optimiser."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step(batch, target):
        optimiser.zero_grad(set_to_none=True)
        torch.nn.functional.mse_loss(model(batch), target).backward()
        optimiser.step()

    return step


def collated(graphs, index):
    """A batch put together from single graphs, as a loader with a collate function does."""
    chosen = [graphs[i] for i in index]
    n_atoms = torch.tensor([len(numbers) for numbers, _, _ in chosen])
    first = torch.cumsum(n_atoms, 0) - n_atoms
    return GraphBatch(
        numbers=torch.cat([numbers for numbers, _, _ in chosen]),
        edge_index=torch.cat([e + f for (_, e, _), f in zip(chosen, first, strict=True)], dim=1),
        distances=torch.cat([distances for _, _, distances in chosen]),
        graph_index=torch.repeat_interleave(torch.arange(len(chosen)), n_atoms),
        n_atoms=n_atoms,
        n_edges=torch.tensor([len(distances) for _, _, distances in chosen]),
    )


def measure(*, crystals=1280, rounds=7):
    """Both entries of this file as a list."""
    torch.set_num_threads(1)
    dataset = embedded_graphs(crystals)
    model = warmed_model(dataset)
    dense, pyg = DenseCGCNN(model), PyGCGCNN(model)
    index = np.random.default_rng(0).permutation(len(dataset))
    batch = dataset.batch(index[:BATCH]).to_torch()
    target = torch.randn(len(dataset), generator=torch.Generator().manual_seed(0))
    same_pyg = check(difference(model, pyg, batch, training=False), "outputs in evaluation mode")
    same_dense = check(difference(model, dense, batch, training=True), "outputs in training mode")

    ours, theirs = stepper(copy.deepcopy(model)), stepper(pyg)
    step = in_turns(
        lambda: ours(batch, target[: len(batch.n_atoms)]),
        lambda: theirs(batch, target[: len(batch.n_atoms)]),
        rounds,
    )

    stored = []
    for i in range(len(dataset)):
        graph = dataset.graph(i)
        distances = torch.from_numpy(graph.distances).float()
        stored.append(
            (torch.from_numpy(graph.numbers), torch.from_numpy(graph.edge_index), distances)
        )
    parts = [index[first : first + BATCH] for first in range(0, len(index), BATCH)]
    ours, theirs = stepper(copy.deepcopy(model)), stepper(dense)

    def our_epoch():
        for part in parts:
            ours(dataset.batch(part).to_torch(), target[part])

    def their_epoch():
        for part in parts:
            theirs(collated(stored, part), target[part])

    epoch = in_turns(our_epoch, their_epoch, max(5, rounds // 2))
    return [
        entry("cgcnn_step_vs_cgconv", *step, "torch_geometric CGConv, batch 128", same_pyg),
        entry("cgcnn_epoch_vs_dense", *epoch, "published layer in plain torch", same_dense),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--crystals", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(json.dumps(measure(crystals=options.crystals, rounds=options.rounds), indent=1))


if __name__ == "__main__":
    main()
