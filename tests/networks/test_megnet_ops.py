"""The compiled loops of MEGNet against their definition in plain torch, double precision."""

import math

import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev
from torch.nn import functional

from mfutils.networks import megnet_ops as ops
from mfutils.networks.megnet import gaussian_basis
from mfutils.networks.set2set import Set2Set


def both_ways(function, *tensors):
    """Values and gradients of `function` in single (compiled) and in double precision (plain)."""
    results = []
    for dtype in (torch.float32, torch.float64):
        inputs = [t.detach().clone().to(dtype).requires_grad_() for t in tensors]
        # what a function may overwrite must not be a leaf
        value = function(*(t * 1.0 for t in inputs))
        pattern = torch.linspace(0.5, 1.5, value.numel(), dtype=dtype).reshape(value.shape)
        (value * pattern).sum().backward()
        results.append([value.detach(), *(t.grad for t in inputs)])
    return results


def assert_same(function, *tensors, rtol=1e-5, atol=1e-5):
    single, double = both_ways(function, *tensors)
    for a, b in zip(single, double, strict=True):
        scale = float(b.abs().max()) if b.numel() else 0.0
        torch.testing.assert_close(a.double(), b, rtol=rtol, atol=atol * max(1.0, scale))


def random(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("rows", [0, 1, 7, 300])
def test_dense_layer(rows, scale):
    x, weight, bias = random(rows, 5), random(9, 5, seed=1, scale=scale), random(9, seed=2)
    assert_same(ops.dense_layer, x, weight, bias)


def test_softplus_over_its_whole_range():
    x = torch.cat([torch.linspace(-120, 120, 4001), torch.tensor([0.0, -0.0, 1e-30, 88.0, -88.0])])
    value = ops.dense_layer(x[:, None], torch.ones(1, 1), torch.zeros(1))[:, 0]
    exact = torch.where(x > 0, x.double(), 0.0) + torch.log1p(torch.exp(-x.double().abs()))
    torch.testing.assert_close(value.double(), exact - math.log(2), rtol=3e-7, atol=2e-7)
    bad = ops.dense_layer(torch.full((3, 1), math.nan), torch.ones(1, 1), torch.zeros(1))
    assert bad.isnan().all()


def test_edge_activation():
    centre = torch.tensor([0, 0, 0, 1, 3, 3])
    neighbor = torch.tensor([1, 2, 3, 0, 0, 3])

    def function(z, a, b):
        return ops.edge_activation(z, a, b, centre, neighbor)

    assert_same(function, random(6, 8), random(4, 8, seed=1), random(4, 8, seed=2))
    none = torch.zeros(0, dtype=torch.int64)
    empty = ops.edge_activation(random(0, 8), random(4, 8), random(4, 8), none, none)
    assert empty.shape == (0, 8)


def test_weighted_sum():
    index, weight = torch.tensor([0, 0, 2, 2, 2]), torch.tensor([0.5, 2.0, 1.0, 3.0, 0.25])

    def function(x):
        return ops.weighted_sum(x, weight.to(x.dtype), index, 4)

    x = random(5, 3)
    assert_same(function, x)
    value = function(x)
    torch.testing.assert_close(value[2], x[2] + 3 * x[3] + 0.25 * x[4])
    assert torch.equal(value[[1, 3]], torch.zeros(2, 3))


def test_attention():
    counts = [3, 0, 4, 1]
    pointer = torch.tensor([0, 3, 3, 7, 8])
    index = torch.repeat_interleave(torch.arange(4), torch.tensor(counts))
    weight = torch.tensor([1.0, 2.0, 1.0, 4.0, 1.0, 1.0, 0.5, 3.0])

    def function(x, q):
        return ops.attend(x, weight.to(x.dtype), pointer, index, q)

    assert_same(function, random(8, 6), random(4, 6, seed=1))
    assert_same(function, random(8, 6), random(4, 6, seed=1, scale=40.0), rtol=2e-5, atol=2e-5)
    # a weight of two is the same vector twice
    x, q = random(8, 6), random(4, 6, seed=1)
    twice = torch.cat([x[:3], x[1:2]])
    share = torch.softmax(twice @ q[0], 0)
    torch.testing.assert_close(function(x, q)[0], share @ twice)
    assert torch.equal(function(x, q)[1], torch.zeros(6))


@pytest.mark.parametrize(
    ("cutoff", "width", "count"),
    [(5.0, 0.4, 100), (5.0, 4.0, 100), (8.0, 0.4, 30), (3.0, 40.0, 80)],
)
def test_the_polynomials_are_the_gaussians(cutoff, width, count):
    distance = torch.linspace(0, cutoff, 501)
    basis = gaussian_basis(cutoff, width, count)
    assert basis.shape[1] % 8 == 0
    centers = torch.linspace(0, cutoff + 1, count, dtype=torch.float64)
    exact = torch.exp(-width * (distance[:, None].double() - centers) ** 2)
    polynomials = ops.expand(distance, cutoff, basis.shape[1])
    torch.testing.assert_close((polynomials @ basis.T).double(), exact, rtol=0, atol=3e-6)
    plain = ops.expand(distance.double(), cutoff, basis.shape[1])
    torch.testing.assert_close(plain @ basis.T.double(), exact, rtol=0, atol=2e-7)
    x = 2 * distance.double().numpy() / cutoff - 1
    np.testing.assert_allclose(plain, chebyshev.chebvander(x, basis.shape[1] - 1), atol=1e-9)


def test_the_study_needs_24_polynomials():
    assert gaussian_basis(5.0, 0.4, 100).shape == (100, 24)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_set2set_against_a_loop_over_torch_lstm(steps):
    counts = [4, 1, 6, 2]
    size, rows = 5, sum(counts)
    x = random(rows, size)
    weight = torch.tensor([1.0, 2.0, 3.0]).repeat(5)[:rows]
    pointer = torch.tensor([0, *np.cumsum(counts)])
    index = torch.repeat_interleave(torch.arange(4), torch.tensor(counts))
    torch.manual_seed(3)
    module = Set2Set(size, steps)
    lstm = torch.nn.LSTM(2 * size, size)
    lstm.load_state_dict(module.state_dict())
    result = module(x, weight, pointer, index)
    assert result.shape == (4, 2 * size)
    (result * random(4, 2 * size, seed=5)).sum().backward()
    for g in range(4):
        rows_of_g = x[index == g]
        repeated = rows_of_g.repeat_interleave(weight[index == g].long(), dim=0)
        state, answer = None, torch.zeros(1, 1, 2 * size)
        for _ in range(steps):
            question, state = lstm(answer, state)
            share = functional.softmax(repeated @ question[0, 0], dim=0)
            answer = torch.cat([question[0, 0], share @ repeated]).reshape(1, 1, -1)
        torch.testing.assert_close(result[g], answer[0, 0], rtol=1e-5, atol=1e-6)
        (answer[0, 0] * random(4, 2 * size, seed=5)[g]).sum().backward()
    for name, parameter in module.named_parameters():
        # the first question comes from zeros, so one step leaves the matrices out
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        expected = dict(lstm.named_parameters())[name].grad
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_set2set_of_an_empty_set_ends_in_zeros():
    module = Set2Set(4, 3)
    none = torch.zeros(0, dtype=torch.int64)
    result = module(torch.zeros(0, 4), torch.zeros(0), torch.tensor([0, 0]), none)
    assert result.shape == (1, 8)
    assert torch.equal(result[:, 4:], torch.zeros(1, 4))
    assert result[:, :4].abs().min() > 0
