"""The sampler over transformers' `generate`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from arc_precision.config.sampling import SamplingConfig
from arc_precision.sampling.engines import Completion, completion_seed, dtype_names

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class StopStrings:
    """Tells transformers' `generate` to end a completion with the token that completes one of some texts.

    Special tokens are left out of the text, as where programs are read from it.
    """

    def __init__(self, stop: Sequence[str], tokenizer: "PreTrainedTokenizerBase", n_prompt_tokens: int) -> None:
        self._stop, self._tokenizer, self._n_prompt_tokens = stop, tokenizer, n_prompt_tokens
        self.lengths: dict[int, int] = {}
        """Tokens of the completions that a stop string has ended, by number in the batch."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs) -> torch.Tensor:
        drawn = input_ids[:, self._n_prompt_tokens :]
        for row, text in enumerate(self._tokenizer.batch_decode(drawn, skip_special_tokens=True)):
            if row not in self.lengths and any(stop in text for stop in self._stop):
                self.lengths[row] = drawn.shape[1]
        return torch.tensor([row in self.lengths for row in range(len(drawn))], device=input_ids.device)


class TransformersSampler:
    """transformers' plain `generate`, which does without vLLM. Slow; one seed per batch of completions."""

    def __init__(self, sampling: SamplingConfig, model_path: str, dtype: str, device: str) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

        self._sampling = sampling
        self._device = device
        self._model = AutoModelForCausalLM.from_pretrained(model_path, dtype=getattr(torch, dtype)).to(device).eval()
        self.dtype: torch.dtype = self._model.dtype
        self.observed = {
            "head_dtype": dtype_names({self.dtype}),
            "matrix_dtype": dtype_names({p.dtype for p in self._model.parameters() if p.dim() == 2}),
            "kv_cache_dtype": "auto",
            "batch_invariant": False,
        }
        # As in vLLM, a completion ends at the tokenizer's end token and at those of generation_config.
        own = self._model.generation_config.eos_token_id
        self._tokenizer = tokenizer = AutoTokenizer.from_pretrained(model_path)
        ends = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])} - {None}
        self._ends = sorted(ends)
        # Padding is masked, so any token will do; a token that ends a completion is never mistaken for text.
        self._pad = self._ends[0] if self._ends else 0
        # The model's other generation settings are ignored: only `sampling` decides how completions are drawn.
        self._model.generation_config = GenerationConfig(eos_token_id=self._ends or None, pad_token_id=self._pad)

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], slots: Sequence[int] | None = None
    ) -> list[Completion]:
        """See `Sampler.generate`. The whole batch draws from one generator, seeded from all seeds."""
        width = max(len(prompt) for prompt in prompts)
        ids = [[self._pad] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        greedy = self._sampling.temperature == 0
        stopped = StopStrings(self._sampling.stop, self._tokenizer, width)
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(completion_seed(*seeds))
            output = self._model.generate(
                input_ids=torch.tensor(ids, device=self._device),
                attention_mask=torch.tensor(mask, device=self._device),
                do_sample=not greedy,
                temperature=None if greedy else self._sampling.temperature,
                top_p=self._sampling.top_p,
                top_k=self._sampling.top_k,
                repetition_penalty=self._sampling.repetition_penalty,
                max_new_tokens=self._sampling.max_completion_tokens,
                stopping_criteria=[stopped] if self._sampling.stop else None,
                output_scores=True,
                return_dict_in_generate=True,
            )
        drawn = output.sequences[:, width:]
        scores = torch.stack(output.scores, dim=1).float().log_softmax(-1)
        logprobs = scores.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
        completions = []
        for row, (tokens, values) in enumerate(zip(drawn.tolist(), logprobs.tolist(), strict=True)):
            # `generate` pads completions that end before the longest of the batch
            length = next((i for i, token in enumerate(tokens, start=1) if token in self._ends), None)
            length = min((n for n in (length, stopped.lengths.get(row)) if n is not None), default=None)
            completions.append(Completion(tokens[:length], values[:length], length is None))
        return completions

    def prompt_logprobs(self, sequences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """See `Sampler.prompt_logprobs`."""
        width = max(len(sequence) for sequence in sequences)
        ids = torch.tensor([list(s) + [self._pad] * (width - len(s)) for s in sequences], device=self._device)
        mask = torch.tensor([[1] * len(s) + [0] * (width - len(s)) for s in sequences], device=self._device)
        with torch.inference_mode():
            logits = self._model(input_ids=ids, attention_mask=mask).logits
            return [
                row[: len(s) - 1].float().log_softmax(-1).gather(-1, tokens[1 : len(s), None])[:, 0].cpu().numpy()
                for s, row, tokens in zip(sequences, logits, ids, strict=True)
            ]

    def load_weights(self, weights: Iterator[tuple[str, torch.Tensor]]) -> None:
        """See `Sampler.load_weights`."""
        self._model.load_state_dict(dict(weights))

    def load_adapter(self, folder: Path, slot: int = 0) -> None:
        """See `Sampler.load_adapter`."""
        from peft import PeftModel

        if isinstance(self._model, PeftModel):
            self._model = self._model.unload()
        self._model = PeftModel.from_pretrained(self._model, folder).eval()
