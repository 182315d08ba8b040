"""Facts about stored weights, on tensors with known values."""

import torch
from safetensors.torch import save_file

from arc_precision.model import weight_facts


def test_values_that_float16_cannot_hold_are_counted_in_every_dtype_and_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_facts, "CACHED_VALUES", 4)
    exact = [0.0, 1.0, -2.5, 2.0**-17 * 1.9921875, 2.0**-24, 65280.0]
    inexact = [2.0**-17 * 1.9921875 / 2**3, 1e-20]
    overflow = [70000.0, -1e30]
    weights = torch.tensor(exact + inexact + overflow)
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    save_file({"a": weights.to(torch.bfloat16), "b": torch.ones(2, 3, dtype=torch.float16)}, files[0])
    save_file({"c": torch.tensor([1 / 3, 0.5]), "d": torch.tensor([1 + 2.0**-40], dtype=torch.float64)}, files[1])
    assert weight_facts.weight_facts(files) == {
        "parameters": 10 + 6 + 2 + 1,
        "parameters_by_dtype": {"bfloat16": 10, "float16": 6, "float32": 2, "float64": 1},
        "float16_inexact": len(inexact + overflow) + 1 + 1,
        "float16_overflow": len(overflow),
    }
