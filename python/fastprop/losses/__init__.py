r"""Losses: functions of predictions and targets, and the form in which a Trainer uses them.

Row *i* of a batch has the loss :math:`\ell_i`, the mean over the elements of the row. With weights
:math:`w_i`, the reductions are

- ``"mean"``: :math:`\sum_i w_i \ell_i / \sum_i w_i`, which is the mean over everything without
  weights;
- ``"sum"``: :math:`\sum_i w_i \ell_i`, where :math:`\ell_i` is the *sum* over the elements of the
  row;
- ``"none"``: :math:`w_i \ell_i`, shape ``[rows]``.

Predictions are float Tensors whose first axis is the batch. Targets have the shape of the
predictions, up to a trailing axis of extent 1; integers are converted. Nothing is ever broadcast:
other shapes are a ``ValueError`` that names the loss, both shapes, and what was wanted.
"""

from fastprop._lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "losses.classification": (
            "binary_cross_entropy", "binary_focal", "cross_entropy", "dice", "focal", "hinge",
            "kl_div",
        ),
        "losses.embedding": ("contrastive", "cosine_embedding", "triplet_margin"),
        "losses.loss": ("LOSSES", "Loss", "MultiOutput", "get"),
        "losses.regression": (
            "gaussian_nll", "huber", "log_cosh", "mae", "mse", "poisson_nll", "quantile",
        ),
        "losses.weights": ("check_sample_weight",),
    },
)  # fmt: skip
