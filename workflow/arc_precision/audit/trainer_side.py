"""The trainer's side of the audit: log-probs as the training loss computes them, in any dtype."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor
from trl.trainer.utils import add_fused_lm_head

from arc_precision.audit.audited import Audited, batches
from arc_precision.config.audit import AuditTrainerSlice
from arc_precision.model.folder import is_whole
from arc_precision.training.base_model import load_base
from arc_precision.training.shared_prompt import shared_prompt_logps, use_shared_prompt
from arc_precision.training.torch_determinism import use_deterministic_algorithms


class Policy:
    """A checkpoint's policy under autocast to one dtype: the base model in that dtype and an adapter in float32, or all
    weights in float32.

    Dropout is off and no layer is compiled, unlike in the loss of a run that uses either.
    """

    def __init__(self, slice: AuditTrainerSlice, model: Path, checkpoint: Path) -> None:
        if slice.deterministic:
            use_deterministic_algorithms()
        whole = is_whole(checkpoint)
        base = load_base(checkpoint, "float32", False) if whole else load_base(model, slice.dtype, slice.load_in_4bit)
        base.to(slice.device)
        add_fused_lm_head(base, cast_lm_head_to_fp32=slice.head == "float32")
        self._model = (base if whole else PeftModel.from_pretrained(base, checkpoint)).eval()
        self._slice = slice
        autocast = slice.dtype != "float32"
        if slice.shared_prompt:
            use_shared_prompt(self._model, autocast)
        self._autocast = torch.autocast(slice.device, dtype=getattr(torch, slice.dtype), enabled=autocast)
        self._pad = base.config.pad_token_id or 0  # padding is masked, so any token will do

    @torch.inference_mode()
    def logprobs(self, completions: Sequence[Audited], batch_size: int) -> list[np.ndarray]:
        """Log-probs (T,) of each completion at temperature 1, `batch_size` completions per forward pass."""
        logprobs = []
        for batch in batches(completions, batch_size):
            ids, mask = self._padded(batch)
            n = max(len(c.token_ids) for c in batch)
            values = self._forward(ids, mask, n).cpu().numpy()
            logprobs += [row[: len(c.token_ids)] for c, row in zip(batch, values, strict=True)]
        return logprobs

    @torch.inference_mode()
    def logits(self, completions: Sequence[Audited]) -> Iterator[np.ndarray]:
        """The logits (T, V) before each completion's tokens, one completion at a time."""
        for c in completions:
            ids = torch.tensor([c.prompt_ids + c.token_ids], device=self._slice.device)
            with self._autocast:
                logits = self._model(input_ids=ids, logits_to_keep=len(c.token_ids) + 1).logits
            yield logits[0, :-1].float().cpu().numpy()

    def _forward(self, ids: Tensor, mask: Tensor, n_completion_tokens: int) -> Tensor:
        with self._autocast:
            if self._slice.shared_prompt:
                return shared_prompt_logps(self._model, ids, mask, n_completion_tokens)[0]
            labels = ids.masked_fill(mask == 0, -100)
            labels[:, :-n_completion_tokens] = -100
            output = self._model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
            return output.log_probs[:, -n_completion_tokens:]

    def _padded(self, batch: Sequence[Audited]) -> tuple[Tensor, Tensor]:
        """Token ids and mask (B, P + C), as TRL pads them: prompts on the left, completions on the right."""
        n_prompt = max(len(c.prompt_ids) for c in batch)
        n_completion = max(len(c.token_ids) for c in batch)
        ids = torch.full((len(batch), n_prompt + n_completion), self._pad)
        mask = torch.zeros_like(ids)
        for row, c in enumerate(batch):
            span = slice(n_prompt - len(c.prompt_ids), n_prompt + len(c.token_ids))
            ids[row, span] = torch.tensor(c.prompt_ids + c.token_ids)
            mask[row, span] = 1
        return ids.to(self._slice.device), mask.to(self._slice.device)
