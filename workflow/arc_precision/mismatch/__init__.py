"""The training-inference mismatch: measured (`metrics`) and split by cause (`chain`).

Everything here is a pure function of log-probabilities. Throughout, per token,

    d = log p_trainer - log p_sampler

always trainer minus sampler, and a KL divergence is always KL(sampler || trainer), because the sampler drew the tokens.
"""
