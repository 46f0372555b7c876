"""Every record's gradients by Opacus: the general path, for modules that the faster ones do not cover."""

from __future__ import annotations

import warnings

import torch
from opacus import GradSampleModule

from fedjoint.privacy.book_keeping import PerExampleLoss, check_losses, leave_outputs
from fedjoint.privacy.layer_gradients import RecordGradients, stored

__all__ = ["OpacusGradients"]


class OpacusGradients:
    """The gradients of every record, computed by Opacus' hooks and stored one by one.

    Args:
        module: Is taken over: it gets hooks. Opacus must know its layers or be able to vectorise them.

    Source:
        Yousefpour et al. 2021, "Opacus: user-friendly differential privacy library in PyTorch".
    """

    def __init__(self, module: torch.nn.Module) -> None:
        leave_outputs(module)
        # summed losses: each record's gradient is its own, whatever the size of the batch
        self._hooked = GradSampleModule(module, loss_reduction="sum")
        self._trained = [parameter for parameter in module.parameters() if parameter.requires_grad]

    def gradients(
        self, inputs: torch.Tensor, targets: torch.Tensor, loss: PerExampleLoss
    ) -> list[RecordGradients] | None:
        """One forward and one backward pass, at the module's present parameters.

        Args:
            inputs: [n, ...], n at least 1: an empty batch breaks some of Opacus' ways.
            targets: [n].
            loss: One loss per record.

        Returns:
            For each parameter in order; None where a row of a layer's input is not a record.

        Raises:
            PrivacyError: the loss is not one number per record.
        """
        if inputs.is_floating_point():
            # torch warns of backward hooks on a layer whose inputs need no gradient; that they need one costs little
            inputs = inputs.clone().requires_grad_(True)
        losses = loss(self._hooked(inputs), targets)
        check_losses(losses, len(inputs))
        with warnings.catch_warnings():  # indices can need no gradient
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            losses.sum().backward()
        samples = [getattr(parameter, "grad_sample", None) for parameter in self._trained]
        self._hooked.zero_grad(set_to_none=True)
        whole = [
            parameter.new_zeros(len(inputs), *parameter.shape) if sample is None else sample
            for parameter, sample in zip(self._trained, samples, strict=True)
        ]
        if any(len(sample) != len(inputs) for sample in whole):
            return None
        with torch.no_grad():
            return [stored(sample) for sample in whole]
