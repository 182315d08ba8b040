"""The mismatch by cause: planted causes are found, and the parts sum to the whole."""

import numpy as np
import pandas as pd
import pytest

from arc_precision.mismatch.chain import (
    Setting,
    available_orders,
    cause_table,
    chain_steps,
    counterfactual_table,
    observed_causes,
    settings_along,
    shares_of_variance,
)
from arc_precision.mismatch.number_format import dtype_and_head, number_format, with_float32_head
from arc_precision.mismatch.processing import processed_logprobs

SHAPE = (16, 50)
VOCABULARY = 64
FLOAT32_NOISE = 1e-6


def rounded(x, significand_bits):
    """x rounded to this many significand bits: 8 is bfloat16, 11 float16 (in its normal range), 24 float32."""
    fraction, exponent = np.frexp(x)
    return np.ldexp(np.round(fraction * 2**significand_bits) / 2**significand_bits, exponent)


def log_softmax_of(logits, tokens):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return np.take_along_axis(log_probs, tokens[..., None], axis=-1)[..., 0]


class Engines:
    """Two engines that score the same tokens. Without a planted cause they differ by float32 noise only."""

    def __init__(self, seed=0, dtype="bfloat16", merged=False):
        self.rng = np.random.default_rng(seed)
        self.hidden = self.rng.normal(size=(*SHAPE, 32))
        self.head = self.rng.normal(size=(32, VOCABULARY)) / 4
        # A rank-1 adapter, small beside the base weights, as in the first steps of a run.
        self.adapter = 3e-3 * np.outer(self.rng.normal(size=32), self.rng.normal(size=VOCABULARY))
        self.tokens = self.rng.integers(0, VOCABULARY, SHAPE)
        self.mask = np.arange(SHAPE[1]) < self.rng.integers(20, SHAPE[1] + 1, (SHAPE[0], 1))
        self.start, self.causes = observed_causes(dtype, dtype, merged)
        self.path = settings_along(self.start, self.causes)

    def scored(self, planted):
        """Log-probs for the settings of the stated path; `planted` is one of the names of the causes, or None."""
        return {setting: self.score(setting, planted).astype(np.float32) for setting in self.path}

    def score(self, setting, planted):
        half = setting.dtype != "float32"
        merged_weights = self.head + self.adapter
        if planted == "merge" and setting.adapter == "merged":
            merged_weights = rounded(merged_weights, 8)
        logits = self.hidden @ merged_weights
        engine_rounds = {"trainer": "trainer_rounding", "sampler": "sampler_rounding"}[setting.engine]
        if half and planted == engine_rounds:
            logits = rounded(logits, 8)
        if planted == "engine" and setting.engine == "sampler":
            logits = logits + 0.02 * np.sin(7 * logits)
        if planted == "decode" and setting.phase == "decode":
            logits = logits + np.random.default_rng(1).normal(0, 0.02, logits.shape)
        logits = logits + self.rng.normal(0, FLOAT32_NOISE, logits.shape)
        return log_softmax_of(logits, self.tokens)


@pytest.mark.parametrize("planted", ["trainer_rounding", "engine", "sampler_rounding", "merge", "decode"])
def test_a_planted_cause_gets_the_variance(planted):
    engines = Engines(merged=True)
    table = cause_table(engines.scored(planted), engines.start, engines.causes, engines.mask)
    assert table.loc[planted, "share"] >= 0.9
    assert table.loc["total", "mean_abs"] > 1e-3
    others = table.drop(index=[planted, "total"])
    assert others["mean_abs"].max() < 1e-5
    assert others["share"].abs().max() < 0.1


def test_the_chain_sums_to_d_token_by_token_to_the_last_bit():
    """Log-probs of many sizes, from 1e-9 (an almost certain token) to 1e3."""
    engines = Engines(merged=True)
    rng = np.random.default_rng(0)
    scored = {setting: (-(10 ** rng.uniform(-9, 3, SHAPE))).astype(np.float32) for setting in engines.path}
    steps = chain_steps(scored, engines.start, engines.causes, engines.mask).to_numpy()
    assert len(steps) == engines.mask.sum()
    forward, backward = steps[:, 0].copy(), steps[:, -1].copy()
    for i in range(1, steps.shape[1]):
        forward += steps[:, i]
        backward += steps[:, -1 - i]
    assert (forward == backward).all()
    first, last = (scored[engines.path[i]].astype(np.float64)[engines.mask] for i in (0, -1))
    assert np.abs(forward - (first - last)).max() <= 1e-12
    # float32 log-probs beyond 1e-5 lie on the grid themselves: there the sum is d.
    on_grid = (np.abs(first) > 1e-5) & (np.abs(last) > 1e-5)
    assert on_grid.sum() > 50
    assert (forward == first - last)[on_grid].all()


def test_signs_by_hand():
    start, causes = observed_causes("bfloat16", "bfloat16", merged=False)
    values = dict(zip(settings_along(start, causes), (-1.0, -1.25, -1.5, -1.375, -2.0), strict=True))
    scored = {setting: np.array([[value]]) for setting, value in values.items()}
    steps = chain_steps(scored, start, causes, np.array([[1]]))
    assert steps.iloc[0].to_dict() == {
        "trainer_rounding": 0.25,
        "engine": 0.25,
        "sampler_rounding": -0.125,
        "decode": 0.625,
    }


def test_the_stated_path():
    start, causes = observed_causes("float16", "bfloat16", merged=True)
    assert [tuple(setting) for setting in settings_along(start, causes)] == [
        ("trainer", "float16", "applied", "prefill", "plain"),
        ("trainer", "float32", "applied", "prefill", "plain"),
        ("sampler", "float32", "applied", "prefill", "plain"),
        ("sampler", "bfloat16", "applied", "prefill", "plain"),
        ("sampler", "bfloat16", "merged", "prefill", "plain"),
        ("sampler", "bfloat16", "merged", "decode", "plain"),
    ]
    assert [cause.name for cause in observed_causes("float16", "float16", merged=False)[1]] == [
        "trainer_rounding",
        "engine",
        "sampler_rounding",
        "decode",
    ]


def test_a_head_apart_is_a_switch_of_its_own_on_each_side():
    start, causes = observed_causes("float16", "bfloat16", merged=None, head_apart=True)
    assert [(cause.name, cause.value) for cause in causes] == [
        ("trainer_head", "float16-float32-head"),
        ("trainer_rounding", "float32"),
        ("engine", "sampler"),
        ("sampler_rounding", "bfloat16-float32-head"),
        ("sampler_head", "bfloat16"),
        ("decode", "decode"),
    ]
    start, causes = observed_causes("float16-float32-head", "float32", merged=None, head_apart=True)
    assert not any("head" in cause.name for cause in causes)


@pytest.mark.parametrize("form", ["float32", "float16", "bfloat16", "float16-float32-head", "bfloat16-float32-head"])
def test_number_formats_are_told_apart_again(form):
    assert number_format(*dtype_and_head(form)) == form
    assert number_format("float32", "float32") == "float32"
    assert with_float32_head(form) == (
        form if form.endswith("32-head") or form == "float32" else f"{form}-float32-head"
    )


def names(orders):
    return [[cause.name for cause in order] for order in orders]


def test_with_one_dtype_the_settings_of_the_stated_path_allow_two_more_orders():
    start, causes = observed_causes("bfloat16", "bfloat16", merged=False)
    scored = {setting: None for setting in settings_along(start, causes)}
    assert names(available_orders(scored, start, causes)) == [
        ["trainer_rounding", "engine", "sampler_rounding", "decode"],
        ["trainer_rounding", "sampler_rounding", "engine", "decode"],
        ["engine", "trainer_rounding", "sampler_rounding", "decode"],
    ]


def test_with_two_dtypes_other_orders_need_crossed_settings():
    start, causes = observed_causes("bfloat16", "float16", merged=False)
    scored = {setting: None for setting in settings_along(start, causes)}
    assert len(available_orders(scored, start, causes)) == 1
    scored[Setting("sampler", "bfloat16", "applied", "prefill")] = None
    assert names(available_orders(scored, start, causes))[1:] == [
        ["engine", "trainer_rounding", "sampler_rounding", "decode"]
    ]


@pytest.mark.parametrize("dtypes", [("bfloat16", "float32"), ("float32", "float16"), ("float32", "float32")])
def test_a_side_in_float32_has_no_rounding_and_the_other_keeps_its_own(dtypes):
    """An order through the other engine's rounding would charge rounding to a side that does not round."""
    start, causes = observed_causes(*dtypes, merged=False)
    rng = np.random.default_rng(0)
    scored = {
        Setting(engine, dtype, "applied", phase): rng.normal(size=(4, 50))
        for engine in ("trainer", "sampler")
        for dtype in ("float32", "float16", "bfloat16")
        for phase in ("prefill", "decode")
    }
    assert names(available_orders(scored, start, causes)) == [[cause.name for cause in causes]]
    table = cause_table(scored, start, causes, np.ones((4, 50)))
    for name, dtype in zip(("trainer_rounding", "sampler_rounding"), dtypes, strict=True):
        lowest, highest = table.loc[name, ["share_lowest", "share_highest"]]
        assert lowest == highest
        assert (highest == 0) == (dtype == "float32")


def test_a_missing_setting_is_named():
    start, causes = observed_causes("bfloat16", "bfloat16", merged=False)
    scored = {setting: None for setting in settings_along(start, causes)[:-1]}
    with pytest.raises(ValueError, match="phase='decode'"):
        available_orders(scored, start, causes)


def test_shares_that_do_not_depend_on_the_order_stay_and_those_that_do_move():
    engines = Engines()
    table = cause_table(engines.scored("decode"), engines.start, engines.causes, engines.mask)
    assert (table["share_highest"] - table["share_lowest"]).iloc[:-1].max() < 0.01
    assert table.loc["decode", "share_reversed"] >= 0.9
    # Rounding in the sampler alone is at once "rounding" and "the engines differ in half precision".
    table = cause_table(engines.scored("sampler_rounding"), engines.start, engines.causes, engines.mask)
    assert table.loc["sampler_rounding", "share"] >= 0.9
    assert table.loc["engine", "share"] < 0.1
    assert table.loc["engine", "share_reversed"] >= 0.9
    assert table.loc["sampler_rounding", "share_lowest"] < 0.1
    for column in ("share", "share_reversed"):
        assert table[column].iloc[:-1].sum() == pytest.approx(1)
        assert table.loc["total", column] == pytest.approx(1)


def test_shares_of_independent_causes_are_their_variances():
    rng = np.random.default_rng(0)
    start, causes = observed_causes("bfloat16", "bfloat16", merged=False)
    logp, scored = -rng.exponential(1.0, (100, 400)), {}
    scored[start] = logp
    for setting, sd in zip(settings_along(start, causes)[1:], (0.01, 0.02, 0.04, 0.02), strict=True):
        logp = logp + rng.normal(0, sd, logp.shape)
        scored[setting] = logp
    table = cause_table(scored, start, causes, np.ones_like(logp))
    assert table["share"].tolist() == pytest.approx([1 / 25, 4 / 25, 16 / 25, 4 / 25, 1], abs=0.02)
    assert table.loc["engine", "mean_abs"] == pytest.approx(0.02 * np.sqrt(2 / np.pi), rel=0.02)


def test_a_cause_that_shifts_every_token_alike_shows_in_the_mean_alone():
    start, causes = observed_causes("float16", "float16", merged=False)
    noise = np.random.default_rng(0).normal(0, 0.01, SHAPE)
    path = settings_along(start, causes)
    scored = dict(zip(path, (0 * noise - 1, noise - 1, noise - 1, noise - 1.5, noise - 1.5), strict=True))
    table = cause_table(scored, start, causes, np.ones(SHAPE))
    assert table.loc["sampler_rounding", "mean"] == pytest.approx(0.5)
    assert table.loc["sampler_rounding", "share"] == pytest.approx(0, abs=1e-9)


@pytest.mark.filterwarnings("error")
def test_no_mismatch_has_no_shares():
    engines = Engines()
    scored = {setting: np.full(SHAPE, -1.0) for setting in engines.path}
    table = cause_table(scored, engines.start, engines.causes, engines.mask)
    assert table["share"].isna().all()
    assert (table["mean_abs"] == 0).all()


@pytest.mark.filterwarnings("error")
def test_nonfinite_tokens_are_counted():
    engines = Engines()
    scored = engines.scored("decode")
    token = tuple(np.argwhere(engines.mask)[0])
    scored[engines.path[1]][token] = scored[engines.path[2]][token] = -np.inf
    table = cause_table(scored, engines.start, engines.causes, engines.mask)
    assert (table["nonfinite_count"] == 1).all()
    assert (table["token_count"] == engines.mask.sum()).all()
    assert np.isfinite(table["mean"]).all()


# --- effects of truncation and penalties -----------------------------------------------------------------------------


def test_without_processing_it_is_a_log_softmax():
    rng = np.random.default_rng(0)
    logits, tokens = rng.normal(size=(5, 20)).astype(np.float32), rng.integers(0, 20, 5)
    expected = log_softmax_of(logits.astype(np.float64), tokens)
    np.testing.assert_allclose(processed_logprobs(logits, tokens, np.array([3])), expected, atol=1e-12)


def test_top_p_by_hand():
    logits = np.log([[0.5, 0.3, 0.15, 0.05]] * 4)
    logp = processed_logprobs(logits, np.arange(4), np.array([], dtype=int), top_p=0.9)
    np.testing.assert_allclose(logp[:3], np.log(np.array([0.5, 0.3, 0.15]) / 0.95))
    assert logp[3] == -np.inf
    # At least one token stays.
    logp = processed_logprobs(logits, np.arange(4), np.array([], dtype=int), top_p=1e-9)
    assert logp.tolist() == [0, -np.inf, -np.inf, -np.inf]


def test_top_k_by_hand():
    logits = np.log([[0.5, 0.3, 0.15, 0.05]] * 4)
    logp = processed_logprobs(logits, np.arange(4), np.array([], dtype=int), top_k=2)
    np.testing.assert_allclose(np.exp(logp), [0.625, 0.375, 0, 0])
    # top_p counts among the tokens that top_k keeps: 0.625 alone reaches 0.6.
    logp = processed_logprobs(logits, np.arange(4), np.array([], dtype=int), top_k=2, top_p=0.6)
    assert logp.tolist() == [0, -np.inf, -np.inf, -np.inf]


def test_temperature_by_hand():
    logp = processed_logprobs(np.log([[0.8, 0.2]]), np.array([0]), np.array([], dtype=int), temperature=0.5)
    assert np.exp(logp[0]) == pytest.approx(0.64 / 0.68)


def test_repetition_penalty_by_hand():
    """Logits (2, -1, 0), penalty 2. First the prompt's token 1 is penalised, then also token 0, which was drawn."""
    logits = np.array([[2.0, -1.0, 0.0]] * 2)
    logp = processed_logprobs(logits, np.array([0, 0]), np.array([1]), repetition_penalty=2.0)
    assert logp[0] == pytest.approx(2 - np.log(np.exp([2, -2, 0]).sum()))
    assert logp[1] == pytest.approx(1 - np.log(np.exp([1, -2, 0]).sum()))


def test_the_penalty_comes_before_the_temperature_and_before_truncation():
    logits = np.array([[2.0, -1.0, 0.0]])
    logp = processed_logprobs(logits, np.array([0]), np.array([0, 1]), temperature=0.5, repetition_penalty=2.0)
    assert logp[0] == pytest.approx(2 - np.log(np.exp([2, -4, 0]).sum()))
    # Penalised, token 0 is no longer the most likely one.
    logp = processed_logprobs(np.array([[2.0, 1.5]]), np.array([0]), np.array([0]), top_k=1, repetition_penalty=2.0)
    assert logp[0] == -np.inf


def test_temperature_zero_is_refused():
    with pytest.raises(ValueError, match="temperature: 0"):
        processed_logprobs(np.zeros((1, 2)), np.array([0]), np.array([0]), temperature=0.0)


def sampled_from_nucleus(seed=0, top_p=0.95):
    """Logits (400, 64) and one token per row, drawn with top_p."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (400, VOCABULARY))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    tokens = np.empty(len(logits), dtype=int)
    for i, p in enumerate(probabilities):
        order = np.argsort(-p)
        nucleus = order[: np.searchsorted(np.cumsum(p[order]), top_p) + 1]
        tokens[i] = rng.choice(nucleus, p=p[nucleus] / p[nucleus].sum())
    return logits, tokens


def test_top_p_shifts_d_by_at_most_0_0513_nats():
    logits, tokens = sampled_from_nucleus()
    prompt = np.array([], dtype=int)
    full = processed_logprobs(logits, tokens, prompt)
    truncated = processed_logprobs(logits, tokens, prompt, top_p=0.95)
    shift = full - truncated  # of d, if the sampler truncates and the trainer does not
    assert np.isfinite(truncated).all()
    assert (shift <= 0).all()
    assert shift.min() >= np.log(0.95) - 1e-9
    assert shift.min() < -0.045


def test_counterfactual_table():
    logits, tokens = sampled_from_nucleus()
    prompt = np.array([], dtype=int)
    full = processed_logprobs(logits, tokens, prompt)[None]
    rng = np.random.default_rng(1)
    trainer, sampler = (full + rng.normal(0, 1e-4, full.shape) for _ in range(2))
    truncated = processed_logprobs(logits, tokens, prompt, top_p=0.95)[None]
    narrow = processed_logprobs(logits, tokens, prompt, top_p=0.3)[None]
    table = counterfactual_table(
        trainer,
        sampler,
        {"nothing": (full, full), "top_p 0.95": (full, truncated), "top_p 0.3": (full, narrow)},
        np.ones_like(full),
    )
    assert table.loc["nothing", ["shift_mean", "shift_abs_max", "share"]].tolist() == [0, 0, 0]
    row = table.loc["top_p 0.95"]
    assert row["shift_mean"] == pytest.approx((full - truncated).mean())
    assert row["shift_mean"] < 0
    assert row["shift_abs_mean"] == pytest.approx(-row["shift_mean"])
    assert 0.045 < row["shift_abs_max"] <= -np.log(0.95)
    assert row["share"] > 0.99
    assert row["never_drawn_count"] == 0
    assert table.loc["top_p 0.3", "never_drawn_count"] == np.isneginf(narrow).sum() > 0
    assert np.isfinite(table.to_numpy()).all()


def test_counterfactual_share_by_hand():
    """d = (1, -1), shift = (1, -1): the new d is (2, -2), and half of it is the shift."""
    table = counterfactual_table(
        np.array([[1.0, -1.0]]),
        np.zeros((1, 2)),
        {"shift": (np.array([[1.0, -1.0]]), np.zeros((1, 2)))},
        np.ones((1, 2)),
    )
    assert table.loc["shift", "share"] == pytest.approx(0.5)
    assert table.loc["shift", ["shift_mean", "shift_abs_mean", "shift_abs_max"]].tolist() == [0, 1, 1]


def test_shares_of_variance_by_hand():
    steps = pd.DataFrame({"a": [1.0, -1.0, 3.0], "b": [0.0, 0.0, -1.0]})
    # d = (1, -1, 2), mean 2/3, squares 1 + 1 + 4 - 4/3 = 14/3; a: 1 + 1 + 6 - 2 = 6; b: -2 + 2/3 = -4/3
    assert shares_of_variance(steps).tolist() == pytest.approx([6 / (14 / 3), (-4 / 3) / (14 / 3)])
