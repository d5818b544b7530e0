"""Intervals, compared with those of scipy where it has such a test, and with simulations of known truth."""

import numpy as np
import pytest
from scipy import stats

from lkca.errors import DataError, StaleInput
from lkca.paper.statistics import Uncertain, block_intervals, estimate_mean, estimate_score, pseudovalues, summarize


def make_runs(table, *, model="lkca", trained=True, windows=None, blocks=None):
    """Return scores.json of seeds (rows) on images (columns)."""
    return [
        {
            "scene": "chikusei",
            "scale": 4,
            "model": model,
            "weights_sha256": "11" * 32 if trained else None,
            "images": [
                {
                    "window": [0, 512 * i, 512, 512] if windows is None else windows[i],
                    "scores": {"MPSNR": value},
                    "mae": value / 100,
                    "without_block": {"MPSNR": [] if blocks is None else blocks[s][i]},
                }
                for i, value in enumerate(row)
            ],
        }
        for s, row in enumerate(table)
    ]


def test_difference_on_same_images_is_paired_t_test():
    a, b = [40.1, 38.2, 43.0, 41.5], [39.9, 38.1, 42.6, 41.6]
    difference = estimate_score(make_runs([a], trained=False), "MPSNR") - estimate_score(
        make_runs([b], trained=False), "MPSNR"
    )
    expected = stats.ttest_rel(a, b)
    assert difference.interval() == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert difference.p_value_greater() == pytest.approx(stats.ttest_rel(a, b, alternative="greater").pvalue)


def test_seeds_only_is_welch_test():
    a, b = np.array([[1.0], [1.2], [1.1]]), np.array([[0.7], [0.75], [0.95], [0.8]])
    difference = estimate_mean(a, None, "a") - estimate_mean(b, None, "b")
    expected = stats.ttest_ind(a.ravel(), b.ravel(), equal_var=False).confidence_interval(0.95)
    assert difference.interval() == pytest.approx(tuple(expected))


def test_variance_over_images_and_seeds_is_anova():
    # only effects of images and of seeds, without interaction: their variances add
    images, seeds = np.array([0.0, 1.0, 5.0, 2.0]), np.array([[0.0], [0.3], [0.9]])
    error, _ = estimate_mean(40 + images + seeds, "images", "seeds").standard_error_and_df()
    assert error**2 == pytest.approx(images.var(ddof=1) / 4 + seeds.var(ddof=1) / 3)


def test_interaction_of_images_and_seeds_is_subtracted():
    """The variance of a mean over two random factors is estimated from mean squares."""
    table = np.array([[40.0, 41.0, 45.0, 42.0], [40.5, 41.6, 45.2, 42.6], [41.0, 41.8, 46.1, 43.0]])
    by_image, by_seed = table.mean(0), table.mean(1, keepdims=True)
    interaction = table - by_image - by_seed + table.mean()
    image_variance, seed_variance = by_image.var(ddof=1) / 4, by_seed.var(ddof=1) / 3
    error, _ = estimate_mean(table, "images", "seeds").standard_error_and_df()
    assert error**2 == pytest.approx(image_variance + seed_variance - (interaction**2).sum() / 6 / 12)


def test_arithmetic_propagates_by_derivatives():
    rng = np.random.default_rng(1)
    table = rng.normal(40, 0.01, (3, 4)), rng.normal(2, 0.01, (3, 4))
    x, y = (estimate_mean(each, "images", name) for each, name in zip(table, "xy", strict=True))
    for f in (
        lambda x, y: x * y - 3,
        lambda x, y: 2 / x + y / x,
        lambda x, y: abs(1 - x**2 / y),
        lambda x, y: 5 - (x - y),
    ):
        step = 1e-5
        by_x = (f(x.value + step, y.value) - f(x.value - step, y.value)) / (2 * step)
        by_y = (f(x.value, y.value + step) - f(x.value, y.value - step)) / (2 * step)
        assert f(x, y).value == pytest.approx(f(x.value, y.value))
        assert f(x, y).standard_error_and_df() == pytest.approx((x * by_x + y * by_y).standard_error_and_df(), rel=1e-6)
    assert x.log10().standard_error_and_df()[0] == pytest.approx(x.standard_error_and_df()[0] / x.value / np.log(10))


def test_shared_randomness_cancels():
    same = estimate_score(make_runs([[40, 41, 43], [40.2, 41.3, 42.8]]), "MPSNR")
    assert (same - same).interval() == (0, 0)
    one = estimate_score(make_runs([[40.0, 41.0]]), "MPSNR")  # one seed, two images
    assert (one - one).interval() == (0, 0) and (one / one).missing_reasons == frozenset()
    assert (same / same).value == 1 and (same / same).standard_error_and_df()[0] == pytest.approx(0)


def test_unknown_spread_does_not_cancel_between_scores():
    one_seed = make_runs([[40.0, 41.0, 43.0]])
    difference = estimate_score(one_seed, "MPSNR") - estimate_score(one_seed, "mae")
    assert difference.missing_reasons == {"one seed"}


@pytest.mark.parametrize(
    "table, why", [([[40.0, 41.0]] * 2, "2 test images"), ([[40.0]] * 2, "1 test image"), ([[40, 41, 42]], "one seed")]
)
def test_too_few_data_give_reasons(table, why):
    number = estimate_score(make_runs(table), "MPSNR")
    assert number.missing_reasons == {why} and number.interval() is None and number.p_value_greater() == 1
    assert (number - 3).missing_reasons == (3 - number).missing_reasons == (number * number).missing_reasons == {why}


def test_on_these_images_only_seeds_are_random():
    bicubic = estimate_score(make_runs([[40.0, 41.0]], trained=False), "MPSNR")
    assert bicubic.interval() is None and bicubic.on_these_images().interval() == (40.5, 40.5)
    trained = estimate_score(
        make_runs([[40.0, 42.0, 41.0], [40.2, 42.2, 41.2], [40.1, 42.1, 41.1]]), "MPSNR"
    ).on_these_images()
    assert trained.interval() == pytest.approx(stats.t.interval(0.95, 2, 41.1, 0.1 / np.sqrt(3)))


def test_other_numbers_of_an_image():
    scores = make_runs([[40.0, 41.0, 42.0]], trained=False)
    assert estimate_score(scores, "mae").value == pytest.approx(0.41)
    assert estimate_score(scores, lambda image: image["window"][1]).value == 512


def test_seeds_on_other_images_are_refused():
    mixed = make_runs([[1, 2, 3]]) + make_runs([[1, 2, 3]], windows=[[0, 0, 9, 9]] * 3)
    with pytest.raises(StaleInput, match="chikusei x4 lkca have different test images"):
        estimate_score(mixed, "MPSNR")


@pytest.mark.parametrize("images", [3, 4, 8])
def test_intervals_have_their_coverage(images):
    """Differences of two methods with three seeds each, on the numbers of test images of the paper's scenes."""
    rng, count, hits = np.random.default_rng(images), 1500, 0
    for _ in range(count):
        ground, method_effects = rng.normal(40, 3, images), rng.normal(0, 0.1, images)
        a, b = (ground + rng.normal(0, 0.03, (3, 1)) + rng.normal(0, 0.02, (3, images)) for _ in "ab")
        low, high = (estimate_mean(a + method_effects, "images", "a") - estimate_mean(b, "images", "b")).interval()
        hits += low <= 0 <= high
    assert 0.93 <= hits / count <= 0.97


@pytest.mark.parametrize("images", [3, 4, 8])
def test_block_intervals_have_their_coverage(images):
    blocks = np.random.default_rng(images).exponential(size=(1000, 16 * images))  # skewed, mean 1
    low, high = block_intervals(blocks).T
    assert 0.92 <= np.mean((low <= 1) & (high >= 1)) <= 0.97


def test_equal_blocks_have_interval_of_width_0():
    assert block_intervals(np.full((2, 16), 0.25)).tolist() == [[0.25, 0.25]] * 2


def test_pseudovalues_of_a_mean_are_the_blocks():
    # a score that is the mean of 16 blocks, so that its value without each block is known
    blocks = np.random.default_rng(2).normal(40, 1, (3, 16))
    without = (blocks.sum(1, keepdims=True) - blocks) / 15
    scores = make_runs([blocks.mean(1)], blocks=[without.tolist()])
    np.testing.assert_allclose(pseudovalues(scores, "MPSNR"), blocks.ravel())


def test_number_without_components_is_certain():
    assert (
        Uncertain(2.0).interval() == (2, 2)
        and Uncertain(2.0).p_value_greater() == 0
        and Uncertain(-2.0).p_value_greater() == 1
    )


def test_summary_has_mean_spread_and_interval():
    table = [[40.0, 41.0, 43.0], [40.2, 41.3, 42.8]]
    summary = summarize(make_runs(table), "MPSNR")
    means = np.mean(table, 1)
    assert summary.mean == pytest.approx(means.mean()) and summary.std == pytest.approx(means.std(ddof=1))
    assert summary.interval == estimate_score(make_runs(table), "MPSNR").interval()
    single = summarize(make_runs(table[:1]), "MPSNR")
    assert (single.std, single.interval, single.missing_reasons) == (None, None, {"one seed"})


def test_interval_has_no_impossible_values():
    """The correlation of three images is 0.99, 0.97 and 0.85: Student's t alone reaches 1.13."""
    scores = [0.99, 0.97, 0.85]
    runs = make_runs([scores], trained=False)
    for image, score in zip(runs[0]["images"], scores, strict=True):
        image["scores"]["CC"] = score
    low, high = stats.t.interval(0.95, 2, np.mean(scores), stats.sem(scores))
    assert high > 1
    assert summarize(runs, "CC").interval == (pytest.approx(low), 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_score_that_is_not_finite_is_refused(value):
    with pytest.raises(DataError, match="chikusei x4 lkca is NaN or infinite"):
        estimate_score(make_runs([[1, value, 3]]), "MPSNR")
