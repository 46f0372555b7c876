"""Many models whose first layer sees the same records: that layer is one product for all of them.

The models of a round's coalitions are shares of a few directions (the model before, and each update). A linear or
convolutional first layer is affine in its parameters, and so its output is the same shares of its outputs along the
directions: one product ``[k, n + 1] @ [n + 1, records x width]`` for k models. Where blocks of models are alike but for
what a whole block has in common, as all coalitions in the order of their bits are, it is not even that: what the models
of a block differ in is computed once, and each block adds its own part. What follows acts on each record by itself;
linear layers are one batched product with each model's own weights. The bias of a linear layer behind the first one
travels as a column that is one before the activation, so that no product is followed by a copy.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from fedjoint.models.many import ELEMENTWISE, Workspace, split

__all__ = ["SharedFirst"]

_CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
#: Act on each record by itself, have no parameters and draw nothing at random.
_SHAPES = (
    torch.nn.AdaptiveAvgPool1d,
    torch.nn.AdaptiveAvgPool2d,
    torch.nn.AvgPool1d,
    torch.nn.AvgPool2d,
    torch.nn.MaxPool1d,
    torch.nn.MaxPool2d,
)
#: Need records before features.
_SHAPED = (*_SHAPES, torch.nn.Flatten, torch.nn.Unflatten)


#: Weights of all models are made at once up to so many numbers.
_MOST_NUMBERS = 1 << 22


class SharedFirst:
    """Runs models given as shares of directions; make one with :meth:`of`.

    Args:
        layers: From the first one with parameters on, each with its parameters' prefix.
        along: The directions as parameters, each [n + 1, *shape].
        inputs: What the first of them is given, [records, ...].
        room: Memory for what is large.
    """

    def __init__(
        self,
        layers: list[tuple[str, torch.nn.Module]],
        along: dict[str, torch.Tensor],
        inputs: torch.Tensor,
        room: Workspace,
    ) -> None:
        (prefix, first), *self._rest = layers
        self._along, self._records = along, len(inputs)
        directions = len(next(iter(along.values())))
        # features before records where all that follows can take it: batched products are a third faster
        self._in_columns = (
            type(first) is torch.nn.Linear
            and inputs.ndim == 2
            and all(type(layer) not in _SHAPED for _, layer in self._rest)
        )
        if self._in_columns:
            table = along[f"{prefix}weight"] @ inputs.T  # [n + 1, width, records]
            if f"{prefix}bias" in along:
                table = table.add_(along[f"{prefix}bias"][:, :, None])
        else:
            own = ({name: along[f"{prefix}{name}"][place] for name in _names(first)} for place in range(directions))
            outputs = [torch.func.functional_call(first, parameters, (inputs,)) for parameters in own]
            table = torch.stack(outputs)  # [n + 1, records, ...]
        self._one = _passed_on(self._rest) if self._in_columns else 0.0
        if self._one:
            # the last direction is the model before, which every model has whole
            ones = table.new_zeros(directions, 1, self._records)
            ones[-1] = 1
            table = torch.cat([table, ones], dim=1)
        self._shape = table.shape[1:] if self._in_columns else table.shape[2:]
        self._table = table.reshape(directions, -1)
        if self._one:  # the next linear layer's bias is one more column of its weights
            prefix = next(prefix for prefix, layer in self._rest if type(layer) is torch.nn.Linear)
            weight, bias = along[f"{prefix}weight"], along.pop(f"{prefix}bias", None)
            column = weight.new_zeros(weight.shape[:2]) if bias is None else bias / self._one
            along[f"{prefix}weight"] = torch.cat([weight, column[:, :, None]], dim=2)
        self._room = room
        self._block, self._within, self._common = 0, self._table, self._table
        self._shares, self._weights = self._table.new_empty(0, 0), dict[str, torch.Tensor]()

    @classmethod
    def of(
        cls, module: torch.nn.Module, directions: torch.Tensor, inputs: torch.Tensor, room: Workspace
    ) -> SharedFirst | None:
        """The program of a module, or None if it is no such chain, or has as many directions as its first layer inputs.

        Args:
            module: Gives the computation.
            directions: [n + 1, D]; the last one is the model before.
            inputs: [records, inputs].
            room: Memory for what is large.
        """
        named = list(module.named_children()) if type(module) is torch.nn.Sequential else [("", module)]
        layers = [(f"{name}." if name else "", layer) for name, layer in named]
        while layers and _is_plain(layers[0][1]):
            inputs = layers.pop(0)[1](inputs)
        if not layers or not all(_is_plain(layer) or type(layer) is torch.nn.Linear for _, layer in layers[1:]):
            return None
        first = layers[0][1]
        if type(first) is not torch.nn.Linear and type(first) not in _CONVOLUTIONS:
            return None
        if len(directions) > math.prod(inputs.shape[1:]):  # the product would cost more than the layers themselves
            return None
        return cls(layers, split(module, directions), inputs, room)

    def prepare(self, shares: torch.Tensor, *, most: int) -> int:
        """Take the models that are going to be evaluated.

        The weights of their later layers are made at once where that takes little memory.

        Args:
            shares: [models, n + 1]; the last share of each is 1.
            most: So many of them may be asked for at once, at least 1.

        Returns:
            How many to ask for at once, always from a multiple of it on.
        """
        self._shares, self._weights = shares, {}
        found = _blocks(shares, most)
        self._block = found[0].shape[0] if found else 0
        if found:
            width = self._table.shape[1]
            self._within, self._common = (
                torch.mm(part, self._table, out=self._room(name, len(part), width))
                for name, part in zip(("within", "common"), found, strict=True)
            )
        for prefix, layer in self._rest:
            for name in _names(layer):
                along = self._along.get(f"{prefix}{name}")
                if along is not None and len(shares) * along[0].numel() <= _MOST_NUMBERS:
                    room = self._room(f"weights {prefix}{name}", len(shares), along[0].numel())
                    self._weights[f"{prefix}{name}"] = self._mixed(along, shares, room)
        return self._block or most

    def outputs(self, rows: slice) -> torch.Tensor:
        """Of these of the prepared models: [models, outputs, records]. What it gave before is gone."""
        shares = self._shares[rows]
        models = len(shares)
        hidden = self._room("hidden", models, self._table.shape[1])
        rest = self._rest
        if self._block:
            within, common = self._within, self._common[rows.start // self._block]
            if rest and type(rest[0][1]) is torch.nn.ReLU:
                torch._add_relu(within, common, out=hidden)  # one pass, not two; torch has no public name for it
                rest = rest[1:]
            else:
                torch.add(within, common, out=hidden)
        else:
            torch.mm(shares, self._table, out=hidden)
        hidden = hidden.view(models if self._in_columns else models * self._records, *self._shape)
        for prefix, layer in rest:
            if type(layer) is torch.nn.ReLU:
                hidden = hidden.relu_()
            elif type(layer) is torch.nn.Linear:
                hidden = self._linear(prefix, rows, hidden)
            else:
                hidden = layer(hidden)
        return hidden if self._in_columns else hidden.view(models, self._records, -1).transpose(1, 2).contiguous()

    def _linear(self, prefix: str, rows: slice, hidden: torch.Tensor) -> torch.Tensor:
        """A layer with each model's own weights."""
        weight = self._own(f"{prefix}weight", rows)
        bias = self._own(f"{prefix}bias", rows) if f"{prefix}bias" in self._along else None
        if self._in_columns:
            out = self._room(f"outputs {prefix}", *weight.shape[:2], self._records)
            # by numpy: its OpenBLAS takes the widest vectors of every processor, torch's MKL of one maker's only
            np.matmul(weight.numpy(), hidden.numpy(), out=out.numpy())
            return out if bias is None else out.add_(bias[:, :, None])
        flat, across = hidden.view(len(weight), self._records, -1), weight.transpose(1, 2)
        found = flat @ across if bias is None else torch.baddbmm(bias[:, None, :], flat, across)
        return found.view(-1, found.shape[2])

    def _own(self, name: str, rows: slice) -> torch.Tensor:
        if name in self._weights:
            return self._weights[name][rows]
        return self._mixed(self._along[name], self._shares[rows])

    @staticmethod
    def _mixed(along: torch.Tensor, shares: torch.Tensor, room: torch.Tensor | None = None) -> torch.Tensor:
        return torch.mm(shares, along.reshape(len(along), -1), out=room).view(len(shares), *along.shape[1:])


def _blocks(shares: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The parts of the shares of models that stand in equal blocks, each of a power of two and as long as allowed.

    Returns:
        What the models of every block differ in, [block, n], and what those of each block share, [blocks, n]; a model's
        shares are the sum. None if there are no blocks, or only such as are far shorter than allowed.
    """
    longest = 1 << (min(most, len(shares)) or 1).bit_length() - 1
    block = longest
    while block > max(1, longest // 4):
        if len(shares) % block == 0:
            grid = shares.view(-1, block, shares.shape[1])
            common = (grid == grid[:, :1]).flatten(0, 1).all(dim=0)
            if bool(((grid == grid[:1]).flatten(0, 1).all(dim=0) | common).all()):
                return grid[0] * ~common, grid[:, 0] * common
        block //= 2
    return None


def _names(layer: torch.nn.Module) -> list[str]:
    return [name for name, _ in layer.named_parameters()]


def _is_plain(layer: torch.nn.Module) -> bool:
    """Whether a layer has no parameters and acts on each record by itself."""
    if type(layer) is torch.nn.Flatten:
        return layer.start_dim == 1
    if type(layer) is torch.nn.Unflatten:
        return layer.dim == 1
    return type(layer) in ELEMENTWISE or type(layer) in _SHAPES


def _passed_on(rest: list[tuple[str, torch.nn.Module]]) -> float:
    """What becomes of a one on its way from the first layer to the next linear one; 0 if it does not get there."""
    value = torch.ones(1, dtype=torch.float64)
    for _, layer in rest:
        if type(layer) is torch.nn.Linear:
            return float(value) if abs(float(value)) > 0.1 else 0.0
        if type(layer) not in ELEMENTWISE:
            return 0.0
        value = layer(value)
    return 0.0
