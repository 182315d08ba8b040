"""Names of number formats: what one side computes in.

A name is a dtype, or a half-precision dtype with the LM head's product in float32, such as `bfloat16-float32-head`.
A side in float32 has a float32 head, so `float32` is the name of the exact format.
"""

EXACT = "float32"
_FLOAT32_HEAD = "-float32-head"


def number_format(dtype: str, head: str) -> str:
    """The name for a side's two settings; `head` is "model", in the dtype of the rest, or "float32"."""
    return dtype if head == "model" or dtype == EXACT else dtype + _FLOAT32_HEAD


def dtype_and_head(form: str) -> tuple[str, str]:
    """The settings of a name; those of `float32` are ("float32", "model")."""
    dtype = form.removesuffix(_FLOAT32_HEAD)
    return dtype, "model" if dtype == form else "float32"


def with_float32_head(form: str) -> str:
    """The name of the same dtype with a float32 head."""
    return number_format(dtype_and_head(form)[0], "float32")
