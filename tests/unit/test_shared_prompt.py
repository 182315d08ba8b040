"""The shared-prompt forward against TRL's own padded one, and its attention against a dense masked softmax."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch._dynamo.testing import CompileCounterWithBackend
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from arc_precision.training.shared_prompt import (
    SharedPromptAttention,
    compile_layers,
    pack,
    shared_prompt_logps,
    use_shared_prompt,
)

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))
N_PROMPT, N_COMPLETION, VOCABULARY = 24, 14, 97
# (group, prompt length, completion length) of each row; a completion length of 0 is one masked out as a whole
BATCHES = {
    "one group": [(0, 24, 14)] * 4,
    "unequal completions": [(0, 24, 14), (0, 24, 1), (0, 24, 9), (0, 24, 6)],
    "several groups": [(0, 24, 14), (0, 24, 5), (1, 7, 8), (1, 7, 13), (2, 2, 3), (2, 2, 14)],
    "groups in shuffled rows": [(1, 15, 4), (0, 24, 14), (1, 15, 14), (2, 9, 7), (0, 24, 2)],
    "truncated completions masked": [(0, 20, 14), (0, 20, 0), (1, 11, 0), (1, 11, 0), (2, 24, 6)],
    "groups of one": [(0, 13, 14), (1, 24, 3)],
}


def make_batch(rows: list[tuple[int, int, int]], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prompts = torch.randint(1, VOCABULARY, (len(rows), N_PROMPT), generator=generator)
    completions = torch.randint(1, VOCABULARY, (len(rows), N_COMPLETION), generator=generator)
    ids = torch.cat([prompts[[group for group, _, _ in rows]], completions], dim=1)
    mask = torch.zeros_like(ids)
    for row, (_, n_prompt, n_completion) in enumerate(rows):
        mask[row, N_PROMPT - n_prompt : N_PROMPT + n_completion] = 1
    return ids.masked_fill(mask == 0, 0), mask


def make_model(family: str = "llama", lora: bool = False, checkpointing: bool | None = None, dtype=torch.float32):
    torch.manual_seed(1)
    shape = dict(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=112, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.2, tie_word_embeddings=family == "qwen2",
    )  # fmt: skip
    model = LlamaForCausalLM(LlamaConfig(**shape)) if family == "llama" else Qwen2ForCausalLM(Qwen2Config(**shape))
    model = model.to(dtype)
    use_shared_prompt(model, autocast=False)
    add_fused_lm_head(model, temperature=0.8, outputs=("log_probs", "entropy"))
    if lora:
        model = get_peft_model(model, LoraConfig(r=2, lora_alpha=8, target_modules="all-linear", use_rslora=True))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
    if checkpointing is not None:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": checkpointing})
        model.enable_input_require_grads()
    return model.train()


def trl_logps(model, ids, mask, batch_size=None, autocast=nullcontext):
    trainer = SimpleNamespace(accelerator=SimpleNamespace(autocast=autocast))
    logps, entropies, _ = GRPOTrainer._get_per_token_logps_and_entropies.__wrapped__(
        trainer, model, ids, mask, N_COMPLETION, batch_size=batch_size, compute_entropy=True
    )
    return logps, entropies


def shared_logps(model, ids, mask, autocast=nullcontext):
    with autocast():
        return shared_prompt_logps(model, ids, mask, N_COMPLETION)


def gradients(model, logps, entropies) -> dict[str, torch.Tensor]:
    """Gradients of a loss with a different weight for every log-prob and entropy, scaled to largest entries of order
    1."""
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn(2, *logps.shape, generator=generator).to(logps.device) / logps.numel()
    model.zero_grad()
    (weights[0] * logps + weights[1] * entropies).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


def assert_equal_to_plain(model, ids, mask):
    results = [forward(model, ids, mask) for forward in (trl_logps, shared_logps)]
    plain, shared = ((*result, gradients(model, *result)) for result in results)
    torch.testing.assert_close(shared, plain, atol=1e-5, rtol=1e-5)
    assert any(gradient.abs().max() > 1e-2 for gradient in plain[2].values())


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("rows", BATCHES.values(), ids=BATCHES.keys())
def test_equals_the_plain_path(rows, lora, device):
    ids, mask = (x.to(device) for x in make_batch(rows))
    assert_equal_to_plain(make_model(lora=lora).to(device), ids, mask)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_equals_the_plain_path_with_gradient_checkpointing(lora, reentrant):
    ids, mask = make_batch(BATCHES["several groups"])
    assert_equal_to_plain(make_model(lora=lora, checkpointing=reentrant), ids, mask)


def test_equals_the_plain_path_for_qwen2_with_biases_and_tied_embeddings():
    ids, mask = make_batch(BATCHES["several groups"])
    assert_equal_to_plain(make_model("qwen2", lora=True), ids, mask)


def test_reference_log_probs_with_the_adapter_off():
    ids, mask = make_batch(BATCHES["several groups"])
    model = make_model(lora=True)
    with torch.no_grad():
        policy, _ = shared_logps(model, ids, mask)
        with model.disable_adapter():
            reference = shared_logps(model, ids, mask)
            plain = trl_logps(model, ids, mask)
    torch.testing.assert_close(reference, plain, atol=1e-5, rtol=1e-5)
    assert (policy - reference[0]).abs().max() > 1e-2


def test_compiled_layers_compute_the_same_with_compilations_shared_by_all_layers_and_lengths():
    model = make_model(lora=True, checkpointing=False)
    counter = CompileCounterWithBackend("aot_eager")
    compilations = []

    def passes(rows: list[tuple[int, int, int]]) -> list:
        ids, mask = make_batch(rows)
        with torch.no_grad(), model.disable_adapter():
            reference = shared_logps(model, ids, mask)
        policy = shared_logps(model, ids, mask)
        compilations.append(counter.frame_count)
        return [reference, policy, gradients(model, *policy)]

    plain = [passes(rows) for rows in BATCHES.values()]
    names = list(model.state_dict())
    torch.compiler.reset()
    compile_layers(model, backend=counter)
    compiled = [passes(rows) for rows in BATCHES.values()]
    assert list(model.state_dict()) == names
    torch.testing.assert_close(compiled, plain, atol=1e-5, rtol=1e-5)
    first, *others = compilations[len(BATCHES) :]
    assert (
        set(others) == {first} and 0 < first <= 12
    )  # attention splits a layer into 4 graphs, and the policy's and the reference's pass differ


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_batch_with_every_completion_masked_gives_a_differentiable_zero(dtype, device):
    ids, mask = (x.to(device) for x in make_batch([(0, 20, 0), (0, 20, 0), (1, 9, 0)]))
    model = make_model(lora=True, dtype=dtype).to(device)
    logps, entropies = shared_logps(model, ids, mask)
    assert not logps.any() and not entropies.any()
    assert not any(gradient.any() for gradient in gradients(model, logps, entropies).values())


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("weights", ["half", "float32"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_is_as_close_to_float32_as_the_plain_path(dtype, weights, device):
    exact_model = make_model(lora=True, dtype=dtype).to(torch.float32).to(device)
    model = make_model(lora=True, dtype=dtype)
    model = (model if weights == "half" else model.to(torch.float32)).to(device)

    def autocast():
        return torch.autocast(device, dtype)

    error = {"plain": torch.zeros(3), "shared": torch.zeros(3)}
    rows = [(group, 24 - 5 * group, length) for group in range(4) for length in (14, 9, 14, 3)]
    for seed in range(4):
        ids, mask = (x.to(device) for x in make_batch(rows, seed))
        exact = trl_logps(exact_model, ids, mask)
        exact_gradients = gradients(exact_model, *exact)
        for name, forward in {"plain": trl_logps, "shared": shared_logps}.items():
            result = forward(model, ids, mask, autocast=autocast)
            assert all(x.dtype == torch.float32 for x in result)
            grads = gradients(model, *result)
            logps, entropies = ((a - b).abs().mean().item() for a, b in zip(result, exact, strict=True))
            distance = sum((grads[key] - g).square().sum().item() for key, g in exact_gradients.items()) ** 0.5
            error[name] += torch.tensor([logps, entropies, distance])
    assert (error["plain"] > 0).all()
    assert (error["shared"] < 1.15 * error["plain"]).all(), error


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_differs_no_more_than_the_plain_path_between_two_batch_sizes(dtype, device):
    """A larger batch holds a longer prompt, which changes the padding of the other rows and shifts their positions."""
    rows = [(group, 14, length) for group in range(4) for length in (14, 9, 14, 3)]
    model = make_model(lora=True, dtype=dtype).to(device)

    def autocast():
        return torch.autocast(device, dtype)

    packed_from_plain, plain_from_larger_plain = [], []
    for seed in range(4):
        ids, mask = (x.to(device) for x in make_batch([*rows, (4, 24, 14)], seed))
        larger, _ = trl_logps(model, ids, mask, autocast=autocast)
        ids, mask = ids[:-1, 10:], mask[:-1, 10:]
        plain, _ = trl_logps(model, ids, mask, autocast=autocast)
        packed, _ = shared_logps(model, ids, mask, autocast=autocast)
        packed_from_plain.append((packed - plain).abs().mean())
        plain_from_larger_plain.append((larger[:-1] - plain).abs().mean())
    assert 0 < sum(packed_from_plain) <= sum(plain_from_larger_plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_forward_passes_of_the_model_compute_what_they_did(dtype):
    ids, mask = make_batch(BATCHES["several groups"])
    model = make_model(lora=True, dtype=dtype)
    results = []
    for prepare in (lambda: model.set_attn_implementation("sdpa"), lambda: use_shared_prompt(model, autocast=True)):
        prepare()
        with torch.autocast("cpu", torch.bfloat16):
            result = trl_logps(model, ids, mask)
        results.append([*result, *gradients(model, *result).values()])
    assert all(torch.equal(before, after) for before, after in zip(*results, strict=True))


def test_each_prompt_is_packed_once_and_padding_never():
    ids, mask = make_batch(BATCHES["groups in shuffled rows"])
    batch = pack(ids, mask, N_COMPLETION)
    assert batch.layout.n_prefix_tokens == 14 + 23 + 8
    assert batch.input_ids.shape == (1, 14 + 23 + 8 + int(mask[:, N_PROMPT:].sum()))
    # row 1 is the first of its group, whose completions follow the 4 + 14 tokens of the other group's
    first = 14 + 23 + 8 + 4 + 14
    assert batch.input_ids[0, first : first + 14].tolist() == ids[1, N_PROMPT - 1 : -1].tolist()
    assert batch.position_ids[0, first : first + 14].tolist() == list(range(23, 37))
    assert batch.labels[0, first : first + 14].tolist() == ids[1, N_PROMPT:].tolist()


@pytest.mark.parametrize(
    "device, dtype, tolerance",
    [
        ("cpu", torch.float64, 1e-12),
        ("cpu", torch.float32, 2e-6),
        pytest.param(*CUDA.values, torch.float32, 1e-5, marks=CUDA.marks),
        pytest.param(*CUDA.values, torch.float16, 1e-2, marks=CUDA.marks),
    ],
)
def test_attention_equals_a_dense_masked_softmax(device, dtype, tolerance):
    ids, mask = make_batch(BATCHES["groups in shuffled rows"] + [(0, 24, 0), (1, 15, 9)])
    layout = pack(ids.to(device), mask.to(device), N_COMPLETION).layout
    n, total = layout.n_prefix_tokens, layout.own.query[-1]
    allowed = torch.zeros(total, total, dtype=torch.bool)
    for query, _ in layout.own:
        allowed[query, query] = True
    allowed.tril_()
    for query, key in layout.shared:
        allowed[query.start + n : query.stop + n, key] = True

    generator = torch.Generator().manual_seed(3)
    shapes = [(total, 4, 32), (total, 2, 32), (total, 2, 32), (total, 4, 32)]
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    results = []
    for where, kind in ((device, dtype), ("cpu", torch.float64)):
        query, key, value, grad = (x.to(where, kind).requires_grad_() for x in inputs)
        if kind == torch.float64 and results:
            scores = torch.einsum("qhd,khd->hqk", query, key.repeat_interleave(2, 1)) * 0.3
            weights = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
            out = torch.einsum("hqk,khd->qhd", weights, value.repeat_interleave(2, 1))
        else:
            out = SharedPromptAttention.apply(query, key, value, layout, 0.3)
        results.append([x.cpu().double() for x in (out, *torch.autograd.grad(out, (query, key, value), grad))])
    torch.testing.assert_close(*results, atol=tolerance, rtol=tolerance)


def test_refuses_what_it_cannot_compute():
    ids, mask = make_batch(BATCHES["one group"])
    model = make_model()
    with pytest.raises(ValueError, match="prompt of row 2 has 1 token"):
        shared_logps(model, *make_batch([(0, 24, 3), (0, 24, 3), (1, 1, 3)]))
    gap = mask.clone()
    gap[1, N_PROMPT + 3] = 0
    with pytest.raises(ValueError, match="gaps"):
        shared_logps(model, ids, gap)
    model.config.attention_dropout = model.model.layers[0].self_attn.attention_dropout = 0.1
    with pytest.raises(ValueError, match="dropout"):
        shared_logps(model, ids, mask)
    model.set_attn_implementation("eager")
    with pytest.raises(ValueError, match="call use_shared_prompt"):
        shared_logps(model, ids, mask)


def test_a_sliding_window_counts_only_where_it_is_shorter_than_the_sequences():
    ids, mask = make_batch([(0, 24, 14), (0, 24, 9), (1, 11, 14)])

    def mistral(window):
        torch.manual_seed(1)
        shape = dict(
            vocab_size=VOCABULARY, hidden_size=64, intermediate_size=112, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.2, sliding_window=window,
        )  # fmt: skip
        model = MistralForCausalLM(MistralConfig(**shape))
        use_shared_prompt(model, autocast=False)
        add_fused_lm_head(model, temperature=0.8, outputs=("log_probs", "entropy"))
        return model

    assert_equal_to_plain(mistral(37), ids, mask)
    with pytest.raises(ValueError, match="sliding_window"):
        shared_logps(mistral(36), ids, mask)
    # From a window of 36 the last token that predicts one does not see the first.
    assert not torch.equal(trl_logps(mistral(36), ids, mask)[0], trl_logps(mistral(37), ids, mask)[0])
