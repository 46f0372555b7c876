"""The sum of clipped per-record gradients, by the fastest way that is right for the model at hand.

A linear model has a closed form; a stack of known layers goes through book-keeping, which stores no record's gradient;
whatever else goes through Opacus. The code chooses, and what is not evidently right is compared with single records.
"""

from __future__ import annotations

import copy
import functools
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.modules.batchnorm import _BatchNorm

from fedjoint.errors import PrivacyError
from fedjoint.privacy.batch import Batch
from fedjoint.privacy.book_keeping import (
    BookKeeping,
    PerExampleLoss,
    closed_form,
    is_closed,
    is_kept,
    is_transparent,
    of_outputs_alone,
)
from fedjoint.privacy.verified_gradients import Gradients, agrees_with_single_records

__all__ = [
    "ClippedSum",
    "GradientSummer",
    "Method",
    "PerExampleLoss",
    "as_tensor",
    "check_module",
    "choose",
    "clipped_gradient_sum",
]

Method: TypeAlias = Literal["closed_form", "book_keeping", "opacus"]

_log = logging.getLogger(__name__)

#: Norms end this much below the bound, so that rounding stays within it.
_MARGIN = {torch.float64: 1 - 1e-9, torch.float32: 1 - 4e-6}
#: Bounds the memory of what layers keep, or of gradients that are stored.
_RECORDS_AT_ONCE: dict[Method, int] = {"closed_form": 1 << 16, "book_keeping": 512, "opacus": 256}


@dataclass(frozen=True, kw_only=True, eq=False)
class ClippedSum:
    """A sum of clipped gradients, still without noise: it may not leave the holder.

    Args:
        total: [D], in the order of the module's parameters that are trained.
        not_finite: How many records were left out because their gradient was not finite. It is for the holder's eyes
            only: the number is as private as the records.
    """

    total: torch.Tensor
    not_finite: int


def check_module(module: torch.nn.Module) -> None:
    """Refuse a module in which one record's gradient would depend on other records, or that keeps statistics.

    Args:
        module: What would be trained.

    Raises:
        PrivacyError: a part of the module normalises over the batch or has a buffer, or nothing can be trained.
    """
    for name, part in module.named_modules():
        label = f"'{name}' ({type(part).__name__})" if name else type(part).__name__
        if isinstance(part, _BatchNorm):
            raise PrivacyError(
                f"{label} mixes the records of a batch",
                expected="layers that treat each record by itself",
                remedy="Use LayerNorm or GroupNorm instead.",
            )
        for buffer, _ in part.named_buffers(recurse=False):
            raise PrivacyError(
                f"{label} keeps the buffer '{buffer}', which would leave with the model and without noise",
                expected="modules without buffers",
                remedy="Make it a parameter or a constant of the forward function.",
            )
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise PrivacyError("the module has no parameters to train", remedy="Choose another model.")


def choose(module: torch.nn.Module) -> Method:
    """The fastest way to a module's clipped gradients.

    Example:
        >>> choose(torch.nn.Linear(3, 1)), choose(torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Tanh()))
        ('closed_form', 'book_keeping')
        >>> choose(torch.nn.Bilinear(2, 2, 1))
        'opacus'
    """
    if is_closed(module):
        return "closed_form"
    return "book_keeping" if is_kept(module) else "opacus"


class GradientSummer:
    """Sums the clipped gradients of one module, again and again while its parameters move.

    Args:
        module: Is taken over: it gets hooks. What it computes for a record may depend on that record alone.
        per_example_loss: One loss per record.

    Raises:
        PrivacyError: see :func:`check_module`.

    Guarantees:
        Adding or removing one unit (a record, or all records of a group) changes a sum by at most the clip norm, in
        L2, up to the rounding of the sum itself. Modules that are no plain chain of known layers are first compared
        with single records on made-up inputs, and refused where the two differ.

    Source:
        Abadi et al. 2016, algorithm 1; Bu et al. 2023 (book-keeping).
    """

    def __init__(self, module: torch.nn.Module, per_example_loss: PerExampleLoss) -> None:
        check_module(module)
        self._module, self._loss = module.train(), of_outputs_alone(per_example_loss)
        self._unhooked = None if is_transparent(module) else copy.deepcopy(module)
        self.method = choose(module)
        self._dtype = next(parameter.dtype for parameter in module.parameters() if parameter.requires_grad)
        self._sizes = [parameter.numel() for parameter in module.parameters() if parameter.requires_grad]

        self._keeper: BookKeeping | None = None
        self._gradients = self._start()

    def sum(
        self, inputs: torch.Tensor, targets: torch.Tensor, *, clip_norm: float, groups: torch.Tensor | None = None
    ) -> ClippedSum:
        """Sum the gradients at the module's present parameters, each scaled down to a norm of at most ``clip_norm``.

        Args:
            inputs: [n, ...] of the parameters' type, or whole numbers; n may be 0.
            targets: [n].
            clip_norm: > 0.
            groups: Whole numbers [n]: gradients of equal ones are added up before they are clipped.

        Returns:
            The sum, zeros for no records, and how many records were left out of it.

        Raises:
            PrivacyError: the loss is not one number per record, or looks at parameters, or the module's gradients are
                not those of single records in any way known here.
        """
        if self._unhooked is not None and len(inputs):
            self._verify(inputs, targets)
        at_once, clip_norm = _RECORDS_AT_ONCE[self.method], clip_norm * _MARGIN[self._dtype]
        if 0 < len(inputs) <= at_once:
            found = self._sum_of(inputs, targets, clip_norm, groups)
        else:
            found = ClippedSum(total=self._nothing(), not_finite=0)
            for rows in _pieces(len(inputs), groups, at_once=at_once):
                part = None if groups is None else groups[rows]
                more = self._sum_of(inputs[rows], targets[rows], clip_norm, part)
                found = ClippedSum(total=found.total + more.total, not_finite=found.not_finite + more.not_finite)
        if found.not_finite:  # to the holder's own log, and nowhere else
            _log.warning("%d gradients are not finite and were left out of a sum", found.not_finite)
        return found

    def _nothing(self) -> torch.Tensor:
        return torch.zeros(sum(self._sizes), dtype=self._dtype)

    def _start(self) -> Gradients:
        if self.method == "closed_form":
            assert isinstance(self._module, torch.nn.Linear)
            return functools.partial(closed_form, self._module)
        if self.method == "book_keeping":
            self._keeper = BookKeeping(self._module)
            return self._keeper.gradients
        from fedjoint.privacy.opacus_training import OpacusGradients  # a second to import, seldom needed

        return OpacusGradients(self._module).gradients

    def _fall_back(self) -> None:
        """Go the general way from now on; there is none behind it."""
        if self.method == "opacus":
            raise PrivacyError(
                "the model's gradients for a batch are not those of its records one by one",
                expected="a model that treats each record by itself, in rows that are records",
                remedy="Remove what mixes records, draws random numbers or overwrites a layer's output (x += ...); "
                "give embeddings of positions one row for each record.",
            )
        if self._keeper is not None:
            self._keeper.release()
        self.method = "opacus"
        self._gradients = self._start()

    def _verify(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        assert self._unhooked is not None
        while not agrees_with_single_records(
            self._gradients, self._module, unhooked=self._unhooked, like=(inputs, targets), loss=self._loss
        ):
            self._fall_back()
        self._unhooked = None

    def _sum_of(
        self, inputs: torch.Tensor, targets: torch.Tensor, clip_norm: float, groups: torch.Tensor | None
    ) -> ClippedSum:
        gradients = self._gradients(inputs, targets, self._loss)
        while gradients is None:
            self._fall_back()
            gradients = self._gradients(inputs, targets, self._loss)
        squares = functools.reduce(torch.add, [gradient.squared_norms for gradient in gradients])
        if not math.isfinite(float(squares.sum())):  # weights cannot help: zero times infinity is no number
            kept = torch.isfinite(squares)
            if not bool(kept.all()):
                part = None if groups is None else groups[kept]
                rest = self._sum_of(inputs[kept], targets[kept], clip_norm, part) if bool(kept.any()) else None
                return ClippedSum(
                    total=self._nothing() if rest is None else rest.total,
                    not_finite=int((~kept).sum()) + (0 if rest is None else rest.not_finite),
                )
        if groups is not None:
            return _sum_of_groups(torch.cat([one.per_record() for one in gradients], dim=1), groups, clip_norm)
        weights = (clip_norm * squares.rsqrt()).clamp(max=1.0)
        total = torch.cat([gradient.weighted_sum(weights).reshape(-1) for gradient in gradients])
        return ClippedSum(total=total, not_finite=0)


def clipped_gradient_sum(
    module: torch.nn.Module, batch: Batch, *, per_example_loss: PerExampleLoss, clip_norm: float
) -> ClippedSum:
    """Sum the units' gradients in double precision, each scaled down to a norm of at most ``clip_norm``.

    Args:
        module: With the parameters at which to differentiate; it is left as it was.
        batch: n may be 0; with groups the records of each are one unit.
        per_example_loss: One loss per record, which depends on that record alone.
        clip_norm: > 0.

    Returns:
        The sum, float64 [D], and how many records were left out because their gradient was not finite.

    Raises:
        PrivacyError: the module cannot be trained privately, or the loss is not one number per record.

    Guarantees:
        See :class:`GradientSummer`.

    Source:
        Abadi et al. 2016, algorithm 1.
    """
    if not len(batch):
        check_module(module)
        size = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
        return ClippedSum(total=torch.zeros(size, dtype=torch.float64), not_finite=0)
    summer = GradientSummer(copy.deepcopy(module).double(), per_example_loss)
    return summer.sum(
        as_tensor(batch.features, torch.float64),
        torch.from_numpy(np.array(batch.targets)),
        clip_norm=clip_norm,
        groups=None if batch.groups is None else torch.from_numpy(np.array(batch.groups)),
    )


def as_tensor(features: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    """A copy: numbers in ``dtype``, indices as they are."""
    return torch.from_numpy(np.array(features)).to(dtype if np.issubdtype(features.dtype, np.floating) else torch.int64)


def _sum_of_groups(gradients: torch.Tensor, groups: torch.Tensor, clip_norm: float) -> ClippedSum:
    """Add up the gradients [n, D] of each group, clip, and add up the groups."""
    distinct, place = torch.unique(groups, return_inverse=True)
    sums = gradients.new_zeros(len(distinct), gradients.shape[1]).index_add_(0, place, gradients)
    norms = sums.norm(dim=1)
    kept = torch.isfinite(norms)  # finite gradients can still add up to what is not
    weights = clip_norm / norms[kept].clamp(min=clip_norm)
    return ClippedSum(total=weights @ sums[kept], not_finite=int((~kept).sum()))


def _pieces(count: int, groups: torch.Tensor | None, *, at_once: int) -> Iterator[slice | torch.Tensor]:
    """Rows to be treated at once; a group is never torn apart."""
    if groups is None or count <= at_once:
        yield from (slice(first, first + at_once) for first in range(0, count, at_once))
        return
    order = torch.argsort(groups, stable=True)
    ends = torch.cumsum(torch.unique(groups, return_counts=True)[1], 0).tolist()
    first = 0
    for end, following in zip(ends, [*ends[1:], math.inf], strict=True):
        if following - first > at_once:
            yield order[first:end]
            first = end
