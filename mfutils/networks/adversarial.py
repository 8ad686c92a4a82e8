"""Domain-adversarial training of a graph network (Ganin and Lempitsky 2015).

An encoder D gives descriptors d = D(graph), a head predicts the label from d, and a classifier
tries to tell from d which domain, here which fidelity, a sample comes from. Head and classifier
minimise their own losses; the encoder minimises

    L = L_label - lambda L_domain,

so that it keeps what predicts labels and drops what betrays the domain. A gradient reversal does
this in one backward pass: the identity forwards, a factor of -lambda backwards. lambda grows with
the progress p of training, lambda_p = lambda (2 / (1 + exp(-10 p)) - 1).

With lambda = 0 the same code is plain mixing (one head), fidelity embedding (the encoder is told
the fidelity) or a network with one head per fidelity, so that a comparison changes one thing.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from mfutils.crystals.graph_data import GraphBatch, GraphDataset
from mfutils.errors import InputError
from mfutils.networks.base import GraphModel, seeded
from mfutils.networks.labels import Labels, TargetScaler
from mfutils.networks.training import DivergenceError

__all__ = ["Adaptation", "FusedModel", "adapt", "reversal_strength", "reverse_gradient"]


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.strength * gradient, None


def reverse_gradient(x: torch.Tensor, strength: float) -> torch.Tensor:
    """x itself; on the way back the gradient is multiplied by -strength."""
    return _Reversal.apply(x, strength)


def reversal_strength(progress: float, *, most: float = 1.0, steepness: float = 10.0) -> float:
    """lambda_p of the published schedule at `progress` from 0 to 1; `most` is its end."""
    return most * (2.0 / (1.0 + math.exp(-steepness * progress)) - 1.0)


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """How to train. The rate of Adam rises over the first tenth of the steps and falls to zero.

    adversary is the end of the schedule of lambda; 0 trains without a classifier, which otherwise
    learns classifier_rate times as fast as the rest, or it could not follow the encoder.
    scarce_share is the share of every batch that is drawn from the samples of the scarce
    fidelity; None draws all labels alike. The loss of labels is the mean absolute error, in
    standardised units.
    """

    steps: int = 150
    batch_size: int = 64
    learning_rate: float = 2e-3
    adversary: float = 0.0
    classifier_rate: float = 5.0
    scarce_share: float | None = 0.5
    seed: int = 0

    def __post_init__(self):
        for name, least in (("steps", 1), ("batch_size", 4)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise InputError(f"{name} is {value!r}; expected a whole number from {least}")
        for name in ("learning_rate", "classifier_rate"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value!r}; expected a number above 0")
        if not (math.isfinite(self.adversary) and self.adversary >= 0):
            raise InputError(f"adversary is {self.adversary!r}; expected a number from 0")
        if self.scarce_share is not None and not 0 < self.scarce_share < 1:
            raise InputError(
                f"scarce_share is {self.scarce_share!r}; expected a share between 0 and 1, or None"
            )

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        warm = max(1.0, 0.1 * self.steps)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / self.steps / 0.9))


class FusedModel(nn.Module):
    """A GraphModel of several fidelities with heads and a classifier of the domain on top.

    told: the encoder gets the fidelity of each sample; otherwise the first one for all, so that
    a crystal has one descriptor whatever its label. heads: one head per fidelity instead of one
    for all. Heads start as copies of the network's own.
    """

    def __init__(
        self, network: GraphModel, *, scaler: TargetScaler | None = None, told: bool = False,
        heads: bool = False, hidden: int = 64, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if len(network.fidelities) < 2:
            raise InputError(
                f"the network knows {len(network.fidelities)} fidelities; expected at least 2"
            )
        self.network, self.told = network, bool(told)
        self.scaler = TargetScaler() if scaler is None else scaler
        size, kinds = network.descriptor_size, len(network.fidelities)
        self.heads = nn.ModuleList(nn.Linear(size, 1) for _ in range(kinds if heads else 1))
        for head in self.heads:
            head.load_state_dict(network.output.state_dict())
        with seeded(seed):
            # Descriptors differ in scale by orders of magnitude: without the normalisation the
            # classifier stays at chance, and an adversary that sees nothing aligns nothing.
            self.classifier = nn.Sequential(
                nn.BatchNorm1d(size, affine=False),
                nn.Linear(size, hidden),
                nn.ReLU(),
                nn.Linear(hidden, kinds),
            )

    def describe(self, batch: GraphBatch, codes: torch.Tensor) -> torch.Tensor:
        """Descriptors (g, d) of a batch whose samples have the fidelity codes (g,)."""
        return self.network.descriptor(batch, codes if self.told else torch.zeros_like(codes))

    def read(self, descriptors: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Standardised predictions (g,) of descriptors by the heads of their fidelities."""
        columns = torch.cat([head(descriptors) for head in self.heads], dim=1)
        if len(self.heads) == 1:
            return columns[:, 0]
        return columns.gather(1, codes[:, None])[:, 0]

    @torch.no_grad()
    def _evaluate(self, graphs, index, fidelity, function, batch_size=256):
        index = np.asarray(index)
        if not len(index):
            raise InputError("no graphs to evaluate: the index is empty")
        codes = torch.from_numpy(self.network.codes(fidelity, len(index)))
        self.eval()
        parts = []
        for first in range(0, len(index), batch_size):
            part = slice(first, first + batch_size)
            batch = graphs.batch(index[part]).to_torch()
            parts.append(function(self.describe(batch, codes[part]), codes[part]).double().numpy())
        return np.concatenate(parts)

    def predict(
        self, graphs: GraphDataset, index: npt.ArrayLike, *, fidelity: npt.ArrayLike
    ) -> np.ndarray:
        """Predictions (n,) in the unit of the target of graphs `index`, at one or n fidelities."""
        return self.scaler.inverse(self._evaluate(graphs, index, fidelity, self.read))

    def descriptor(
        self, graphs: GraphDataset, index: npt.ArrayLike, *, fidelity: npt.ArrayLike
    ) -> np.ndarray:
        """Descriptors (n, d) float64 of graphs `index`, at one or n fidelities."""
        return self._evaluate(graphs, index, fidelity, lambda d, _codes: d)


class _Draws:
    """Endless random order of the numbers 0 to n - 1: each once before any twice."""

    def __init__(self, n, generator):
        self.n, self.generator, self.left = n, generator, np.empty(0, np.int64)

    def take(self, count):
        while len(self.left) < count:
            self.left = np.concatenate([self.left, self.generator.permutation(self.n)])
        taken, self.left = self.left[:count], self.left[count:]
        return taken


def adapt(
    model: FusedModel, graphs: GraphDataset, labels: Labels, *, scarce: str,
    unlabelled: np.ndarray | None = None, settings: Adaptation | None = None,
) -> dict[str, list[float]]:  # fmt: skip
    """Train a FusedModel in place on Labels `labels`, whose fidelities are the domains.

    scarce names the fidelity that fills settings.scarce_share of each batch. unlabelled (k,)
    graph numbers of the scarce domain enter the loss of the domain alone, as in the published
    setting, and stand in for labelled ones. Returns the history: lists label_loss, domain_loss
    and strength, one entry per step. Raises InputError for labels without fidelities, a missing
    domain, and divergence.
    """
    settings = settings or Adaptation()
    if labels.fidelity is None:
        raise InputError("the labels have no fidelities; expected one name per label")
    codes = model.network.codes(labels.fidelity, len(labels))
    scarce_code = int(model.network.codes(scarce, 1)[0])
    draws = _batches(codes, scarce_code, unlabelled, settings)
    z = torch.from_numpy(model.scaler.forward(labels.target)).float()
    optimizer = _optimizer(model, settings)
    history = {"label_loss": [], "domain_loss": [], "strength": []}
    model.train()
    for step, (rows, free) in enumerate(draws):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(step) * group["factor"]
        strength = reversal_strength(step / settings.steps, most=settings.adversary)
        extra = np.asarray(unlabelled)[free] if len(free) else np.empty(0, np.int64)
        code = torch.from_numpy(np.concatenate([codes[rows], np.full(len(extra), scarce_code)]))
        batch = graphs.batch(np.concatenate([labels.index[rows], extra])).to_torch()
        descriptors = model.describe(batch, code)
        prediction = model.read(descriptors[: len(rows)], code[: len(rows)])
        label_loss = functional.l1_loss(prediction, z[rows])
        loss, domain_loss = label_loss, torch.zeros(())
        if settings.adversary > 0:
            logits = model.classifier(reverse_gradient(descriptors, strength))
            domain_loss = functional.cross_entropy(logits, code)
            loss = label_loss + domain_loss
        if not math.isfinite(loss.item()):
            raise DivergenceError(
                f"loss became {loss.item()} in step {step}: lower the learning rate "
                f"({settings.learning_rate:g}) or the adversary ({settings.adversary:g})"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        for name, value in zip(history, (label_loss, domain_loss, strength), strict=True):
            history[name].append(float(torch.as_tensor(value).detach()))
    model.eval()
    return history


def _optimizer(model, settings):
    fast = list(model.classifier.parameters())
    slow = [*model.network.parameters(), *model.heads.parameters()]
    return torch.optim.Adam(
        [
            {"params": slow, "factor": 1.0},
            {"params": fast, "factor": settings.classifier_rate},
        ],
        lr=settings.learning_rate,
    )


def _batches(codes, scarce_code, unlabelled, settings):
    """The (rows of labels, numbers of unlabelled graphs) of every step."""
    generator = np.random.default_rng(settings.seed)
    if settings.scarce_share is None and unlabelled is None:
        draws = _Draws(len(codes), generator)
        size = min(settings.batch_size, len(codes))
        return [(draws.take(size), ()) for _ in range(settings.steps)]
    plenty = np.flatnonzero(codes != scarce_code)
    few = np.flatnonzero(codes == scarce_code)
    count = len(few) if unlabelled is None else len(unlabelled)
    if not len(plenty) or not count:
        raise InputError(
            f"{len(plenty)} samples of the plentiful and {count} of the scarce domain; expected "
            "some of both, or scarce_share=None"
        )
    many = round((1 - (settings.scarce_share or 0.5)) * settings.batch_size)
    first, second = _Draws(len(plenty), generator), _Draws(count, generator)
    out = []
    for _ in range(settings.steps):
        rows, other = plenty[first.take(many)], second.take(settings.batch_size - many)
        labelled = (rows, other) if unlabelled is not None else (np.append(rows, few[other]), ())
        out.append(labelled)
    return out
