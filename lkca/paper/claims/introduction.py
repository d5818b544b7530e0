"""Claims of the abstract, the introduction and the description of the network (III-A and III-B).

In all modules of claims, half-digit bounds such as 0.0345 <= x < 0.0355 for "0.035 dB" say that x rounds to what is
printed.
"""

from lkca.paper.claims.definitions import claim
from lkca.paper.claims.logic import Truth, all_of, any_of, at_least, at_most, between, exact, greater
from lkca.paper.claims.numbers import (
    BANDS,
    CHIKUSEI_X4,
    CHIKUSEI_X8,
    HEAVY_METHODS,
    HOUSTON_X4,
    METHODS,
    TASKS,
    Numbers,
    Task,
    largest,
    methods_except,
    span,
)
from lkca.paper.statistics import Uncertain

ESSAFORMER_CONVOLUTION = 2360320  # parameters of one upsampling convolution in its published program


def vdsr_upsampler_weights(task: Task) -> int:
    """Return the number of weights of VDSR's upsampling convolution of 3 × 3 on 64 channels."""
    return BANDS[task.scene] * task.scale**2 * 64 * 9


def lkca_upsampler_parameters(task: Task) -> int:
    """Return the number of weights and biases of LKCA-Net's upsampling convolution of 3 × 3 on 128 channels."""
    return (128 * 9 + 1) * BANDS[task.scene] * task.scale**2


def cost_of_a_block(n: Numbers, column: str, blocks: str) -> Uncertain:
    """Return what a block adds to a cost of Table I: the mean from 4 blocks to this number of blocks."""
    return (n.ablation("I", blocks, column) - n.ablation("I", "4", column)) / (int(blocks) - 4)


@claim(
    "A1",
    "Abstract, V",
    "efficiency",
    "The low-rank models need several dozen to several hundred times less computation than the heavy methods.",
    values={
        "least and largest ratio": lambda n: span(
            n.ratio("MACs_G", method, "LKCA-LR", task) for method in HEAVY_METHODS for task in TASKS
        ),
    },
    note="24 and 200 are our thresholds. The paper calls these ratios speedups but measures no time; they are MACs on "
    "one 16 × 16 LR image.",
)
def low_rank_models_need_less_computation(n: Numbers) -> Truth:
    return all_of(
        at_least(n.ratio("MACs_G", method, "LKCA-LR", task), 24).case(method, task)
        for method in HEAVY_METHODS
        for task in TASKS
    ) & any_of(at_least(n.ratio("MACs_G", method, "LKCA-LR", task), 200) for method in HEAVY_METHODS for task in TASKS)


@claim(
    "A2",
    "Abstract, V",
    "limit",
    "Not said: LKCA-Net without the grouped upsampling layer already needs several dozen times less computation.",
    values={
        "least and largest ratio": lambda n: span(
            n.ratio("MACs_G", method, "LKCA-Net", task) for method in HEAVY_METHODS for task in TASKS
        ),
    },
    note="Control for A1, with its threshold of 24. Where it fails, the dozens come from the grouped layer.",
)
def lkca_net_needs_less_computation(n: Numbers) -> Truth:
    return all_of(
        at_least(n.ratio("MACs_G", method, "LKCA-Net", task), 24).case(method, task)
        for method in HEAVY_METHODS
        for task in TASKS
    )


@claim(
    "A3",
    "Abstract, V",
    "quality",
    "The distilled model is competitive, its MPSNR is within 0.6 dB of the best method's in every setting.",
    values={
        "behind the best in the six settings, dB": lambda n: [
            largest(n.mpsnr(method, task) for method in METHODS) - n.mpsnr("LKCA-KD", task) for task in TASKS
        ],
    },
    note="0.6 dB is our threshold; the paper gives none.",
)
def distilled_model_is_competitive(n: Numbers) -> Truth:
    return all_of(
        at_most(n.mpsnr_gain(method, "LKCA-KD", task), 0.6).case(method, task)
        for method in methods_except("LKCA-KD")
        for task in TASKS
    )


@claim(
    "I1",
    "I, Fig. 1",
    "upsampling",
    "In VDSR the learnable upsampling layer holds more than half of the parameters.",
    values={
        "share of the layer in the six settings": lambda _: [
            vdsr_upsampler_weights(task) / ((BANDS[task.scene] * (1 + task.scale**2) + 18 * 64) * 64 * 9)
            for task in TASKS
        ],
    },
    note="Fig. 1 names no scene and no scale. Houston at ×4 is left out, where it is less than half. The values take "
    "VDSR's size by the rule that its other cells follow (H12).",
)
def upsampler_is_more_than_half_of_vdsr(n: Numbers) -> Truth:
    return all_of(
        greater(vdsr_upsampler_weights(task) / 1e6, 0.5 * n.value("VDSR", "Param_M", task)).case(task)
        for task in TASKS
        if task != HOUSTON_X4
    )


@claim(
    "I2",
    "I, Fig. 1",
    "upsampling",
    "Our reading: in ESSAformer too, the learnable upsampling layer holds more than half of the parameters.",
    values={
        "share of the layer on Chikusei at ×4 and ×8": lambda n: [
            2 * ESSAFORMER_CONVOLUTION / 1e6 / n.value("ESSAformer", "Param_M", CHIKUSEI_X4),
            3 * ESSAFORMER_CONVOLUTION / 1e6 / n.value("ESSAformer", "Param_M", CHIKUSEI_X8),
        ],
    },
    note="Its published program enlarges by log2(r) convolutions of 2 360 320 parameters each. They are the largest "
    "single part at ×4, but not the larger one.",
)
def upsampler_is_more_than_half_of_essaformer(n: Numbers) -> Truth:
    return greater(2 * ESSAFORMER_CONVOLUTION / 1e6, 0.5 * n.value("ESSAformer", "Param_M", CHIKUSEI_X4))


@claim(
    "I3",
    "I",
    "upsampling",
    "In LKCA-Net itself the upsampling convolution holds more than half of the parameters.",
    values={
        "share of the layer in the six settings": lambda n: [
            lkca_upsampler_parameters(task) / 1e6 / n.value("LKCA-Net", "Param_M", task) for task in TASKS
        ],
    },
    note="Houston at ×4 is left out, where it is less than half.",
)
def upsampler_is_more_than_half_of_lkca_net(n: Numbers) -> Truth:
    return all_of(
        greater(lkca_upsampler_parameters(task) / 1e6, 0.5 * n.value("LKCA-Net", "Param_M", task)).case(task)
        for task in TASKS
        if task != HOUSTON_X4
    )


@claim(
    "M1",
    "III-A",
    "method",
    "The output is the upsampled features plus the bicubic interpolation of the input.",
    needs="code",
    values={"largest difference to bicubic, upsampling weights at 0": lambda n: n.shortcut_error()},
    note="Which bicubic is not said; ours is MATLAB's.",
)
def output_is_features_plus_bicubic(n: Numbers) -> Truth:
    return exact(n.shortcut_error() < 1e-5)


@claim(
    "M2",
    "III-A",
    "method",
    "The teacher has more blocks than the student, which has 16.",
    needs="code",
    values={
        "blocks of the teacher and of the student": lambda n: [
            n.setting(n.teacher("lkca_kd"), "args.blocks"),
            n.setting("lkca_kd", "args.blocks"),
        ],
    },
    note="The paper never gives the teacher's depth; Table I suggests 32, 48 or 64.",
)
def teacher_has_more_blocks(n: Numbers) -> Truth:
    teacher, student = n.setting(n.teacher("lkca_kd"), "args.blocks"), n.setting("lkca_kd", "args.blocks")
    return exact(teacher > student and student == 16)


@claim(
    "M3",
    "III-B",
    "method",
    "Each block costs the same, about 74.8 thousand parameters.",
    values={
        "thousand parameters a block, from 4 blocks to 8, 16, 32, 48, 64": lambda n: [
            cost_of_a_block(n, "Param_M", blocks) * 1000 for blocks in ("8", "16", "32", "48", "64")
        ],
    },
    note="Table I pins the block, any implementation must add 74.75 to 74.80 thousand parameters.",
)
def blocks_have_the_same_parameters(n: Numbers) -> Truth:
    return all_of(
        between(74.5, cost_of_a_block(n, "Param_M", blocks) * 1000, 75.1).case(blocks, int(blocks) - 4)
        for blocks in ("8", "16", "32", "48", "64")
    )


@claim(
    "M4",
    "III-B",
    "method",
    "Each block costs the same, about 14.08 million MACs on a 16 × 16 LR image.",
    values={
        "million MACs a block, from 4 blocks to 8, 16, 32, 48, 64": lambda n: [
            cost_of_a_block(n, "MACs_G", blocks) * 1000 for blocks in ("8", "16", "32", "48", "64")
        ],
    },
    note="That is 55.0 thousand MACs a pixel, so that about 19.8 thousand of the block's parameters are not used once "
    "a pixel (channel attention, norms, biases).",
)
def blocks_have_the_same_macs(n: Numbers) -> Truth:
    return all_of(
        between(13.93, cost_of_a_block(n, "MACs_G", blocks) * 1000, 14.23).case(blocks, int(blocks) - 4)
        for blocks in ("8", "16", "32", "48", "64")
    )
