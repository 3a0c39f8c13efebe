"""What the machine can do at best, measured."""

from __future__ import annotations

import numpy as np
import pytest

from fastprop import _core


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_machine_speed(dtype: str) -> None:
    flops, bandwidth = _core.machine_speed(dtype, 2, 1000)
    assert np.isfinite([flops, bandwidth]).all()
    assert min(flops, bandwidth) > 0


def test_machine_speed_refuses() -> None:
    with pytest.raises(TypeError, match="dtype must be float32 or float64, got int64"):
        _core.machine_speed("int64", 1, 1000)
    with pytest.raises(ValueError, match="threads must be 1 to 4096, got 0"):
        _core.machine_speed("float32", 0, 1000)
