"""Claims about Chikusei (IV-C)."""

from lkca.paper.claims.definitions import claim
from lkca.paper.claims.logic import Truth, all_of, between, exact, greater, in_range, less
from lkca.paper.claims.numbers import (
    CHIKUSEI_X4,
    CHIKUSEI_X8,
    LKCA_METHODS,
    SCALES,
    TASKS,
    Numbers,
    Task,
    better,
)

SSPSR_BICUBIC = (  # scores of bicubic in SSPSR's paper, and by how much ours may differ
    (CHIKUSEI_X4, "MPSNR", 37.6377, 0.0001),
    (CHIKUSEI_X4, "SAM", 3.4040, 0.0001),
    (CHIKUSEI_X4, "CC", 0.9212, 0.0001),
    (CHIKUSEI_X4, "ERGAS", 6.7564, 0.0002),
    (CHIKUSEI_X8, "MPSNR", 34.5049, 0.0001),
    (CHIKUSEI_X8, "ERGAS", 4.8488, 0.0001),
)


def count_patches(rows: int, columns: int, size: int, stride: int) -> int:
    """Return the number of patches of a regular grid in an image; all lengths are in pixels."""
    return ((rows - size) // stride + 1) * ((columns - size) // stride + 1)


@claim(
    "C1",
    "IV-C",
    "data",
    "The crop of Chikusei is the central 2304 × 2048 of 2517 × 2335 pixels.",
    needs="arithmetic",
    values={"rows and columns before a centred crop": lambda _: [(2517 - 2304) / 2, (2335 - 2048) / 2]},
    note="SSPSR's script cuts rows 107 to 2410 and columns 144 to 2191, counted from 1.",
)
def crop_is_central(_: Numbers) -> Truth:
    return exact((2517 - 2304) // 2 == 106 and (2335 - 2048) // 2 == 143)


@claim(
    "C2",
    "IV-C",
    "inconsistency",
    "Four regions of 512 × 2048 are cut from the top of Chikusei for testing, and enough is left to train on.",
    needs="arithmetic",
    values={"rows left as printed, and with one strip of 512 rows": lambda _: [2304 - 4 * 512, 2304 - 512]},
    note='As "enough" we take one more strip. Public code and Table V\'s caption, "four testing images", mean one '
    "strip of four images of 512 × 512.",
)
def four_regions_leave_enough_to_train_on(_: Numbers) -> Truth:
    return exact(2304 - 4 * 512 >= 512)


@claim(
    "C3",
    "IV-C",
    "data",
    "Training patches of 64 every 32 pixels at ×4, and of 128 every 64 at ×8, are 3465 and 837 in number.",
    needs="arithmetic",
    values={
        "patches at ×4 and ×8": lambda _: [count_patches(1792, 2048, 64, 32), count_patches(1792, 2048, 128, 64)],
    },
    note='The numbers are not in print, they follow from the grid. The text says "randomly sampled".',
)
def patches_are_3465_and_837(_: Numbers) -> Truth:
    return exact(count_patches(1792, 2048, 64, 32) == 3465 and count_patches(1792, 2048, 128, 64) == 837)


@claim(
    "C4",
    "IV-C",
    "data",
    "The test images of Chikusei and their bicubic degradation are SSPSR's, whose printed scores of bicubic are the "
    "same.",
    values={
        "MPSNR, SAM, CC, ERGAS at ×4": lambda n: [
            n.value("Bicubic", score, CHIKUSEI_X4) for score in ("MPSNR", "SAM", "CC", "ERGAS")
        ],
        "MPSNR, ERGAS at ×8": lambda n: [n.value("Bicubic", score, CHIKUSEI_X8) for score in ("MPSNR", "ERGAS")],
    },
    note="SSPSR's MSSIM differs (0.8949 and 0.8228), and its RMSE in the last digit.",
)
def bicubic_is_as_in_sspsrs_paper(n: Numbers) -> Truth:
    return all_of(
        between(-digit, n.value("Bicubic", score, task).on_these_images() - printed, digit)
        for task, score, printed, digit in SSPSR_BICUBIC
    )


@claim(
    "C5",
    "IV-C, Tab. V",
    "ranking",
    "On Chikusei at ×4, LKCA-Net beats MSDformer by MPSNR.",
    values={"ahead by, dB": lambda n: n.mpsnr_gain("LKCA-Net", "MSDformer", CHIKUSEI_X4)},
)
def lkca_net_beats_msdformer(n: Numbers) -> Truth:
    return greater(n.mpsnr("LKCA-Net", CHIKUSEI_X4), n.mpsnr("MSDformer", CHIKUSEI_X4))


@claim(
    "C6",
    "IV-C, Tab. V",
    "efficiency",
    "On Chikusei at ×4, LKCA-Net has 4 times fewer parameters and 15 times fewer MACs than MSDformer.",
    values={
        "ratio of parameters and of MACs": lambda n: [
            n.ratio(cost, "MSDformer", "LKCA-Net", CHIKUSEI_X4) for cost in ("Param_M", "MACs_G")
        ],
    },
)
def lkca_net_is_smaller_than_msdformer(n: Numbers) -> Truth:
    return in_range(4, n.ratio("Param_M", "MSDformer", "LKCA-Net", CHIKUSEI_X4), 5) & in_range(
        15, n.ratio("MACs_G", "MSDformer", "LKCA-Net", CHIKUSEI_X4), 16
    )


@claim(
    "C7",
    "IV-C, Tab. V",
    "ranking",
    "On Chikusei at ×4, LKCA-LR still beats MSDformer by MPSNR.",
    values={"ahead by, dB": lambda n: n.mpsnr_gain("LKCA-LR", "MSDformer", CHIKUSEI_X4)},
)
def lkca_lr_beats_msdformer(n: Numbers) -> Truth:
    return greater(n.mpsnr("LKCA-LR", CHIKUSEI_X4), n.mpsnr("MSDformer", CHIKUSEI_X4))


@claim(
    "C8",
    "IV-C, Tab. V",
    "efficiency",
    "On Chikusei at ×4, LKCA-LR has 9 times fewer parameters and 39 times fewer MACs than MSDformer.",
    values={
        "ratio of parameters and of MACs": lambda n: [
            n.ratio(cost, "MSDformer", "LKCA-LR", CHIKUSEI_X4) for cost in ("Param_M", "MACs_G")
        ],
    },
    note="The paper rounds the one down and the other up.",
)
def lkca_lr_is_smaller_than_msdformer(n: Numbers) -> Truth:
    return in_range(9, n.ratio("Param_M", "MSDformer", "LKCA-LR", CHIKUSEI_X4), 10) & in_range(
        38.5, n.ratio("MACs_G", "MSDformer", "LKCA-LR", CHIKUSEI_X4), 39.5
    )


@claim(
    "C9",
    "IV-C, Tab. V",
    "ranking",
    "The low-rank layer costs a little quality, on Chikusei at ×4 LKCA-LR is slightly below LKCA-Net.",
    values={
        "MPSNR lost in the six settings, dB": lambda n: [n.mpsnr_gain("LKCA-Net", "LKCA-LR", task) for task in TASKS],
    },
    note="0.2 dB is our threshold. The paper says it of Chikusei; on Pavia the loss is negative.",
)
def low_rank_costs_a_little_quality(n: Numbers) -> Truth:
    return between(0, n.mpsnr_gain("LKCA-Net", "LKCA-LR", CHIKUSEI_X4), 0.2)


@claim(
    "C10",
    "IV-C, Tab. V",
    "ranking",
    "Feature alignment wins back part of the loss, on Chikusei at ×4 LKCA-KD is between LKCA-LR and LKCA-Net.",
    values={
        "share of the loss won back": lambda n: (
            n.mpsnr_gain("LKCA-KD", "LKCA-LR", CHIKUSEI_X4) / n.mpsnr_gain("LKCA-Net", "LKCA-LR", CHIKUSEI_X4)
        ),
    },
)
def distillation_wins_back_part_of_the_loss(n: Numbers) -> Truth:
    return between(n.mpsnr("LKCA-LR", CHIKUSEI_X4), n.mpsnr("LKCA-KD", CHIKUSEI_X4), n.mpsnr("LKCA-Net", CHIKUSEI_X4))


@claim(
    "C11",
    "IV-C, Tab. V",
    "ranking",
    "The same holds at ×8, the three LKCA networks beat MSDformer and LKCA-KD is between LKCA-LR and LKCA-Net.",
    values={
        "LKCA-Net, LKCA-LR, LKCA-KD ahead of MSDformer by, dB": lambda n: [
            n.mpsnr_gain(method, "MSDformer", CHIKUSEI_X8) for method in LKCA_METHODS
        ],
    },
)
def ranking_is_the_same_at_x8(n: Numbers) -> Truth:
    return all_of(
        greater(n.mpsnr(method, CHIKUSEI_X8), n.mpsnr("MSDformer", CHIKUSEI_X8)).case(method) for method in LKCA_METHODS
    ) & between(n.mpsnr("LKCA-LR", CHIKUSEI_X8), n.mpsnr("LKCA-KD", CHIKUSEI_X8), n.mpsnr("LKCA-Net", CHIKUSEI_X8))


@claim(
    "C12",
    "IV-C, Fig. 6",
    "visual",
    "On Chikusei at ×4, LKCA-KD recovers much more than VDSR and comes close to ESSAformer.",
    needs="images",
    values={
        "mean absolute error of VDSR, ESSAformer, LKCA-KD": lambda n: [
            n.image_error(method, "mae", CHIKUSEI_X4) for method in ("VDSR", "ESSAformer", "LKCA-KD")
        ],
    },
    note='The image of Fig. 6 is not identified, so all test images count. "Close" is read as 10 % more error, our '
    "threshold.",
)
def distilled_model_recovers_more_than_vdsr(n: Numbers) -> Truth:
    error = n.image_error("LKCA-KD", "mae", CHIKUSEI_X4)
    return less(error, n.image_error("VDSR", "mae", CHIKUSEI_X4)) & less(
        error, 1.1 * n.image_error("ESSAformer", "mae", CHIKUSEI_X4)
    )


@claim(
    "C13",
    "Tab. V",
    "ranking",
    "Not said: on Chikusei SSPSR is ahead of LKCA-Net by MPSNR at both scales, and LKCA-Net by SAM.",
    values={
        "SSPSR's MPSNR ahead at ×4 and ×8, dB": lambda n: [
            n.mpsnr_gain("SSPSR", "LKCA-Net", Task("chikusei", scale)) for scale in SCALES
        ],
        "LKCA-Net's SAM ahead, degrees": lambda n: [
            n.value("SSPSR", "SAM", task) - n.value("LKCA-Net", "SAM", task) for task in (CHIKUSEI_X4, CHIKUSEI_X8)
        ],
    },
)
def sspsr_leads_by_mpsnr_and_lkca_net_by_sam(n: Numbers) -> Truth:
    return all_of(
        (
            better(n.mpsnr("SSPSR", task), n.mpsnr("LKCA-Net", task), "MPSNR")
            & better(n.value("LKCA-Net", "SAM", task), n.value("SSPSR", "SAM", task), "SAM")
        ).case(f"×{task.scale}")
        for task in (CHIKUSEI_X4, CHIKUSEI_X8)
    )
