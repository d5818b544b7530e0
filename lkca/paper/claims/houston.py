"""Claims about Houston 2018 (IV-D)."""

from lkca.paper.claims.definitions import claim
from lkca.paper.claims.logic import Truth, all_of, at_least, between, exact, greater, less
from lkca.paper.claims.numbers import (
    HOUSTON_X4,
    HOUSTON_X8,
    LIGHT_METHODS,
    METHODS,
    SCALES,
    Numbers,
    Task,
    better,
    smallest,
)
from lkca.paper.columns import PRINTED_SCORES

BOTH_SCALES = (HOUSTON_X4, HOUSTON_X8)
VDSR_PARAMETERS = (48 * 17 * 64 * 9 + 18 * 64 * 64 * 9) / 1e6  # M at ×4: (B + 18 · 64 + B r²) · 64 · 9


@claim(
    "H1",
    "IV-D",
    "data",
    "Eight tiles of 256 × 256 fill the top 512 × 1024 of Houston, and 512 × 178 is left over.",
    needs="arithmetic",
    note="True only with 4172 rows and 1202 columns, the transpose of the distributed raster.",
)
def eight_tiles_fill_the_top(_: Numbers) -> Truth:
    return exact(512 * 1024 == 8 * 256 * 256 and 1202 - 1024 == 178)


@claim(
    "H2",
    "IV-D",
    "inconsistency",
    "The rest of the Houston image, for training, is 4172 × 1202.",
    needs="arithmetic",
    values={"rows without the test strip": lambda _: 4172 - 512},
    note="Taken literally, training data would include the test region.",
)
def rest_has_all_rows(_: Numbers) -> Truth:
    return exact(4172 - 512 == 4172)


@claim("H3", "IV-D, Tab. VI", "ranking", "Houston is the easiest scene, every method has its best MPSNR there.")
def houston_is_the_easiest_scene(n: Numbers) -> Truth:
    return all_of(
        greater(n.mpsnr(method, Task("houston2018", scale)), n.mpsnr(method, Task(scene, scale))).case(
            method, f"×{scale}", scene
        )
        for method in METHODS
        for scale in SCALES
        for scene in ("chikusei", "pavia_centre")
    )


@claim(
    "H4",
    "IV-D, Tab. VI",
    "ranking",
    "On Houston LKCA-Net clearly beats the methods of its size, by more than 0.5 dB.",
    values={
        "ahead of VDSR at ×4 and ×8, dB": lambda n: [n.mpsnr_gain("LKCA-Net", "VDSR", task) for task in BOTH_SCALES],
        "ahead of 3DFCNN, dB": lambda n: [n.mpsnr_gain("LKCA-Net", "3DFCNN", task) for task in BOTH_SCALES],
    },
    note='0.5 dB is our threshold for "significantly".',
)
def lkca_net_beats_light_methods(n: Numbers) -> Truth:
    return all_of(
        greater(n.mpsnr_gain("LKCA-Net", method, task), 0.5).case(method, f"×{task.scale}")
        for method in LIGHT_METHODS
        for task in BOTH_SCALES
    )


@claim(
    "H5",
    "IV-D, Tab. VI",
    "ranking",
    "On Houston at ×4, LKCA-Net is above SSPSR by MPSNR.",
    values={"ahead by, dB": lambda n: n.mpsnr_gain("LKCA-Net", "SSPSR", HOUSTON_X4)},
)
def lkca_net_is_above_sspsr(n: Numbers) -> Truth:
    return greater(n.mpsnr("LKCA-Net", HOUSTON_X4), n.mpsnr("SSPSR", HOUSTON_X4))


@claim(
    "H6",
    "IV-D, Tab. VI",
    "ranking",
    "On Houston at ×4, LKCA-Net is comparable to MSDformer, within 0.05 dB.",
    values={"ahead by, dB": lambda n: n.mpsnr_gain("LKCA-Net", "MSDformer", HOUSTON_X4)},
    note="0.05 dB is our threshold.",
)
def lkca_net_is_comparable_to_msdformer(n: Numbers) -> Truth:
    return between(-0.05, n.mpsnr_gain("LKCA-Net", "MSDformer", HOUSTON_X4), 0.05)


@claim(
    "H7",
    "IV-D, Tab. VI",
    "ranking",
    "On Houston at ×8, LKCA-Net is well above SSPSR and MSDformer, by more than 0.3 dB.",
    values={
        "ahead of SSPSR and MSDformer, dB": lambda n: [
            n.mpsnr_gain("LKCA-Net", method, HOUSTON_X8) for method in ("SSPSR", "MSDformer")
        ],
    },
    note="0.3 dB is our threshold.",
)
def lkca_net_is_well_above_at_x8(n: Numbers) -> Truth:
    return all_of(
        greater(n.mpsnr_gain("LKCA-Net", method, HOUSTON_X8), 0.3).case(method) for method in ("SSPSR", "MSDformer")
    )


@claim(
    "H8",
    "IV-D, Tab. VI",
    "efficiency",
    "On Houston at ×4, LKCA-Net needs less than 1 % of ESSAformer's computation.",
    values={"share, %": lambda n: n.percentage("MACs_G", "LKCA-Net", "ESSAformer", HOUSTON_X4)},
)
def lkca_net_needs_less_than_1_percent(n: Numbers) -> Truth:
    return less(n.ratio("MACs_G", "LKCA-Net", "ESSAformer", HOUSTON_X4), 0.01)


@claim(
    "H9",
    "IV-D, Tab. VI",
    "efficiency",
    "On Houston at ×8, LKCA-Net needs about 0.5 % of ESSAformer's computation.",
    values={"share, %": lambda n: n.percentage("MACs_G", "LKCA-Net", "ESSAformer", HOUSTON_X8)},
    note='"About" is read as 0.1 more or less, our threshold.',
)
def lkca_net_needs_half_a_percent(n: Numbers) -> Truth:
    return between(0.4, n.percentage("MACs_G", "LKCA-Net", "ESSAformer", HOUSTON_X8), 0.6)


@claim(
    "H10",
    "IV-D, Tab. VI",
    "quality",
    "On Houston LKCA-Net is comparable to ESSAformer, within 0.3 dB.",
    values={
        "behind at ×4 and ×8, dB": lambda n: [n.mpsnr_gain("ESSAformer", "LKCA-Net", task) for task in BOTH_SCALES],
    },
    note="0.3 dB is our threshold.",
)
def lkca_net_is_comparable_to_essaformer(n: Numbers) -> Truth:
    return all_of(
        between(-0.3, n.mpsnr_gain("ESSAformer", "LKCA-Net", task), 0.3).case(f"×{task.scale}") for task in BOTH_SCALES
    )


@claim(
    "H11",
    "IV-D",
    "efficiency",
    "On Houston LKCA-Net has far fewer parameters and MACs than SSPSR and MSDformer, 3 and 15 times fewer at least.",
    values={
        "least ratio of parameters and of MACs": lambda n: [
            smallest(n.ratio(cost, m, "LKCA-Net", task) for m in ("SSPSR", "MSDformer") for task in BOTH_SCALES)
            for cost in ("Param_M", "MACs_G")
        ],
    },
    note="3 and 15 are our thresholds.",
)
def lkca_net_is_smaller_than_sspsr_and_msdformer(n: Numbers) -> Truth:
    return all_of(
        at_least(n.value(method, cost, task), times * n.value("LKCA-Net", cost, task)).case(method, f"×{task.scale}")
        for method in ("SSPSR", "MSDformer")
        for task in BOTH_SCALES
        for cost, times in (("Param_M", 3), ("MACs_G", 15))
    )


@claim(
    "H12",
    "Tab. VI",
    "inconsistency",
    "VDSR's size on Houston at ×4 follows the rule of the other five settings, (B + 18 · 64 + B r²) · 64 · 9.",
    values={
        "printed for VDSR, by the rule, printed for 3DFCNN, M": lambda n: [
            n.value("VDSR", "Param_M", HOUSTON_X4),
            VDSR_PARAMETERS,
            n.value("3DFCNN", "Param_M", HOUSTON_X4),
        ],
    },
    note="The paper prints the parameters and MACs of VDSR and 3DFCNN in each other's row, in this one pair of rows.",
)
def vdsrs_size_follows_the_rule(n: Numbers) -> Truth:
    return between(-0.001, n.value("VDSR", "Param_M", HOUSTON_X4) - VDSR_PARAMETERS, 0.001)


@claim("H13", "IV-D, Fig. 7", "ranking", "On Houston LKCA-KD stands out among the light methods, in every score.")
def distilled_model_beats_light_methods_in_every_score(n: Numbers) -> Truth:
    return all_of(
        better(n.value("LKCA-KD", score, task), n.value(method, score, task), score).case(
            method, score, f"×{task.scale}"
        )
        for method in LIGHT_METHODS
        for score in PRINTED_SCORES
        for task in BOTH_SCALES
    )
