"""One parameter's gradients for each record, from what a layer was given and the gradient of what it gave.

No gradient of a single record is stored where its norm, and the weighted sum of all, follow from the two factors alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch.nn import functional

__all__ = ["RULES", "RecordGradients", "Rule", "is_supported", "linear_gradients", "stored"]


#: Numbers of one layer's gradients, of all records at once.
_STORED_AT_MOST = 1 << 24


@dataclass(frozen=True, kw_only=True)
class RecordGradients:
    """The gradients of n records in one parameter of P numbers.

    Args:
        squared_norms: [n].
        weighted_sum: Weights [n] to the records' gradients times weights, summed, of P numbers in any shape.
        per_record: Gives the gradients themselves, [n, P].
    """

    squared_norms: torch.Tensor
    weighted_sum: Callable[[torch.Tensor], torch.Tensor]
    per_record: Callable[[], torch.Tensor]


#: (layer, its input [n, ...], the gradient of its output [n, ...]) to the gradients by the parameter's name.
Rule: TypeAlias = Callable[[Any, torch.Tensor, torch.Tensor], dict[str, Callable[[], RecordGradients]]]


def stored(gradients: torch.Tensor) -> RecordGradients:
    """Gradients [n, ...] that are at hand one by one."""
    flat = gradients.flatten(1)
    return RecordGradients(
        squared_norms=torch.linalg.vector_norm(flat, dim=1).square(),
        weighted_sum=lambda weights: weights @ flat,
        per_record=lambda: flat,
    )


def _factored(slopes: torch.Tensor, inputs: torch.Tensor) -> RecordGradients:
    """Gradients that are sums over T places of outer products of slopes [n, T, d] and inputs [n, T, p].

    Storing them is the least work. Where they would take too much memory, their norms come from two T by T matrices of
    inner products, if those are smaller, and their sum from one matrix product.
    """
    count, places, height, width = len(slopes), slopes.shape[1], slopes.shape[2], inputs.shape[2]
    if count * height * width <= _STORED_AT_MOST or places * (height + width) >= height * width:
        return stored(torch.bmm(slopes.transpose(1, 2), inputs))
    of_inputs, of_slopes = torch.bmm(inputs, inputs.transpose(1, 2)), torch.bmm(slopes, slopes.transpose(1, 2))
    return RecordGradients(
        squared_norms=_from_inner_products(of_inputs, of_slopes, width + height),
        weighted_sum=lambda weights: (slopes * weights[:, None, None]).flatten(0, 1).T @ inputs.flatten(0, 1),
        per_record=lambda: torch.bmm(slopes.transpose(1, 2), inputs).flatten(1),
    )


def _from_inner_products(of_inputs: torch.Tensor, of_slopes: torch.Tensor, length: int) -> torch.Tensor:
    """Squared norms [n] of sums over places, from above: both inner products [n, T, T] are of ``length`` terms in all.

    Where places nearly cancel, rounding could leave next to nothing of a gradient that is still above the clip norm. So
    the most that rounding can take away is added: one unit for each term, relative to the sum without cancelling.
    """
    uncancelled = (of_inputs.diagonal(dim1=1, dim2=2) * of_slopes.diagonal(dim1=1, dim2=2)).clamp(min=0).sqrt().sum(1)
    rounding = (length + of_inputs.shape[1]) * torch.finfo(of_inputs.dtype).eps * uncancelled.square()
    return (of_inputs * of_slopes).sum((1, 2)).clamp(min=0) + rounding


def linear_gradients(
    layer: torch.nn.Linear, inputs: torch.Tensor, slopes: torch.Tensor
) -> dict[str, Callable[[], RecordGradients]]:
    """The rule of a linear layer: its gradient is the outer product of slope and input, summed over places.

    Source:
        Goodfellow 2015, "Efficient per-example gradient computations"; Li et al. 2022 (with places).
    """
    if inputs.dim() > 2:
        count = len(inputs)
        placed, slopes3 = inputs.reshape(count, -1, inputs.shape[-1]), slopes.reshape(count, -1, slopes.shape[-1])
        return {"weight": lambda: _factored(slopes3, placed), "bias": lambda: stored(slopes3.sum(1))}
    of_slopes = slopes.square().sum(1)
    return {
        "weight": lambda: RecordGradients(
            squared_norms=of_slopes * inputs.square().sum(1),
            weighted_sum=lambda weights: torch.mm(slopes.T * weights, inputs),
            per_record=lambda: (slopes[:, :, None] * inputs[:, None, :]).flatten(1),
        ),
        "bias": lambda: RecordGradients(
            squared_norms=of_slopes, weighted_sum=lambda weights: weights @ slopes, per_record=lambda: slopes
        ),
    }


def _convolution(
    layer: torch.nn.Conv1d | torch.nn.Conv2d, inputs: torch.Tensor, slopes: torch.Tensor
) -> dict[str, Callable[[], RecordGradients]]:
    """A convolution is a linear layer over the patches of its input (Rochette, Manoel, Tramel 2019)."""
    flat = slopes.flatten(2)
    return {"weight": lambda: _kernel_gradients(layer, inputs, flat), "bias": lambda: stored(flat.sum(2))}


def _kernel_gradients(
    layer: torch.nn.Conv1d | torch.nn.Conv2d, inputs: torch.Tensor, slopes: torch.Tensor
) -> RecordGradients:
    kernel, dilation, padding, stride = layer.kernel_size, layer.dilation, layer.padding, layer.stride
    assert not isinstance(padding, str)  # see is_supported
    if len(kernel) == 1:  # as an image of one line
        inputs, kernel, dilation = inputs[:, :, None, :], (1, *kernel), (1, *dilation)
        padding, stride = (0, *padding), (1, *stride)
    patches = _patches(
        functional.pad(inputs, (padding[1], padding[1], padding[0], padding[0])), kernel, dilation, stride
    )
    if layer.groups == 1:
        return _factored(slopes.transpose(1, 2), patches.transpose(1, 2))
    count, groups = len(inputs), layer.groups
    apart = patches.reshape(count, groups, -1, patches.shape[2])
    return stored(slopes.reshape(count, groups, -1, slopes.shape[2]) @ apart.transpose(2, 3))


def _patches(
    inputs: torch.Tensor, kernel: tuple[int, ...], dilation: tuple[int, ...], stride: tuple[int, ...]
) -> torch.Tensor:
    """What torch's unfold gives, [n, p, T], by one strided copy: two to five times faster."""
    count, channels, *size = inputs.shape
    places = [
        (whole - step * (part - 1) - 1) // stride[axis] + 1
        for axis, (whole, part, step) in enumerate(zip(size, kernel, dilation, strict=True))
    ]
    of_record, of_channel, of_row, of_column = inputs.stride()
    strides = (of_row * dilation[0], of_column * dilation[1], of_row * stride[0], of_column * stride[1])
    view = inputs.as_strided((count, channels, *kernel, *places), (of_record, of_channel, *strides))
    return view.reshape(count, channels * kernel[0] * kernel[1], places[0] * places[1])


def _layer_norm(
    layer: torch.nn.LayerNorm | torch.nn.RMSNorm, inputs: torch.Tensor, slopes: torch.Tensor
) -> dict[str, Callable[[], RecordGradients]]:
    shape = list(layer.normalized_shape)
    if isinstance(layer, torch.nn.RMSNorm):
        normal = functional.rms_norm(inputs, shape, None, layer.eps)
    else:
        normal = functional.layer_norm(inputs, shape, None, None, layer.eps)
    count = len(inputs)
    return {
        "weight": lambda: stored((slopes * normal).reshape(count, -1, *shape).sum(1)),
        "bias": lambda: stored(slopes.reshape(count, -1, *shape).sum(1)),
    }


def _group_norm(
    layer: torch.nn.GroupNorm, inputs: torch.Tensor, slopes: torch.Tensor
) -> dict[str, Callable[[], RecordGradients]]:
    normal = functional.group_norm(inputs, layer.num_groups, None, None, layer.eps)
    by_channel = (len(inputs), inputs.shape[1], -1)
    return {
        "weight": lambda: stored((slopes * normal).reshape(by_channel).sum(2)),
        "bias": lambda: stored(slopes.reshape(by_channel).sum(2)),
    }


def _embedding(
    layer: torch.nn.Embedding, inputs: torch.Tensor, slopes: torch.Tensor
) -> dict[str, Callable[[], RecordGradients]]:
    """A row's gradient is the sum of the slopes of its places: equal indices meet (Li et al. 2022, appendix)."""
    count, (rows, width) = len(inputs), layer.weight.shape
    index, placed = inputs.reshape(count, -1), slopes.reshape(count, -1, width)

    def gradients() -> RecordGradients:
        same = (index[:, :, None] == index[:, None, :]).to(placed.dtype)
        return RecordGradients(
            squared_norms=_from_inner_products(same, torch.bmm(placed, placed.transpose(1, 2)), width + 1),
            weighted_sum=lambda weights: placed.new_zeros(rows, width).index_add_(
                0, index.reshape(-1), (placed * weights[:, None, None]).flatten(0, 1)
            ),
            per_record=lambda: (
                placed.new_zeros(count * rows, width)
                .index_add_(0, (index + rows * torch.arange(count)[:, None]).reshape(-1), placed.flatten(0, 1))
                .reshape(count, -1)
            ),
        )

    return {"weight": gradients}


#: Exactly these types: a subclass may compute something else.
RULES: Mapping[type[torch.nn.Module], Rule] = MappingProxyType(
    {
        torch.nn.Linear: linear_gradients,
        torch.nn.Conv1d: _convolution,
        torch.nn.Conv2d: _convolution,
        torch.nn.LayerNorm: _layer_norm,
        torch.nn.RMSNorm: _layer_norm,
        torch.nn.GroupNorm: _group_norm,
        torch.nn.Embedding: _embedding,
    }
)


def is_supported(layer: torch.nn.Module) -> bool:
    """Whether a layer has a rule, and no option that the rule does not cover."""
    if isinstance(layer, (torch.nn.Conv1d, torch.nn.Conv2d)):
        return type(layer) in RULES and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if isinstance(layer, torch.nn.Embedding):
        plain = layer.padding_idx is None and layer.max_norm is None
        return type(layer) in RULES and plain and not layer.scale_grad_by_freq and not layer.sparse
    return type(layer) in RULES
