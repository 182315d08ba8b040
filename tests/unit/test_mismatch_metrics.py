"""The mismatch metrics against numbers worked out by hand, and against their mathematical properties."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import logsumexp

from arc_precision.mismatch.metric_dictionary import METRICS, with_metrics_table
from arc_precision.mismatch.metrics import (
    by_position,
    by_probability_decile,
    effective_share,
    mismatch_metrics,
    step_design_effect,
)

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
LN2 = np.log(2)


def example():
    """Two sequences of 2 and 1 tokens. Ratios: 2 and 1/2 in the first, 4 in the second."""
    sampler = np.log([[0.25, 0.5, 0.9], [0.2, 0.9, 0.9]])
    trainer = np.log([[0.50, 0.25, 0.1], [0.8, 0.1, 0.1]])
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    return trainer, sampler, mask


# d = (ln 2, -ln 2, 2 ln 2), r = (2, 1/2, 4); D = (0, 2 ln 2), R = (1, 4), D / n = (0, 2 ln 2).
BY_HAND = {
    "token_count": 3,
    "sequence_count": 2,
    "nonfinite_count": 0,
    "nonfinite_sequence_count": 0,
    "logp_diff_abs_mean": 4 / 3 * LN2,
    # mean 2/3 ln 2, mean square 6/3 ln² 2, so the variance is (2 - 4/9) ln² 2
    "logp_diff_std": np.sqrt(14 / 9) * LN2,
    # sorted |d| = ln 2 (1, 1, 2); the 95 % point lies at index 1.9
    "logp_diff_abs_p95": 1.9 * LN2,
    "logp_diff_abs_max": 2 * LN2,
    "kl_sampler_trainer_k1": -2 / 3 * LN2,
    "kl_sampler_trainer_k2": LN2**2,
    # ((2 - ln 2 - 1) + (1/2 + ln 2 - 1) + (4 - 2 ln 2 - 1)) / 3
    "kl_sampler_trainer_k3": (3.5 - 2 * LN2) / 3,
    "is_ratio_mean": 6.5 / 3,
    # mean square (4 + 1/4 + 16) / 3 = 6.75
    "is_ratio_std": np.sqrt(6.75 - (6.5 / 3) ** 2),
    "is_ratio_min": 0.5,
    "is_ratio_max": 4,
    "is_ratio_frac_outside_band": 1,
    "chi2_token": 5.75,
    "ess_token": (6.5 / 3) ** 2 / 6.75,
    # deviations of (0.5, 0.25, 0.8) and (0.25, 0.5, 0.2): covariance sum -0.0733, squares 0.1517 and 0.0517
    "probs_pearson": (0.41 - 1.55 * 0.95 / 3) / np.sqrt((0.9525 - 1.55**2 / 3) * (0.3525 - 0.95**2 / 3)),
    "token_mult_prob_error": 8 / 3,
    "seq_log_ratio_mean": LN2,
    "seq_log_ratio_std": LN2,
    "seq_log_ratio_min": 0,
    "seq_log_ratio_max": 2 * LN2,
    "ess_seq": 2.5**2 / 8.5,
    "chi2_seq": 8.5 / 2.5**2 - 1,
    "seq_log_sum_ratio": np.log(5),
    "seq_log_sum_ratio_sq": np.log(17),
    "seq_frac_masked": 0.5,
    "ppl_ratio": (1 + 0.25) / 2,
    "log_ppl_abs_diff": LN2,
}


def test_every_metric_has_a_hand_computed_value():
    assert list(BY_HAND) == [metric.key for metric in METRICS]


@pytest.mark.parametrize("key", BY_HAND)
def test_hand_computed(key):
    assert mismatch_metrics(*example())[key] == pytest.approx(BY_HAND[key], abs=1e-12)


def test_keys_and_order_are_those_of_the_dictionary():
    assert list(mismatch_metrics(*example())) == [metric.key for metric in METRICS]
    assert all(type(value) is float for value in mismatch_metrics(*example()).values())


def test_what_the_mask_leaves_out_is_never_read():
    trainer, sampler, mask = example()
    trainer[mask == 0] = np.nan
    sampler[mask == 0] = -np.inf
    assert mismatch_metrics(trainer, sampler, mask) == mismatch_metrics(*example())


def test_share_outside_the_band():
    d = np.log([[0.901, 1.0, 1.099, 0.899, 1.101]])
    assert mismatch_metrics(d - 3, np.full_like(d, -3.0), np.ones_like(d))["is_ratio_frac_outside_band"] == 0.4


def random_batches(count=50):
    rng = np.random.default_rng(0)
    for _ in range(count):
        shape = rng.integers(1, 9), rng.integers(2, 40)
        sampler = -rng.exponential(1.0, shape)
        trainer = sampler + rng.normal(0, 10 ** rng.uniform(-8, 1), shape)
        mask = np.arange(shape[1]) < rng.integers(1, shape[1] + 1, (shape[0], 1))
        yield trainer, sampler, mask


def test_k2_and_k3_are_never_negative():
    for trainer, sampler, mask in random_batches():
        metrics = mismatch_metrics(trainer, sampler, mask)
        assert metrics["kl_sampler_trainer_k2"] >= 0
        assert metrics["kl_sampler_trainer_k3"] >= 0


def test_a_swap_turns_the_sign_of_k1_and_the_log_ratio_and_leaves_what_is_symmetric():
    for trainer, sampler, mask in random_batches():
        there, back = mismatch_metrics(trainer, sampler, mask), mismatch_metrics(sampler, trainer, mask)
        for key in ("kl_sampler_trainer_k1", "seq_log_ratio_mean"):
            assert back[key] == -there[key]
        assert back["seq_log_ratio_min"] == -there["seq_log_ratio_max"]
        for key in ("logp_diff_abs_mean", "logp_diff_abs_max", "kl_sampler_trainer_k2", "token_mult_prob_error"):
            assert back[key] == there[key]


def test_the_direction_of_kl_is_sampler_to_trainer():
    """Tokens drawn from the sampler: k1 and k3 approach KL(sampler || trainer), not the other one."""
    p_sampler, p_trainer = np.array([0.5, 0.4, 0.1]), np.array([0.2, 0.3, 0.5])
    tokens = np.random.default_rng(0).choice(3, size=(50, 4000), p=p_sampler)
    metrics = mismatch_metrics(np.log(p_trainer)[tokens], np.log(p_sampler)[tokens], np.ones_like(tokens))
    forward = np.sum(p_sampler * np.log(p_sampler / p_trainer))
    reverse = np.sum(p_trainer * np.log(p_trainer / p_sampler))
    assert abs(forward - reverse) > 0.1
    for key in ("kl_sampler_trainer_k1", "kl_sampler_trainer_k3"):
        assert metrics[key] == pytest.approx(forward, abs=0.01)
    # The mean ratio under the sampler is 1, and chi2 is that of trainer from sampler.
    assert metrics["is_ratio_mean"] == pytest.approx(1, abs=0.02)
    assert metrics["chi2_token"] == pytest.approx(np.sum(p_trainer**2 / p_sampler) - 1, abs=0.1)


def test_equal_engines():
    sampler = -np.random.default_rng(0).exponential(1.0, (4, 30))
    metrics = mismatch_metrics(sampler, sampler, np.ones_like(sampler))
    ones = ("ess_token", "ess_seq", "is_ratio_mean", "token_mult_prob_error", "ppl_ratio", "is_ratio_min")
    assert all(metrics[key] == pytest.approx(1, abs=1e-12) for key in ones)
    assert metrics["probs_pearson"] == pytest.approx(1)
    counts = ("token_count", "sequence_count", "seq_log_sum_ratio", "seq_log_sum_ratio_sq")
    assert metrics["seq_log_sum_ratio"] == metrics["seq_log_sum_ratio_sq"] == pytest.approx(np.log(4))
    zero = set(metrics) - {*ones, *counts, "is_ratio_max", "probs_pearson"}
    assert all(metrics[key] == pytest.approx(0, abs=1e-12) for key in zero)


def test_effective_sample_size_is_one_for_equal_weights_and_never_more():
    sampler = -np.random.default_rng(0).exponential(1.0, (4, 30))
    metrics = mismatch_metrics(sampler + 0.3, sampler, np.ones_like(sampler))
    assert metrics["ess_token"] == pytest.approx(1)
    assert metrics["ess_seq"] == pytest.approx(1)
    for batch in random_batches():
        metrics = mismatch_metrics(*batch)
        assert 0 < metrics["ess_token"] <= 1 + 1e-12
        assert 0 < metrics["ess_seq"] <= 1 + 1e-12


@pytest.mark.parametrize("shift", [-1.0, -0.03, 0.0, 0.03, 1.0])
def test_effective_sample_size_does_not_depend_on_the_scale_of_the_ratios(shift):
    """With 1,024 tokens every D lies far beyond the clamp, so clamped weights would all be equal."""
    d = np.random.default_rng(0).normal(0, 0.05, (64, 1024))
    sampler = np.full_like(d, -6.0)
    weights = np.exp(d.sum(axis=1))
    metrics = mismatch_metrics(sampler + d + shift, sampler, np.ones_like(d))
    assert metrics["ess_seq"] == pytest.approx(weights.mean() ** 2 / np.square(weights).mean())
    assert metrics["ess_seq"] < 0.4
    assert metrics["chi2_seq"] == pytest.approx(1 / metrics["ess_seq"] - 1)
    far = mismatch_metrics(sampler + d + 50 * shift, sampler, np.ones_like(d))
    assert far["ess_token"] == pytest.approx(np.exp(d).mean() ** 2 / np.exp(2 * d).mean())


def test_the_effective_sample_size_of_many_steps_is_that_of_their_sequences_together():
    """Eight sequences a step cannot show an effective share below 1/8; pooled, the population's 0.077 comes near."""
    d = np.random.default_rng(0).normal(-0.02, 0.05, (400, 8, 1024))
    steps = [mismatch_metrics(each, np.zeros_like(each), np.ones_like(each)) for each in d]
    sums = [logsumexp([step[key] for step in steps]) for key in ("seq_log_sum_ratio", "seq_log_sum_ratio_sq")]
    pooled = effective_share(*sums, 3200)
    whole = d.reshape(3200, 1024)
    assert pooled == pytest.approx(mismatch_metrics(whole, np.zeros_like(whole), np.ones_like(whole))["ess_seq"])
    assert np.mean([step["ess_seq"] for step in steps]) > 0.35
    assert pooled == pytest.approx(np.exp(-1024 * 0.05**2), abs=0.06)


def test_at_small_noise_tokens_look_healthy_and_sequences_do_not():
    sampler = -np.random.default_rng(0).exponential(1.0, (400, 500))
    trainer = sampler + np.random.default_rng(1).normal(0, 0.05, sampler.shape)
    metrics = mismatch_metrics(trainer, sampler, np.ones_like(sampler))
    assert metrics["ess_token"] > 0.99
    # exp of a normal sum with variance 500 * 0.05² = 1.25: share of effective samples exp(-1.25)
    assert metrics["ess_seq"] == pytest.approx(np.exp(-1.25), abs=0.12)


def test_k3_keeps_its_digits_at_float32_noise():
    d = np.full((1, 10), 1e-6)
    assert mismatch_metrics(d, np.zeros_like(d), np.ones_like(d))["kl_sampler_trainer_k3"] == pytest.approx(
        5e-13, rel=1e-3
    )


def test_huge_differences_are_clamped_and_stay_finite():
    trainer, sampler = np.full((2, 3), -1000.0), np.full((2, 3), -1.0)
    trainer[0], sampler[0] = -1.0, -1000.0
    metrics = mismatch_metrics(trainer, sampler, np.ones((2, 3)))
    assert metrics["is_ratio_max"] == np.exp(20)
    assert metrics["is_ratio_min"] == np.exp(-20)
    assert metrics["ess_seq"] == pytest.approx(1 / 2)  # one of two sequences has all the weight
    assert metrics["chi2_seq"] == pytest.approx(1)
    assert metrics["seq_log_sum_ratio"] == 2997  # these are not finite either
    assert metrics["seq_log_ratio_max"] == 2997  # not clamped: nothing is exponentiated
    assert np.isfinite([value for key, value in metrics.items() if key != "probs_pearson"]).all()


@pytest.mark.filterwarnings("error")
def test_nonfinite_tokens_are_counted_and_spoil_only_their_own_sequence():
    trainer, sampler, mask = example()
    trainer[0, 1], sampler[0, 1] = -np.inf, -np.inf
    metrics = mismatch_metrics(trainer, sampler, mask)
    assert metrics["nonfinite_count"] == 1
    assert metrics["nonfinite_sequence_count"] == 1
    assert (metrics["token_count"], metrics["sequence_count"]) == (3, 2)
    assert metrics["kl_sampler_trainer_k1"] == pytest.approx(-1.5 * LN2)
    assert metrics["seq_log_ratio_mean"] == pytest.approx(2 * LN2)
    for value in (np.nan, np.inf):
        trainer[0, 0] = value
        assert mismatch_metrics(trainer, sampler, mask)["nonfinite_count"] == 2


@pytest.mark.filterwarnings("error")
def test_without_tokens_the_counts_are_zero_and_the_rest_is_undefined():
    trainer, sampler, _ = example()
    metrics = mismatch_metrics(trainer, sampler, np.zeros_like(trainer))
    assert metrics.pop("token_count") == metrics.pop("sequence_count") == 0
    assert metrics.pop("nonfinite_count") == metrics.pop("nonfinite_sequence_count") == 0
    assert np.isnan(list(metrics.values())).all()


@pytest.mark.filterwarnings("error")
def test_correlation_of_a_constant_is_undefined():
    trainer = np.log([[0.5, 0.5]])
    assert np.isnan(mismatch_metrics(trainer, trainer, np.ones((1, 2)))["probs_pearson"])


def test_an_empty_sequence_counts_nowhere():
    trainer, sampler, mask = example()
    more = [np.vstack([array, array[:1]]) for array in (trainer, sampler)]
    assert mismatch_metrics(*more, np.vstack([mask, [[0, 0, 0]]])) == mismatch_metrics(trainer, sampler, mask)


@pytest.mark.parametrize("function", [mismatch_metrics, by_position, by_probability_decile])
def test_shapes_must_agree(function):
    with pytest.raises(ValueError, match=r"logp_trainer \(2, 3\), logp_sampler \(2, 2\) and mask \(2, 3\)"):
        function(np.zeros((2, 3)), np.zeros((2, 2)), np.ones((2, 3)))


def test_by_position_by_hand():
    trainer, sampler, mask = example()
    profile = by_position(trainer, sampler, mask, bin_tokens=2)
    assert profile[["position_from", "position_to"]].to_numpy().tolist() == [[0, 2], [2, 3]]
    assert profile["token_count"].tolist() == [3, 0]
    first = profile.iloc[0]
    assert first["logp_diff_mean"] == pytest.approx(2 / 3 * LN2)
    assert first["logp_diff_abs_mean"] == pytest.approx(BY_HAND["logp_diff_abs_mean"])
    assert first["logp_diff_std"] == pytest.approx(BY_HAND["logp_diff_std"])
    assert first["logp_diff_abs_p95"] == pytest.approx(BY_HAND["logp_diff_abs_p95"])
    assert np.isnan(profile.loc[1, "logp_diff_abs_mean"])


def test_by_position_finds_a_drift():
    rng = np.random.default_rng(0)
    sampler = -rng.exponential(1.0, (20, 256))
    trainer = sampler + rng.normal(0, 1, sampler.shape) * np.linspace(0.01, 0.1, 256)
    profile = by_position(trainer, sampler, np.ones_like(sampler))
    assert profile["logp_diff_abs_mean"].is_monotonic_increasing
    assert len(profile) == 4


def test_by_probability_decile_by_hand():
    sampler = np.log([[0.05, 0.36, 1.0, 0.36]])
    trainer = np.log([[0.05, 0.16, 1.0, 0.36]])
    profile = by_probability_decile(trainer, sampler, np.array([[1, 1, 1, 1]]))
    # The second token's place is sqrt(0.36 * 0.16) = 0.24.
    assert profile["token_count"].tolist() == [1, 0, 1, 1, 0, 0, 0, 0, 0, 1]
    assert profile.loc[2, "logp_diff_mean"] == pytest.approx(np.log(0.16 / 0.36))
    assert profile.loc[2, "probability_from"] == 0.2
    assert profile.loc[2, "probability_to"] == pytest.approx(0.3)


def test_by_probability_shows_no_slope_where_there_is_only_noise():
    rng = np.random.default_rng(0)
    true = -rng.exponential(1.0, (200, 500))
    sampler, trainer = (true + rng.normal(0, 0.3, true.shape) for _ in range(2))
    profile = by_probability_decile(trainer, sampler, np.ones_like(true))
    assert profile["logp_diff_mean"].abs().max() < 0.02


@pytest.mark.filterwarnings("error")
def test_profiles_count_nonfinite_tokens_apart():
    trainer, sampler, mask = example()
    trainer[0, 1] = -np.inf
    for profile in (by_position(trainer, sampler, mask), by_probability_decile(trainer, sampler, mask)):
        assert profile["token_count"].sum() == 3
        assert profile["nonfinite_count"].sum() == 1
        assert np.isfinite(profile["logp_diff_abs_mean"].dropna()).all()


def test_the_document_shows_the_current_dictionary():
    document = DOCS.read_text(encoding="utf-8")
    assert document == with_metrics_table(document), (
        "docs/metrics.md is out of step: "
        "PYTHONPATH=workflow python -m arc_precision.mismatch.metric_dictionary docs/metrics.md"
    )
    assert all(f"| `{metric.key}` |" in document for metric in METRICS)


def design_effect(errors):
    """The design effect of D (steps, sequences), from the values in a step's row."""
    return step_design_effect(errors.mean(axis=1), errors.std(axis=1), np.full(len(errors), errors.shape[1]))


@pytest.mark.parametrize(("shared", "expected"), [(0.0, 1.0), (0.1, 7.3), (0.5, 32.5), (0.9, 57.7)])
def test_the_design_effect_of_steps_is_that_of_kish(shared, expected):
    """Errors of a step's 64 sequences with correlation ρ: 1 + 63 ρ."""
    rng = np.random.default_rng(0)
    own, common = rng.normal(size=(20_000, 64)), rng.normal(size=(20_000, 1))
    errors = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    assert design_effect(errors) == pytest.approx(expected, rel=0.05)


def test_what_goes_slowly_up_and_errors_of_any_size_are_no_common_error():
    rng = np.random.default_rng(1)
    errors = rng.normal(size=(5_000, 64)) * 3.0
    assert design_effect(errors + np.linspace(0, 100, 5_000)[:, None]) == pytest.approx(1, rel=0.05)


def test_the_design_effect_by_hand_and_where_there_is_none():
    """Means 0, 2, 1; variances of the means 1/3, 1/3, 4/3: F = (4 + 1) / (2/3 + 5/3) = 15/7; F / (1 + (F - 1) / 4)."""
    assert step_design_effect([0, 2, 1], [1, 1, 2], [4, 4, 4]) == pytest.approx(5 / 3)
    assert step_design_effect([0, np.nan, 2, 1], [1, 1, 1, 2], [4, 4, 4, 4]) == pytest.approx(5 / 3)
    assert step_design_effect([0, 9, 2, 1], [1, 0, 1, 2], [4, 1, 4, 4]) == pytest.approx(5 / 3)
    assert np.isnan(step_design_effect([1], [1], [4])) and np.isnan(step_design_effect([1, 2], [0, 0], [4, 4]))
