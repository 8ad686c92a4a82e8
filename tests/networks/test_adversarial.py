"""The reversal against plain differentiation, and the loop on graphs whose domain is known."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from mfutils.crystals.graph_data import build_dataset
from mfutils.crystals.structure import from_arrays
from mfutils.errors import InputError
from mfutils.networks.adversarial import (
    Adaptation,
    FusedModel,
    adapt,
    reversal_strength,
    reverse_gradient,
)
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.labels import Labels, TargetScaler
from mfutils.uncertainty.probes import domain_auc

N = 80
NAMES = ("low", "high")


@pytest.fixture(scope="module")
def graphs():
    """N cubic cells of one atom: the edge length depends on the number and on the half."""
    rng = np.random.default_rng(0)
    crystals = [
        from_arrays(
            (2.6 + 1.2 * (i >= N // 2) + 0.1 * rng.random()) * np.eye(3), [[0, 0, 0]], [6 + i % 10]
        )
        for i in range(N)
    ]
    return build_dataset(crystals, cutoff=8.0, max_neighbors=12, progress=False)


@pytest.fixture
def model():
    network = CGCNN(features=8, hidden=8, convolutions=1, fidelities=NAMES, seed=1)
    return FusedModel(network, scaler=TargetScaler(5.0, 3.0), hidden=16)


@pytest.fixture
def labels():
    index = np.arange(N)
    return Labels(index, index % 10.0, np.where(index < N // 2, *NAMES))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reversal_is_the_gradient_of_the_negated_loss(dtype):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 5, generator=generator, dtype=dtype)
    domain = torch.randint(0, 3, (20,), generator=generator)
    first = nn.Linear(5, 4).to(dtype)
    second = nn.Sequential(nn.Tanh(), nn.Linear(4, 3)).to(dtype)
    head = nn.Linear(4, 1).to(dtype)

    def gradients(loss, of):
        return torch.autograd.grad(loss, list(of.parameters()), retain_graph=True)

    d = first(x)
    label = (head(d) ** 2).mean()
    loss = label + nn.functional.cross_entropy(second(reverse_gradient(d, 0.6)), domain)
    plain = nn.functional.cross_entropy(second(d), domain)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-13
    for ours, wanted in zip(
        gradients(loss, first), gradients(label - 0.6 * plain, first), strict=True
    ):
        torch.testing.assert_close(ours, wanted, atol=tolerance, rtol=tolerance)
    for ours, wanted in zip(gradients(loss, second), gradients(plain, second), strict=True):
        torch.testing.assert_close(ours, wanted, atol=tolerance, rtol=tolerance)


def test_schedule_is_the_published_one():
    assert reversal_strength(0.0) == 0.0
    assert reversal_strength(0.5, most=3.0) == pytest.approx(3 * (2 / (1 + np.exp(-5)) - 1))
    assert reversal_strength(1.0) == pytest.approx(1.0, abs=1e-4)


def test_loop_is_three_gradients_and_adam(graphs, model, labels):
    """Three steps on all samples, against the losses of encoder, head and classifier apart."""
    settings = Adaptation(
        steps=3, batch_size=N, learning_rate=1e-3, adversary=2.0, scarce_share=None
    )
    twin = copy.deepcopy(model)
    adapt(model, graphs, labels, scarce="high", settings=settings)
    parts = [twin.network, twin.heads, twin.classifier]
    optimizers = [torch.optim.Adam(part.parameters()) for part in parts]
    batch = graphs.batch(labels.index).to_torch()
    codes = torch.from_numpy(twin.network.codes(labels.fidelity, N))
    z = torch.from_numpy(twin.scaler.forward(labels.target)).float()
    twin.train()
    for step in range(3):
        d = twin.describe(batch, codes)
        label = (twin.read(d, codes) - z).abs().mean()
        domain = nn.functional.cross_entropy(twin.classifier(d), codes)
        strength = reversal_strength(step / 3, most=2.0)
        losses = [label - strength * domain, label, domain]
        for part, loss in zip(parts, losses, strict=True):
            given = [p for p in part.parameters() if p.requires_grad]
            found = torch.autograd.grad(loss, given, retain_graph=True, allow_unused=True)
            for parameter, gradient in zip(given, found, strict=True):
                parameter.grad = gradient
        for optimizer, factor in zip(optimizers, (1, 1, settings.classifier_rate), strict=True):
            optimizer.param_groups[0]["lr"] = factor * settings.rate(step)
            optimizer.step()
    wanted = dict(twin.named_parameters())
    # Batch normalisation takes this one out again: its gradient is rounding, of which Adam makes
    # full steps
    del wanted["network.convolutions.0.bias"]
    for name, value in wanted.items():
        ours = model.get_parameter(name)
        torch.testing.assert_close(ours, value, atol=1e-4, rtol=1e-4, msg=name)


def test_adversary_removes_the_domain_and_pays_with_the_label(graphs):
    """The label is 2 higher in one domain: a head that cannot see the domain must miss by 1."""
    index = np.arange(N)
    high = index >= N // 2
    labels = Labels(index, index % 10.0 + 2 * high, np.where(high, "high", "low"))

    def trace(strength):
        network = CGCNN(features=8, hidden=8, convolutions=1, fidelities=NAMES, seed=1)
        fused = FusedModel(network, scaler=TargetScaler(5.0, 3.0), hidden=16)
        settings = Adaptation(steps=300, batch_size=40, learning_rate=5e-3, adversary=strength)
        history = adapt(fused, graphs, labels, scarce="high", settings=settings)
        d = fused.descriptor(graphs, index, fidelity="low")
        return domain_auc(d, high, index), np.mean(history["label_loss"][-20:])

    plain, aligned = trace(0.0), trace(5.0)
    assert plain[0] > 0.98
    assert aligned[0] < 0.75
    assert plain[1] < 0.1 < aligned[1] < 1 / 3


def test_blind_encoder_has_one_descriptor_per_crystal_and_a_told_one_two(graphs, model):
    index = np.arange(5)
    both = [model.descriptor(graphs, index, fidelity=name) for name in NAMES]
    assert np.array_equal(*both)
    told = FusedModel(model.network, told=True)
    both = [told.descriptor(graphs, index, fidelity=name) for name in NAMES]
    assert not np.allclose(*both)


def test_heads_are_chosen_by_fidelity_and_start_equal(graphs, model):
    fused = FusedModel(model.network, heads=True)
    names = np.array(["low", "high", "high", "low"])
    start = fused.predict(graphs, np.arange(4), fidelity=names)
    assert np.allclose(
        start, FusedModel(model.network).predict(graphs, np.arange(4), fidelity="low")
    )
    with torch.no_grad():
        fused.heads[1].bias += 1.0
    moved = fused.predict(graphs, np.arange(4), fidelity=names)
    assert np.allclose(moved - start, [0, 1, 1, 0], atol=1e-5)


def test_unlabelled_crystals_enter_the_domain_loss_only(graphs, model, labels):
    low = labels.take(labels.fidelity == "low")
    free = np.arange(N // 2, N)
    history = adapt(
        model, graphs, low, scarce="high", unlabelled=free,
        settings=Adaptation(steps=3, batch_size=16, adversary=1.0),
    )  # fmt: skip
    assert len(history["domain_loss"]) == 3
    assert all(v > 0 for v in history["domain_loss"])
    with pytest.raises(InputError, match="0 of the scarce"):
        adapt(model, graphs, low, scarce="high", settings=Adaptation(steps=1))


def test_bad_input(graphs, model, labels):
    with pytest.raises(InputError, match="at least 2"):
        FusedModel(CGCNN(features=8, hidden=8, convolutions=1))
    with pytest.raises(InputError, match="no fidelities"):
        adapt(model, graphs, Labels(labels.index, labels.target), scarce="high")
    for wrong in ({"steps": 0}, {"adversary": -1.0}, {"scarce_share": 1.0}, {"learning_rate": 0.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Adaptation(**wrong)
