"""Gaussian noise on vLLM's logits: a mismatch between sampler and trainer whose size is known."""

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from arc_precision.sampling.engines import completion_seed


class LogitNoise(AdapterLogitsProcessor):
    """Adds noise to all logits before a token is drawn.

    A request carries the standard deviation, in nats, as `extra_args["logit_noise"]`. The request's seed and the number
    of the token decide the noise, so the other requests of a batch and their order do not matter.
    """

    def __init__(self, vllm_config, device: torch.device, is_pin_memory: bool) -> None:
        super().__init__(vllm_config, device, is_pin_memory)
        self._generator = torch.Generator(device=device)

    def is_argmax_invariant(self) -> bool:
        """Noise changes which token is the likeliest."""
        return False

    def new_req_logits_processor(self, params: SamplingParams):
        """The function (ids of the tokens drawn so far, logits (V,)) -> logits (V,) of one request; None: no noise."""
        noise = (params.extra_args or {}).get("logit_noise", 0.0)
        if not noise:
            return None

        def add_noise(token_ids: list[int], logits: torch.Tensor) -> torch.Tensor:
            self._generator.manual_seed(completion_seed(params.seed, len(token_ids)))
            draws = torch.randn(logits.shape, generator=self._generator, device=logits.device, dtype=torch.float32)
            return logits + noise * draws.to(logits.dtype)

        return add_noise
