"""Claims about the upsampling layer (III-C)."""

from lkca.paper.claims.definitions import claim
from lkca.paper.claims.logic import Truth, all_of, at_least, at_most, between, exact, greater, less
from lkca.paper.claims.numbers import BANDS, SCENES, TASKS, Numbers, Task
from lkca.paper.statistics import Uncertain

MATRIX_COLUMNS = 1152  # 128 channels × 3 × 3, of the weights reshaped to a matrix (outputs, inputs × kernel)
GROUP_NUMBERS = (2, 4, 8, 16)  # as the paper lists


def saved_weights(task: Task) -> float:
    """Return how many weights 8 groups save, of 128 · B · r² · 9."""
    return 128 * BANDS[task.scene] * task.scale**2 * 9 * (1 - 1 / 8)


def saved_params_error(n: Numbers, task: Task) -> Uncertain:
    """Return how far the parameters that grouping saves are from the formula, M."""
    saved = n.value("LKCA-Net", "Param_M", task) - n.value("LKCA-LR", "Param_M", task)
    return saved - saved_weights(task) / 1e6


def saved_macs_error(n: Numbers, task: Task) -> Uncertain:
    """Return how far the MACs that grouping saves are from the formula for 16 × 16 LR pixels, G."""
    saved = n.value("LKCA-Net", "MACs_G", task) - n.value("LKCA-LR", "MACs_G", task)
    return saved - 256 * saved_weights(task) / 1e9


@claim(
    "U1",
    "III-C",
    "upsampling",
    "The upsampling convolution has 128 · B · r² · 9 weights, and grouping divides that by g = 8 in every setting.",
    values={"difference to the formula in the six settings, M": lambda n: [saved_params_error(n, t) for t in TASKS]},
    note="0.0011 M allows for two printed roundings. It also settles that g = 8 is used at ×8, which the text leaves "
    "open.",
)
def grouping_divides_the_weights(n: Numbers) -> Truth:
    return all_of(between(-0.0011, saved_params_error(n, task), 0.0011).case(task) for task in TASKS)


@claim(
    "U2",
    "III-C",
    "upsampling",
    "Not said: the printed FLOPs are multiply-accumulates on a 16 × 16 LR image at both scales.",
    values={"difference to the formula in the six settings, G": lambda n: [saved_macs_error(n, t) for t in TASKS]},
    note="0.0011 G allows for two printed roundings. The convention is stated nowhere.",
)
def printed_flops_are_macs(n: Numbers) -> Truth:
    return all_of(between(-0.0011, saved_macs_error(n, task), 0.0011).case(task) for task in TASKS)


@claim(
    "U3",
    "III-C",
    "inconsistency",
    "The reshaped weights of the upsampling layer have full rank 1152 on all three scenes at ×4.",
    needs="arithmetic",
    values={
        "largest possible rank on Chikusei, Houston 2018, Pavia Centre": lambda _: [
            min(16 * BANDS[scene], MATRIX_COLUMNS) for scene in SCENES
        ],
    },
    note="False for Houston, whose matrix has 768 rows, so that its axis in Fig. 4 ends at 768.",
)
def weights_can_have_full_rank(_: Numbers) -> Truth:
    return all_of(exact(min(16 * BANDS[scene], MATRIX_COLUMNS) == MATRIX_COLUMNS).case(scene) for scene in SCENES)


@claim(
    "U4",
    "III-C",
    "inconsistency",
    "The number of parameters of the layer grows exponentially with the scale.",
    needs="arithmetic",
    values={
        "growth from ×4 to ×8, and what exponential growth since ×2 would need": lambda _: [
            8**2 / 4**2,
            (4**2 / 2**2) ** 2,
        ],
    },
    note="It grows with the square of the scale, and with the square of the kernel size.",
)
def parameters_grow_exponentially(_: Numbers) -> Truth:
    return exact(8**2 / 4**2 == (4**2 / 2**2) ** 2)


@claim(
    "U5",
    "III-C, Fig. 4",
    "upsampling",
    "About 60 of the singular values hold 90 % of their sum on Chikusei and Houston at ×4.",
    needs="weights",
    values={
        "singular values for 90 % on Chikusei and Houston 2018": lambda n: [
            n.rank90("chikusei"),
            n.rank90("houston2018"),
        ],
    },
    note='The sum is of the values, not of their squares. "About 60" is read as 40 to 80, our threshold.',
)
def about_60_singular_values_hold_most(n: Numbers) -> Truth:
    ranks = [n.rank90("chikusei"), n.rank90("houston2018")]
    return all_of(at_least(rank, 40) & at_most(rank, 80) for rank in ranks)


@claim(
    "U6",
    "III-C, Fig. 4",
    "upsampling",
    "Pavia needs about 130 singular values for 90 %, more than Chikusei and Houston.",
    needs="weights",
    values={"singular values for 90 % on Pavia Centre": lambda n: n.rank90("pavia_centre")},
    note='"About 130" is read as 100 to 160, our threshold.',
)
def pavia_needs_the_most_singular_values(n: Numbers) -> Truth:
    pavia = n.rank90("pavia_centre")
    others = [n.rank90("chikusei"), n.rank90("houston2018")]
    return at_least(pavia, 100) & at_most(pavia, 160) & all_of(greater(pavia, other) for other in others)


@claim(
    "U7",
    "III-C",
    "upsampling",
    "The spectrum of singular values has a long tail after training, far more than at the start.",
    needs="weights",
    values={
        "singular values for 90 % after training": lambda n: [n.rank90(scene) for scene in SCENES],
        "at a default start": lambda n: [n.rank90(scene, "start") for scene in SCENES],
    },
    note="Our control, and half is our threshold; the paper shows no curve of an untrained layer.",
)
def training_makes_the_long_tail(n: Numbers) -> Truth:
    return all_of(less(n.rank90(scene), 0.5 * n.rank90(scene, "start")).case(scene) for scene in SCENES)


@claim(
    "U8",
    "III-C",
    "upsampling",
    "Of the allowed group numbers, 8 is the largest whose reduced matrix can still have rank 130.",
    needs="arithmetic",
    values={"columns of the reduced matrix at g = 2, 4, 8, 16": lambda _: [MATRIX_COLUMNS // g for g in GROUP_NUMBERS]},
    note='A reason of ours; the paper says only that g is set to 8 "in general".',
)
def eight_groups_leave_rank_130(_: Numbers) -> Truth:
    return exact(MATRIX_COLUMNS // 8 >= 130 > MATRIX_COLUMNS // 16)


@claim(
    "U9",
    "III-C",
    "inconsistency",
    "The number of groups g must be divisible by r².",
    needs="arithmetic",
    values={
        "remainder of g by 16 at g = 2, 4, 8, 16": lambda _: [g % 16 for g in GROUP_NUMBERS],
        "remainder of 16 by g": lambda _: [16 % g for g in GROUP_NUMBERS],
    },
    note="The other way round, the listed g divide r² = 16.",
)
def groups_are_divisible_by_squared_scale(_: Numbers) -> Truth:
    return all_of(exact(g % 16 == 0).case(g) for g in GROUP_NUMBERS)


@claim(
    "U10",
    "III-C",
    "inconsistency",
    "Our reading: as a map of all inputs to all outputs, the grouped convolution has a low rank, 144 at most.",
    needs="code",
    values={
        "rank of eight random blocks of 256 × 144 as one map, Chikusei at ×4": lambda n: n.grouped_rank(2048, 1152, 8),
    },
    note="Only the reshaped matrix of 144 columns has rank 144 or less. As a map of all inputs the grouped layer is "
    "sparse, with full rank; a true factorisation of rank 144 would be a fair further baseline.",
)
def grouped_convolution_has_low_rank(n: Numbers) -> Truth:
    return exact(n.grouped_rank(2048, 1152, 8) <= 144)
