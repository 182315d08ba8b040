"""Token log-probabilities of the completions of a batch, with every distinct prompt computed once.

The completions of a GRPO group share one prompt. Running each row through the model repeats the prompt for every
completion; here the batch is packed into one sequence without padding,

    [prefix of prompt 1 | prefix of prompt 2 | ... | completion 1 | completion 2 | ...]

where a prefix is a prompt without its last token, and each completion is the input that predicts it: the prompt's last
token, then all of its own tokens but the last. So every position after the prefixes has exactly one label, and the
fused LM head that TRL adds to its models scores the packed sequence as it scores a padded batch.

Attention is exact. Each prefix and each completion attends causally to itself, and each completion also attends to all
of its prefix; the two parts of a softmax over a split set of keys are merged by their log-sum-exps. In the backward
pass the gradient of each part needs only the merged output and the merged log-sum-exp, because the probabilities
exp(score - logsumexp) are then those of the whole softmax (Liu et al., "Ring Attention with Blockwise Transformers",
arXiv 2310.01889, does the same across devices). No mask and no copy of a prompt's keys is ever made.

`use_shared_prompt` must have been called on the model. Its other forward passes then compute the same as before, with
transformers' "sdpa" attention.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor
from torch.nn.functional import pad
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.modeling_layers import GradientCheckpointingLayer

ATTENTION = "shared_prompt"

aten = torch.ops.aten


def use_shared_prompt(model: torch.nn.Module, autocast: bool) -> None:
    """Prepare a model, bare or with a PEFT adapter, for `shared_prompt_logps`.

    Args:
        autocast: whether the model always runs under autocast. PEFT's cast of an adapter's input to float32 is then
            omitted, as autocast would undo it; the values are the same.
    """
    transformers_model(model).set_attn_implementation(ATTENTION)
    if autocast:
        for module in model.modules():
            if isinstance(module, BaseTunerLayer):
                module.cast_input_dtype_enabled = False


def compile_layers(model: torch.nn.Module, backend: str | Callable = "inductor") -> None:
    """Fuse the elementwise kernels of a model's decoder layers, in place; names of modules and parameters stay.

    Everything but attention is compiled, inside gradient checkpointing, once per mode (gradient, none, adapter off) for
    all layers and packed lengths. Fused kernels no longer round to half precision the values that pass between them.
    """
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.compile(dynamic=True, backend=backend)


def shared_prompt_logps(
    model: torch.nn.Module, input_ids: Tensor, attention_mask: Tensor, n_completion_tokens: int
) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities and entropies of the completion tokens, differentiable, under the model's own autocast.

    Args:
        model: causal LM with TRL's fused LM head (`trl.trainer.utils.add_fused_lm_head`, which also holds the
            temperature) after `use_shared_prompt`, bare or wrapped by PEFT or by data parallelism.
        input_ids: (B, P + C) token ids; prompts are padded on the left to P, completions on the right to C.
        attention_mask: (B, P + C), 1 for tokens and 0 for padding. A completion may be masked out as a whole.
        n_completion_tokens: C.

    Rows with the same prompt share it wherever they stand in the batch.

    Returns:
        log-probabilities (B, C) and entropies (B, C), float32, in nats, 0 where the mask is 0; the entropies are
        None where the fused head was made without them.

    Raises:
        ValueError: `use_shared_prompt` was not called, a mask that is not as above, or a prompt of fewer than 2 tokens.
    """
    attention = transformers_model(model).config._attn_implementation
    if attention != ATTENTION:
        raise ValueError(f"The model's attention is {attention!r}; call use_shared_prompt(model, ...) first.")
    batch = pack(input_ids, attention_mask, n_completion_tokens)
    outputs = model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        # transformers passes a four-dimensional mask on to the attention function instead of building a (T, T) one
        attention_mask=batch.input_ids.new_ones(1, 1, 1, 1),
        shift_labels=batch.labels,
        fused_lm_head=True,
        shared_prompt=batch.layout,
    )

    def unpack(packed: Tensor) -> Tensor:
        rows = packed.new_zeros(input_ids.shape[0] * n_completion_tokens)
        rows = rows.scatter(0, batch.destinations, packed[0, batch.layout.n_prefix_tokens :])
        return rows.view(-1, n_completion_tokens)

    return unpack(outputs.log_probs), None if outputs.entropy is None else unpack(outputs.entropy)


def transformers_model(model: torch.nn.Module) -> PreTrainedModel:
    """The transformers model inside a wrapper, or the model itself."""
    return next(module for module in model.modules() if isinstance(module, PreTrainedModel))


# Spans and Layout are not frozen: torch 2.11 compiles again for every value of a frozen dataclass's fields.
@dataclass
class Spans:
    """Pairs of slices of a packed sequence: queries `[query[i], query[i+1])` attend to keys `[key[i], key[i+1])`."""

    query: list[int]
    key: list[int]
    cu_query: Tensor  # the same bounds, int32, on the device
    cu_key: Tensor
    max_query: int
    max_key: int

    @classmethod
    def of_lengths(cls, query: list[int], key: list[int], device: torch.device) -> "Spans":
        bounds = [np.cumsum([0, *lengths]).tolist() for lengths in (query, key)]
        cumulative = [torch.tensor(b, dtype=torch.int32, device=device) for b in bounds]
        return cls(*bounds, *cumulative, max_query=max(query), max_key=max(key))

    def __iter__(self):
        for i in range(len(self.query) - 1):
            if self.query[i] < self.query[i + 1]:
                yield slice(*self.query[i : i + 2]), slice(*self.key[i : i + 2])


@dataclass
class Layout:
    """The structure of a packed sequence of T tokens for attention. Its first `n_prefix_tokens` tokens are prefixes."""

    n_prefix_tokens: int
    longest: int  # the most tokens that one query attends to; a sliding window must hold them
    own: Spans  # each prefix and each completion, over all T tokens
    shared: Spans  # the completions of a group -> its prefix; queries count from the first completion


@dataclass(frozen=True)
class PackedBatch:
    input_ids: Tensor  # (1, T)
    position_ids: Tensor  # (1, T)
    labels: Tensor  # (1, T), -100 in prefixes
    destinations: Tensor  # (number of completion tokens,) index of each into the flattened (B, C)
    layout: Layout


def pack(input_ids: Tensor, attention_mask: Tensor, n_completion_tokens: int) -> PackedBatch:
    """Pack padded rows as the module's docstring draws it. Arguments and errors are those of `shared_prompt_logps`."""
    ids, mask = input_ids.cpu().numpy(), attention_mask.cpu().numpy().astype(bool)
    n_prompt = ids.shape[1] - n_completion_tokens
    prompt_lengths, completion_lengths = mask[:, :n_prompt].sum(1), mask[:, n_prompt:].sum(1)
    column = np.arange(ids.shape[1])
    first, last = n_prompt - prompt_lengths[:, None], n_prompt + completion_lengths[:, None]
    if not np.array_equal(mask, (first <= column) & (column < last)):
        raise ValueError("attention_mask has gaps; pad prompts on the left and completions on the right only.")
    if (prompt_lengths < 2).any():
        row = int(prompt_lengths.argmin())
        raise ValueError(f"The prompt of row {row} has {prompt_lengths[row]} token(s); give it at least 2.")

    groups: dict[bytes, list[int]] = {}
    for row in range(len(ids)):
        groups.setdefault(ids[row, first[row, 0] : n_prompt].tobytes(), []).append(row)

    prefixes, prefix_positions, inputs, positions, labels, destinations = [], [], [], [], [], []
    for rows in groups.values():
        prompt = ids[rows[0], first[rows[0], 0] : n_prompt]
        prefixes.append(prompt[:-1])
        prefix_positions.append(np.arange(len(prompt) - 1))
        for row in rows:
            completion = ids[row, n_prompt : last[row, 0]]
            inputs.append(np.concatenate([prompt[-1:], completion])[: len(completion)])
            positions.append(len(prompt) - 1 + np.arange(len(completion)))
            labels.append(completion)
            destinations.append(row * n_completion_tokens + np.arange(len(completion)))

    device = input_ids.device
    prefix_lengths = [len(prefix) for prefix in prefixes]
    segment_lengths = prefix_lengths + [len(completion) for completion in labels if len(completion)]
    layout = Layout(
        n_prefix_tokens=sum(prefix_lengths),
        longest=int((prompt_lengths + completion_lengths).max()) - 1,
        own=Spans.of_lengths(segment_lengths, segment_lengths, device),
        shared=Spans.of_lengths(
            [int(completion_lengths[rows].sum()) for rows in groups.values()], prefix_lengths, device
        ),
    )

    def on_device(parts: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts)).to(device)

    return PackedBatch(
        input_ids=on_device(prefixes + inputs)[None],
        position_ids=on_device(prefix_positions + positions)[None],
        labels=on_device([np.full(layout.n_prefix_tokens, -100), *labels])[None],
        destinations=on_device(destinations),
        layout=layout,
    )


@torch.compiler.disable  # traced, its loop over the spans would be unrolled for this one batch
def attention_forward(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    shared_prompt: Layout | None = None,
    **kwargs,
) -> tuple[Tensor, None]:
    """transformers' attention function: "sdpa" unless the forward pass carries a layout.

    query (1, H, T, D), key and value (1, H_kv, T, D) -> (1, T, H, D). Raises ValueError for features that the packed
    form lacks: dropout, a sliding window shorter than the sequences, soft-capped scores, attention sinks.
    """
    if shared_prompt is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    unsupported = [name for name in ("softcap", "s_aux") if kwargs.get(name) is not None]
    if (kwargs.get("sliding_window") or shared_prompt.longest) < shared_prompt.longest:
        unsupported.append("sliding_window")
    if dropout or unsupported:
        raise ValueError(
            f"The shared-prompt forward cannot compute attention with {unsupported or 'dropout'}; "
            "switch the shared prompt off for this model."
        )
    device = query.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else query.dtype
    packed = (x[0].transpose(0, 1).to(dtype) for x in (query, key, value))
    if device == "cpu":
        # its kernels are slower in half precision than in float32 (backward up to six times), and less exact
        packed = (x.float() for x in packed)
    return SharedPromptAttention.apply(*packed, shared_prompt, scaling)[None].to(dtype), None


AttentionInterface.register(ATTENTION, attention_forward)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


class SharedPromptAttention(torch.autograd.Function):
    """Attention over a packed sequence: query (T, H, D), key and value (T, H_kv, D) -> (T, H, D)."""

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float) -> Tensor:
        n = layout.n_prefix_tokens
        out, lse = attend(query, key, value, layout.own, True, scale)
        shared_out, shared_lse = attend(query[n:], key[:n], value[:n], layout.shared, False, scale)
        own_out, own_lse = out[n:], lse[:, n:]
        merged_lse = torch.logaddexp(own_lse, shared_lse)
        own_weight, shared_weight = ((part - merged_lse).exp().T.unsqueeze(-1) for part in (own_lse, shared_lse))
        torch.addcmul(shared_weight * shared_out, own_weight, own_out, out=out[n:])
        lse[:, n:] = merged_lse
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.layout, ctx.scale = layout, scale
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, lse = ctx.saved_tensors
        n = ctx.layout.n_prefix_tokens
        grads = attend_backward(grad, query, key, value, out, lse, ctx.layout.own, True, ctx.scale)
        shared_grads = attend_backward(
            grad[n:], query[n:], key[:n], value[:n], out[n:], lse[:, n:], ctx.layout.shared, False, ctx.scale
        )
        for whole, part, rows in zip(grads, shared_grads, (slice(n, None), slice(n), slice(n)), strict=True):
            whole[rows] += part
        return *grads, None, None


def attend(
    query: Tensor, key: Tensor, value: Tensor, spans: Spans, causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    """Attention inside each pair of spans: query (N, H, D), key and value (M, H_kv, D) -> output (N, H, D) and the
    log-sum-exp of each row's scores (H, N), float32."""
    if _has_flash_kernel(query):
        out, lse, *_ = aten._flash_attention_forward(
            query, key, value, spans.cu_query, spans.cu_key, spans.max_query, spans.max_key, 0.0, causal, False,
            scale=scale,
        )  # fmt: skip
        return out, lse
    out = torch.empty_like(query)
    lse = query.new_empty(query.shape[1], query.shape[0], dtype=torch.promote_types(query.dtype, torch.float32))
    for q, k in spans:
        heads = _expand_heads(query[q], key[k], value[k])
        if query.is_cuda:
            part, part_lse, *_ = aten._scaled_dot_product_efficient_attention(
                *heads, None, True, 0.0, causal, scale=scale
            )
        else:
            part, part_lse = aten._scaled_dot_product_flash_attention_for_cpu(*heads, 0.0, causal, scale=scale)
        out[q], lse[:, q] = part[0].transpose(0, 1), part_lse[0, :, : q.stop - q.start]
    return out, lse


def attend_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    spans: Spans,
    causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `attend` with respect to query, key and value. `out` and `lse` belong to the whole softmax, of which
    these keys were a part."""
    if _has_flash_kernel(query):
        rng_state = torch.zeros(2, dtype=torch.uint64, device=query.device)  # unused without dropout
        return aten._flash_attention_backward(
            grad.contiguous(), query, key, value, out, lse.contiguous(), spans.cu_query, spans.cu_key, spans.max_query,
            spans.max_key, 0.0, causal, rng_state, rng_state.new_empty(0), scale=scale,
        )  # fmt: skip
    grads = [torch.zeros_like(x) for x in (query, key, value)]
    for q, k in spans:
        heads = _expand_heads(query[q], key[k], value[k])
        part_out, part_grad = (x[q].transpose(0, 1)[None] for x in (out, grad))
        if query.is_cuda:
            # the kernel's log-sum-exp rows are aligned to 32
            part_lse = pad(lse[None, :, q], (0, -(q.stop - q.start) % 32), value=torch.inf)
            seed = torch.zeros((), dtype=torch.long)
            part = aten._scaled_dot_product_efficient_attention_backward(
                part_grad, *heads, None, part_out, part_lse, seed, seed, 0.0, [True, True, True, False], causal,
                scale=scale,
            )[:3]  # fmt: skip
        else:
            part = aten._scaled_dot_product_flash_attention_for_cpu_backward(
                part_grad.contiguous(), *heads, part_out.contiguous(), lse[None, :, q].contiguous(), 0.0, causal,
                scale=scale,
            )  # fmt: skip
        for whole, piece, rows in zip(grads, part, (q, k, k), strict=True):
            piece = piece[0].transpose(0, 1)
            whole[rows] += piece.reshape(piece.shape[0], whole.shape[1], -1, piece.shape[-1]).sum(2)
    return tuple(grads)


def _has_flash_kernel(query: Tensor) -> bool:
    # the kernel cannot be launched without queries, as when every completion is masked out
    return query.is_cuda and query.dtype in (torch.float16, torch.bfloat16) and len(query) > 0


def _expand_heads(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, H, D), (M, H_kv, D) twice -> (1, H, N or M, D) thrice, with each key head repeated for its query heads."""
    repeats = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(repeats, dim=1) if repeats > 1 else x for x in (key, value))
    return tuple(x.transpose(0, 1)[None] for x in (query, key, value))
