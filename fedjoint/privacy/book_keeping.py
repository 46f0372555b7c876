"""Book-keeping: every record's gradients from one backward pass over the outputs of the layers.

Layers keep their inputs, the pass gives the gradients of their outputs, and :mod:`fedjoint.privacy.layer_gradients`
makes of the two what clipping needs. The parameters themselves are never differentiated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from fedjoint.errors import PrivacyError
from fedjoint.privacy.layer_gradients import RULES, RecordGradients, is_supported, linear_gradients

__all__ = [
    "BookKeeping",
    "PerExampleLoss",
    "check_losses",
    "closed_form",
    "is_closed",
    "is_kept",
    "is_transparent",
    "leave_outputs",
    "of_outputs_alone",
]

#: (outputs [n, ...], targets [n]) to one loss per record [n]; a record's loss may depend on that record alone.
PerExampleLoss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

#: Modules without parameters that treat each record by itself and are called once, where they stand.
_TRANSPARENT = (
    torch.nn.ReLU, torch.nn.LeakyReLU, torch.nn.ELU, torch.nn.GELU, torch.nn.SiLU, torch.nn.Tanh, torch.nn.Sigmoid,
    torch.nn.Softplus, torch.nn.Identity, torch.nn.Flatten, torch.nn.Dropout, torch.nn.MaxPool1d, torch.nn.MaxPool2d,
    torch.nn.AvgPool1d, torch.nn.AvgPool2d, torch.nn.AdaptiveAvgPool1d, torch.nn.AdaptiveAvgPool2d,
)  # fmt: skip


def check_losses(losses: torch.Tensor, count: int) -> None:
    """Refuse losses that are not one number per record.

    Raises:
        PrivacyError: they are reduced; the message does not tell how many records were drawn.
    """
    if losses.shape != (count,):
        raise PrivacyError("the loss does not give one number for each record", remedy="Do not reduce it.")


def of_outputs_alone(loss: PerExampleLoss) -> PerExampleLoss:
    """A loss that, when it is first used, is refused if it looks at a model's parameters behind the outputs' back.

    A penalty on the parameters (weight decay, a proximal term) has no gradient in the outputs: clipping records would
    drop it without a word. It needs no record, so it belongs after the noise.

    Returns:
        The loss, which raises PrivacyError where it is such a one.
    """
    checked = False

    def of_outputs(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal checked
        if not checked and loss(outputs.detach(), targets).requires_grad:
            raise PrivacyError(
                "the loss depends on more than outputs and targets, on parameters of the model, say",
                expected="a loss of single records",
                remedy="Apply penalties and proximal terms to the parameters, after the noise.",
            )
        checked = True
        return loss(outputs, targets)

    return of_outputs


def is_closed(module: torch.nn.Module) -> bool:
    """Whether a module is one linear layer that is trained as a whole."""
    return type(module) is torch.nn.Linear and all(parameter.requires_grad for parameter in module.parameters())


def is_kept(module: torch.nn.Module) -> bool:
    """Whether every parameter to be trained stands in a layer with a rule, and in one such layer only."""
    trained = [name for name, parameter in module.named_parameters(remove_duplicate=False) if parameter.requires_grad]
    distinct = {id(parameter) for parameter in module.parameters() if parameter.requires_grad}
    parts = [part for part in module.modules() if any(p.requires_grad for p in part.parameters(recurse=False))]
    return len(trained) == len(distinct) and all(is_supported(part) for part in parts)


def is_transparent(module: torch.nn.Module) -> bool:
    """Whether a module is a plain chain of layers with rules and functions of single records: nothing can surprise."""
    hooked = any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    return not hooked and all(
        type(part) is torch.nn.Sequential or type(part) in _TRANSPARENT or is_supported(part)
        for part in module.modules()
    )


def leave_outputs(module: torch.nn.Module) -> None:
    """Keep activations from overwriting what the layer before them gave: neither way here bears it."""
    for part in module.modules():
        if getattr(part, "inplace", False) is True:
            setattr(part, "inplace", False)  # noqa: B010  (torch declares every attribute a tensor or module)


def closed_form(
    module: torch.nn.Linear, inputs: torch.Tensor, targets: torch.Tensor, loss: PerExampleLoss
) -> list[RecordGradients]:
    """The gradients of a linear model, in the order of its parameters: only the loss is differentiated.

    Raises:
        PrivacyError: the loss is not one number per record.
    """
    with torch.no_grad():
        outputs = module(inputs)
    losses = loss(outputs.requires_grad_(True), targets)
    check_losses(losses, len(inputs))
    (slopes,) = torch.autograd.grad(losses, outputs, torch.ones_like(losses))  # of their sum, without making it
    by_name = linear_gradients(module, inputs, slopes)
    return [by_name[name]() for name, _ in module.named_parameters()]


class BookKeeping:
    """The gradients of every record in every layer that is trained.

    Args:
        module: Is taken over: it gets hooks, and its parameters no longer ask for gradients.

    Source:
        Bu, Wang, Zha, Karypis 2023, "Differentially private optimization on large model at small cost" (book-keeping,
        with the choice between the two ways to a norm for each layer).
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._home = {
            id(parameter): (part, name)
            for part in module.modules()
            for name, parameter in part.named_parameters(recurse=False)
            if parameter.requires_grad
        }
        self._calls: list[tuple[torch.nn.Module, torch.Tensor, torch.Tensor, tuple[int, int]]] = []
        parts = dict.fromkeys(part for part, _ in self._home.values())
        self._hooks = [part.register_forward_hook(self._keep) for part in parts]
        leave_outputs(module)
        for parameter in self._trained:
            parameter.requires_grad_(False)

    def release(self) -> None:
        """Give the module back without hooks, its parameters asking for gradients again."""
        for hook in self._hooks:
            hook.remove()
        for parameter in self._trained:
            parameter.requires_grad_(True)

    def _keep(self, part: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        if not output.requires_grad:
            output.requires_grad_(True)
        self._calls.append((part, inputs[0], output, (inputs[0]._version, output._version)))

    def gradients(
        self, inputs: torch.Tensor, targets: torch.Tensor, loss: PerExampleLoss
    ) -> list[RecordGradients] | None:
        """One pass, at the module's present parameters.

        Args:
            inputs: [n, ...], n at least 1.
            targets: [n].
            loss: One loss per record.

        Returns:
            For each parameter in order; None where the module does what book-keeping does not cover: a layer is used
            twice, its input or output is overwritten, or a row of its input is not a record.

        Raises:
            PrivacyError: the loss is not one number per record.
        """
        self._calls = []
        try:
            losses = loss(self._module(inputs), targets)
            check_losses(losses, len(inputs))
            calls = {part: (given, output) for part, given, output, _ in self._calls}
            if len(calls) < len(self._calls) or any(
                len(given) != len(inputs) or len(output) != len(inputs) or (given._version, output._version) != versions
                for _, given, output, versions in self._calls
            ):
                return None
        finally:
            self._calls = []
        found = torch.autograd.grad(losses.sum(), [output for _, output in calls.values()], allow_unused=True)
        with torch.no_grad():
            slopes = {
                part: torch.zeros_like(output) if slope is None else slope
                for (part, (_, output)), slope in zip(calls.items(), found, strict=True)
            }
            rules = {part: RULES[type(part)](part, calls[part][0].detach(), slopes[part]) for part in calls}
            return [self._of(parameter, rules, len(inputs)) for parameter in self._trained]

    def _of(self, parameter: torch.Tensor, rules: dict[torch.nn.Module, Any], count: int) -> RecordGradients:
        part, name = self._home[id(parameter)]
        if part in rules:
            gradients: RecordGradients = rules[part][name]()
            return gradients
        # a layer that was not called; whether its parameters are used in another way is found out by verification
        return RecordGradients(
            squared_norms=parameter.new_zeros(count),
            weighted_sum=lambda _: torch.zeros_like(parameter),
            per_record=lambda: parameter.new_zeros(count, parameter.numel()),
        )
