"""Set2set: one vector for a set of vectors, in any order (section 2.3.1).

An LSTM asks, the set answers, T times: q_t = LSTM(q*_{t-1}), a_i = softmax_i(x_i . q_t),
r_t = sum_i a_i x_i, q*_t = (q_t, r_t); the last q* is the result (Vinyals, Bengio and Kudlur,
arXiv:1511.06391). Here a batch of sets is asked at once, and every vector carries a weight: how
many equal vectors of the set it stands for.
"""

import math

import torch
from torch import nn

from mfutils.networks.megnet_ops import attend

__all__ = ["Set2Set"]


class Set2Set(nn.Module):
    """Set2set over vectors of length `size`, with `steps` questions, to vectors of 2 * size.

    The parameters are those of `torch.nn.LSTM(2 * size, size)`, under the same names. compiled
    is that of `megnet_ops`.
    """

    def __init__(self, size: int, steps: int, *, compiled: bool | None = None) -> None:
        super().__init__()
        self.size, self.steps, self.compiled = size, steps, compiled
        bound = 1 / math.sqrt(size)
        for name, shape in (
            ("weight_ih_l0", (4 * size, 2 * size)), ("weight_hh_l0", (4 * size, size)),
            ("bias_ih_l0", (4 * size,)), ("bias_hh_l0", (4 * size,)),
        ):  # fmt: skip
            self.register_parameter(name, nn.Parameter(torch.empty(shape).uniform_(-bound, bound)))

    def forward(
        self, x: torch.Tensor, weight: torch.Tensor, pointer: torch.Tensor, index: torch.Tensor
    ) -> torch.Tensor:
        """x (e, size), weight (e,), the segments as in `megnet_ops.attend`: (g, 2 size).

        An empty set answers with zeros: its result is (q_T, 0).
        """
        bias = self.bias_ih_l0 + self.bias_hh_l0
        # The hidden state of the LSTM is its last output, which q* repeats: one matrix for both.
        hidden, answer = self.weight_ih_l0.split(self.size, dim=1)
        kernel = torch.cat([hidden + self.weight_hh_l0, answer], dim=1).T
        gates = bias.expand(len(pointer) - 1, -1)  # the first question is asked from zeros
        cell = None
        for step in range(self.steps):
            if step:
                gates = torch.addmm(bias, torch.cat([q, r], dim=1), kernel)  # noqa: F821
            enter, forget, new, leave = gates.chunk(4, dim=1)
            fresh = torch.sigmoid(enter) * torch.tanh(new)
            cell = fresh if cell is None else torch.sigmoid(forget) * cell + fresh
            q = torch.sigmoid(leave) * torch.tanh(cell)
            r = attend(x, weight, pointer, index, q, compiled=self.compiled)
        return torch.cat([q, r], dim=1)
