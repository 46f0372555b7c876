"""From the agreement's words to a torch module, the same for every party."""

from __future__ import annotations

import itertools
import math

import torch

from fedjoint.agreement.terms import ModelTerms
from fedjoint.errors import InvalidValue
from fedjoint.models.code import make_approved
from fedjoint.models.vector import num_parameters

__all__ = ["MAX_WIDTH", "make_module"]

#: Of inputs and outputs: 2,000 columns of up to 200 categories.
MAX_WIDTH = 400_000


def make_module(terms: ModelTerms, inputs: int, *, outputs: int, seed: int) -> torch.nn.Module:
    """Make the agreed module with its start values.

    A linear model starts at zero. The layers of an mlp start uniform in ± sqrt(6 / inputs) before a ReLU and
    ± sqrt(3 / inputs) at the output, with zero biases.

    Args:
        terms: Kind and hidden widths.
        inputs: Width of a record, 1 to 400,000.
        outputs: One logit, one per class, or one number: 1 to 400,000.
        seed: At least 0.

    Returns:
        A float32 module from [n, inputs] to [n, outputs].

    Raises:
        InvalidValue: a width or the seed is out of range; or code makes another number of parameters than agreed.
        AgreementError: code that was not approved here, or that does not make such a module.

    Guarantees:
        The same arguments give the same bytes, and torch's global generator is not touched.

    Example:
        >>> make_module(ModelTerms(), 3, outputs=1, seed=0).weight.tolist()
        [[0.0, 0.0, 0.0]]

    Source:
        He et al. 2015 (hidden layers); LeCun et al. 1998 (output).
    """
    for name, width in (("inputs", inputs), ("outputs", outputs)):
        if not 1 <= width <= MAX_WIDTH:
            raise InvalidValue(f"{name} = {width}", expected=f"1 to {MAX_WIDTH}")
    if not 0 <= seed < 2**63:
        raise InvalidValue(f"seed = {seed}", expected="0 to 2**63 - 1")
    if terms.code_sha256 is not None:
        return _agreed_code(terms, make_approved(terms.code_sha256, inputs, outputs=outputs, seed=seed))
    generator = torch.Generator().manual_seed(seed)
    if terms.kind == "linear":
        return _layer(inputs, outputs, bound=0.0, generator=generator)
    layers: list[torch.nn.Module] = []
    for before, width in itertools.pairwise((inputs, *terms.hidden)):
        layers += [_layer(before, width, bound=math.sqrt(6 / before), generator=generator), torch.nn.ReLU()]
    last = terms.hidden[-1]
    layers.append(_layer(last, outputs, bound=math.sqrt(3 / last), generator=generator))
    return torch.nn.Sequential(*layers)


def _agreed_code(terms: ModelTerms, module: torch.nn.Module) -> torch.nn.Module:
    if num_parameters(module) != terms.code_parameters:
        raise InvalidValue(
            f"the model's code makes {num_parameters(module)} parameters", expected=f"{terms.code_parameters} as agreed"
        )
    return module


def _layer(inputs: int, outputs: int, *, bound: float, generator: torch.Generator) -> torch.nn.Linear:
    """A linear layer with uniform weights in ± bound; torch's own start would draw from the global generator."""
    layer = torch.nn.utils.skip_init(torch.nn.Linear, inputs, outputs)
    assert isinstance(layer, torch.nn.Linear)
    with torch.no_grad():
        layer.weight.zero_()
        if bound > 0:
            layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.zero_()
    return layer
