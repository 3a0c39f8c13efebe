"""Lion and Rprop: steps along the signs of gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastprop.optim.groups import Parameters
from fastprop.optim.hyper import Flag, LearningRate, Number, Pair
from fastprop.optim.optimizer import Optimizer


class Lion(Optimizer):
    r"""Steps of one length along the sign of an interpolated momentum.

    .. math::
        c &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        w &\leftarrow w - \gamma\, (\operatorname{sign} c + \lambda w) \\
        m &\leftarrow \beta_2 m + (1 - \beta_2) g

    Args:
        params: Tensors to train, or groups of them; None if a Trainer will bind them.
        lr: Learning rate :math:`\gamma`, a Schedule, or a function of the step; a third to a tenth
            of Adam's serves as a rule.
        betas: :math:`\beta_1, \beta_2`, each in [0, 1).
        weight_decay: :math:`\lambda`, decoupled; three to ten times AdamW's serves as a rule.
        decay_bias_and_norm: False spares parameters of at most one axis the weight decay.

    Raises:
        ValueError: A number out of its range; no parameters, or one of them twice.
        TypeError: Something that is no number or no parameter.

    Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023; names and defaults
    are those of the authors' implementation.
    """

    op = "lion_update"

    betas = Pair("beta1", "beta2", 1.0)
    weight_decay = Number()
    decay_bias_and_norm = Flag()

    def __init__(
        self,
        params: Parameters | None = None,
        lr: LearningRate = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        decay_bias_and_norm: bool = True,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            weight_decay=weight_decay,
            decay_bias_and_norm=decay_bias_and_norm,
        )

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("exp_avg",)


class Rprop(Optimizer):
    r"""A step size for each weight that grows while its gradient keeps its sign; for full batches.

    .. math::
        \Delta &\leftarrow \begin{cases}
            \min(\eta^+ \Delta, \Delta_{\max}) & g\, g_{\text{before}} > 0 \\
            \max(\eta^- \Delta, \Delta_{\min}),\; g \leftarrow 0 & g\, g_{\text{before}} < 0
        \end{cases} \\
        w &\leftarrow w - \Delta \operatorname{sign} g

    The signs of gradients of mini-batches change by chance; ``Trainer.fit`` wants
    ``batch_size=None``.

    Args:
        params: Tensors to train, or groups of them; None if a Trainer will bind them.
        lr: What all :math:`\Delta` start as; a number, as it has no part in later steps.
        etas: :math:`\eta^- < 1 < \eta^+`.
        step_sizes: :math:`\Delta_{\min}, \Delta_{\max}`.

    Raises:
        ValueError: A number out of its range; no parameters, or one of them twice.
        TypeError: Something that is no number or no parameter; a Schedule as `lr`.

    Riedmiller & Braun, "A direct adaptive method for faster backpropagation learning", ICNN 1993;
    PyTorch's variant, which does not take steps back.
    """

    op = "rprop_update"
    full_batch = True

    etas = Pair("eta_minus", "eta_plus")
    step_sizes = Pair("smallest", "largest")

    def __init__(
        self,
        params: Parameters | None = None,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
    ) -> None:
        super().__init__(params, lr=lr, etas=etas, step_sizes=step_sizes)

    def _check_together(self, hyper: Mapping[str, Any]) -> None:
        if callable(hyper["lr"]):
            raise TypeError(
                f"Rprop: lr, what the step sizes start as, must be a number, got {hyper['lr']!r}"
            )
        if not 0.0 < hyper["etas"][0] < 1.0 < hyper["etas"][1]:
            raise ValueError(
                f"Rprop: etas must be as 0 < etas[0] < 1 < etas[1], got {hyper['etas']}"
            )
        if hyper["step_sizes"][0] > hyper["step_sizes"][1]:
            raise ValueError(
                f"Rprop: step_sizes must be the smallest and the largest, got {hyper['step_sizes']}"
            )

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("prev", "step_size")

    def _initial_state(self, name: str, group: Mapping[str, Any]) -> float:
        return float(group["lr"]) if name == "step_size" else 0.0
