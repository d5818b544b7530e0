"""Where the paper contradicts itself: sentences with numbers from its own tables, in the order of the paper."""

from math import cos, log10

from lkca.paper.claims.ablations import cosine_gain, gain_over_low_rank
from lkca.paper.claims.chikusei import count_patches
from lkca.paper.claims.definitions import contradiction
from lkca.paper.claims.experiments import ergas_growth
from lkca.paper.claims.houston import VDSR_PARAMETERS
from lkca.paper.claims.introduction import ESSAFORMER_CONVOLUTION, lkca_upsampler_parameters, vdsr_upsampler_weights
from lkca.paper.claims.numbers import (
    BANDS,
    CHIKUSEI_X4,
    CHIKUSEI_X8,
    HEAVY_METHODS,
    HOUSTON_X4,
    HOUSTON_X8,
    METHODS,
    PAVIA_X4,
    PAVIA_X8,
    SCENES,
    TASKS,
    Numbers,
    largest,
    smallest,
    span,
)
from lkca.paper.claims.upsampling import GROUP_NUMBERS, MATRIX_COLUMNS, saved_macs_error


@contradiction("A1", "A2")
def speedups_are_not_measured(n: Numbers) -> str:
    low, high = span(n.ratio("MACs_G", method, "LKCA-LR", task) for method in HEAVY_METHODS for task in TASKS)
    net = smallest(n.ratio("MACs_G", method, "LKCA-Net", task) for method in HEAVY_METHODS for task in TASKS)
    return (
        'The abstract and the conclusions promise "speedups of several dozen to even hundreds of times", but the paper '
        f"measures no time: SSPSR, MSDformer and ESSAformer have {low:.1f} to {high:.1f} times the printed Flops of "
        f"LKCA-LR, and as little as {net:.1f} times those of LKCA-Net, without the grouped layer."
    )


@contradiction("U2")
def flops_are_macs(n: Numbers) -> str:
    error = largest(abs(saved_macs_error(n, task)) for task in TASKS)
    return (
        "The paper does not say on what input its Flops are counted, and they are not floating-point operations: "
        "LKCA-Net less LKCA-LR in Tables V to VII fits multiply-accumulates, each of which is two operations, on "
        f"16 × 16 LR pixels at both scales to within {error:.4f} G."
    )


@contradiction("I1", "I2", "I3")
def upsampler_is_not_most_everywhere(n: Numbers) -> str:
    vdsr = 100 * vdsr_upsampler_weights(HOUSTON_X4) / (1e6 * VDSR_PARAMETERS)
    net = 100 * lkca_upsampler_parameters(HOUSTON_X4) / 1e6 / n.value("LKCA-Net", "Param_M", HOUSTON_X4)
    essaformer = 100 * 2 * ESSAFORMER_CONVOLUTION / 1e6 / n.value("ESSAformer", "Param_M", CHIKUSEI_X4)
    return (
        'Sec. I finds that the upsampling layer "contributes the most to computational complexity"; read as more than '
        f"half of the parameters that is not so everywhere: on Houston at ×4 it holds {vdsr:.0f} % of VDSR's and "
        f"{net:.0f} % of LKCA-Net's parameters, and of ESSAformer's, the second example of Fig. 1, {essaformer:.1f} % "
        "on Chikusei at ×4 if built as published."
    )


@contradiction("M2", "C10")
def student_is_not_close_to_deeper_networks(n: Numbers) -> str:
    deeper = smallest(n.ablation("I", blocks, "MPSNR") for blocks in ("32", "48", "64"))
    gap = deeper - n.mpsnr("LKCA-KD", CHIKUSEI_X4)
    times = gap / n.mpsnr_gain("LKCA-KD", "LKCA-LR", CHIKUSEI_X4)
    return (
        'Sec. III-A promises the student "performance comparable to the teacher network", which has more blocks than '
        "its 16, but no score of the teacher is printed, and every deeper network of Table I is at least "
        f"{gap:.3f} dB above LKCA-KD, {times:.1f} times what distillation gains there."
    )


@contradiction("U1", "U3")
def letter_c_means_bands_and_width(_: Numbers) -> str:
    return (
        "In Eq. 15 the letter C is the number of spectral bands, which is B elsewhere, while in Eqs. 3 to 14 C is the "
        f"width of the features: read with the width, 128, Houston's upsampling layer would have {128 * 16} outputs at "
        f"×4, and not the {BANDS['houston2018'] * 16} that fit Table VI."
    )


@contradiction("U4")
def growth_is_quadratic(_: Numbers) -> str:
    return (
        'Sec. III-C says that the layer\'s parameters "grow exponentially with the scale factor and kernel size", but '
        "by its own formula, C_in · C · r² · k², they grow with the square of either: from ×4 to ×8 by a factor of "
        f"{8**2 // 4**2}."
    )


@contradiction("U3")
def houstons_rank_is_limited(_: Numbers) -> str:
    bands, rows = BANDS["houston2018"], BANDS["houston2018"] * 16
    return (
        "Sec. III-C and Fig. 4 give the reshaped layer full rank 1152 and as many singular values on all three scenes "
        f"at ×4, but with Houston's {bands} bands the matrix has {rows} rows and no more than {rows} singular values."
    )


@contradiction("U9")
def groups_do_not_fit_the_rule(_: Numbers) -> str:
    count = len([g for g in GROUP_NUMBERS if g % 4**2 == 0])
    return (
        'Sec. III-C asks for group numbers "divisible by r²" and lists 2, 4, 8 and 16 for r = 4, but only '
        f"{count} of these is divisible by r² = {4**2}: it is r² that all of them divide."
    )


@contradiction("U10")
def grouped_convolution_has_full_rank(_: Numbers) -> str:
    columns, rank = MATRIX_COLUMNS // 8, 8 * min(2048 // 8, MATRIX_COLUMNS // 8)
    return (
        "Sec. III-C and Fig. 5 call the grouped convolution a low-rank approximation, but only its weights reshaped to "
        f"{columns} columns have a rank of {columns} or less: as a map from all input channels to all outputs it is "
        f"block-diagonal, with a rank of up to {rank} on Chikusei at ×4, that of the full layer."
    )


@contradiction("U6", "C9", "P8")
def low_rank_does_not_cost_most_on_pavia(n: Numbers) -> str:
    pavia_x4, pavia_x8 = (n.mpsnr_gain("LKCA-LR", "LKCA-Net", task) for task in (PAVIA_X4, PAVIA_X8))
    others = (CHIKUSEI_X4, CHIKUSEI_X8, HOUSTON_X4, HOUSTON_X8)
    low, high = span(n.mpsnr_gain("LKCA-Net", "LKCA-LR", task) for task in others)
    return (
        "By Sec. III-C Pavia's layer needs rank 130, close to the 144 columns that g = 8 leaves, and the others rank "
        f"60, so that a smaller layer should cost most on Pavia, but there LKCA-LR gains {pavia_x4:.4f} dB at ×4 and "
        f"{pavia_x8:.4f} dB at ×8 on LKCA-Net, while on the other two scenes it loses {low:.2f} to {high:.2f} dB."
    )


@contradiction("M1", "K3")
def images_are_distilled_not_features(_: Numbers) -> str:
    return (
        'Sec. III-A distils "the feature maps after PixelShuffle", but Eq. 18 compares the reconstructed images, which '
        "by Eq. 6 are those feature maps plus the bicubic interpolation."
    )


@contradiction("K3")
def cosine_is_of_images_not_pixels(_: Numbers) -> str:
    return (
        'Sec. III-D says that the cosine loss compares "each pixel\'s spectral vectors", but Eq. 18 has one cosine for '
        "each image: its N is the number of images in a batch."
    )


@contradiction("K3")
def cosine_is_taken_twice(_: Numbers) -> str:
    return (
        "Eq. 18 takes the cosine of a value that is a cosine already: as printed the loss is "
        f"{1 - cos(1):.2f}, its largest value, where student and teacher agree, and {1 - cos(0):.0f}, its least, where "
        "their spectra are orthogonal."
    )


@contradiction("T2a", "T2e")
def no_decay_loses(n: Numbers) -> str:
    gain = gain_over_low_rank(n, "II", "d=1.00")
    sam, ergas = (n.value("LKCA-LR", score, CHIKUSEI_X4) for score in ("SAM", "ERGAS"))
    sam_kd, ergas_kd = (n.ablation("II", "d=1.00", score) for score in ("SAM", "ERGAS"))
    return (
        f"Sec. IV-A calls the gain of distillation without decay (d = 1) negligible, but beside the {gain:.4f} dB of "
        f"MPSNR that it quotes, the tables show losses against no distillation: SAM rises from {sam:.4f} to "
        f"{sam_kd:.4f} and ERGAS from {ergas:.4f} to {ergas_kd:.4f}."
    )


@contradiction("T3a", "T3c")
def another_alpha_has_the_best_mssim(n: Numbers) -> str:
    chosen, other = (n.ablation("III", alpha, "MSSIM") for alpha in ("alpha=0.010", "alpha=0.050"))
    behind = n.ablation("III", "alpha=0.010", "MPSNR") - n.ablation("III", "alpha=0.050", "MPSNR")
    return (
        "Sec. IV-A chooses alpha = 0.01 by MPSNR, but in Table III alpha = 0.05 has the higher MSSIM, "
        f"{other:.4f} against {chosen:.4f}, and is {behind:.4f} dB behind."
    )


@contradiction("T4a")
def table_iv_has_lost_its_check_marks(n: Numbers) -> str:
    return (
        "In the paper's text as we have it Table IV has lost the check marks that say which terms a row holds: its "
        "second row is read as the loss without the cosine term because the difference of the two, "
        f"{cosine_gain(n, 'MPSNR'):.4f} dB, is the 0.035 dB that Sec. IV-A gives for that term."
    )


@contradiction("S7")
def heavy_methods_are_not_much_larger(n: Numbers) -> str:
    low, high = span(n.ratio("Param_M", method, "LKCA-Net", CHIKUSEI_X8) for method in HEAVY_METHODS)
    low_pavia, high_pavia = span(n.ratio("Param_M", method, "LKCA-Net", PAVIA_X8) for method in HEAVY_METHODS)
    return (
        'Sec. IV-B gives SSPSR, MSDformer and ESSAformer a "significantly higher amount of parameters", but at ×8 they '
        f"have only {low:.2f} to {high:.2f} times LKCA-Net's on Chikusei, and {low_pavia:.2f} to {high_pavia:.2f} "
        "times on Pavia."
    )


@contradiction("I1", "H12")
def vdsr_is_not_the_original(n: Numbers) -> str:
    factor = n.value("VDSR", "Param_M", CHIKUSEI_X8) / n.value("VDSR", "Param_M", CHIKUSEI_X4)
    return (
        'Sec. IV-B keeps the compared methods\' settings "as described in their original papers", but the original '
        "VDSR enlarges its input by bicubic interpolation and is one network for all scales, while the VDSR of Table V "
        f"has an upsampling layer and {factor:.1f} times as many parameters at ×8 as at ×4."
    )


@contradiction("S1")
def rmse_is_of_the_whole_cube(n: Numbers) -> str:
    cube, mpsnr = n.value("Bicubic", "RMSE", CHIKUSEI_X4).value, n.mpsnr("Bicubic", CHIKUSEI_X4).value
    bands = cube * 10 ** (-(mpsnr + 20 * log10(cube)) / 40)
    return (
        f"Sec. IV-B says that RMSE is averaged over bands, but bicubic's {cube:.4f} on Chikusei at ×4 agrees, but for "
        "one unit of the last digit, with SSPSR's printed 0.0156 over the whole cube of the same images, while an "
        f"average over bands would be near {bands:.4f} by the gap between MPSNR and RMSE (if the bands' errors are "
        "log-normal)."
    )


@contradiction("S2")
def ergas_has_100_over_r(n: Numbers) -> str:
    low, high = span(ergas_growth(n, method, scene) for method in METHODS for scene in SCENES)
    return (
        "The paper does not give its formula of ERGAS: the public programs of SSPSR and its successors put 100/4 at "
        "every scale, with which ERGAS would grow like RMSE from ×4 to ×8, but in Tables V to VII it grows "
        f"{low:.2f} to {high:.2f} times as much, so that they hold 100/r."
    )


@contradiction("C2")
def four_regions_leave_no_rows(_: Numbers) -> str:
    return (
        'Sec. IV-C cuts "four non-overlapping regions of size 512×2048×128" from the top of Chikusei\'s 2304 rows, '
        f'which would leave {2304 - 4 * 512} rows to train on, but Table V counts "four testing images": one strip of '
        f"512 × 2048, cut into four images of 512 × 512, leaves {2304 - 512}."
    )


@contradiction("C3")
def patches_are_not_random(_: Numbers) -> str:
    return (
        'Sec. IV-C has the training regions "randomly sampled" and, in the next sentence, cut into patches of 64 × 64 '
        "with an overlap of 32 pixels, which is a regular grid, of "
        f"{count_patches(1792, 2048, 64, 32)} patches at ×4."
    )


@contradiction("H2")
def houstons_rest_has_fewer_rows(_: Numbers) -> str:
    return (
        'Sec. IV-D trains on "the rest of the image (4172×1202×48)" after cutting its top 512 rows, but 4172 rows are '
        f"all of the image: the rest has {4172 - 512}."
    )


@contradiction("H12")
def vdsr_and_3dfcnn_are_swapped(n: Numbers) -> str:
    vdsr, fcnn3d = (n.value(method, "Param_M", HOUSTON_X4) for method in ("VDSR", "3DFCNN"))
    return (
        "Table VI has VDSR's and 3DFCNN's Param and Flops at ×4 in each other's row: "
        f"{vdsr:.3f} M stands at VDSR and {fcnn3d:.3f} M at 3DFCNN, but VDSR's sizes in the other five settings follow "
        f"(B + 18 · 64 + B r²) · 64 · 9, which is {VDSR_PARAMETERS:.3f} M here."
    )


@contradiction("H9")
def share_of_computation_rounds_to_06(n: Numbers) -> str:
    share = n.percentage("MACs_G", "LKCA-Net", "ESSAformer", HOUSTON_X8)
    return (
        'Sec. IV-D gives LKCA-Net "approximately 0.5 percent" of ESSAformer\'s computation on Houston at ×8, but the '
        f"printed Flops are {share:.3f} %, which rounds to {share:.1f} %."
    )


@contradiction("H10")
def lkca_net_is_not_comparable_on_houston(n: Numbers) -> str:
    behind_x4, behind_x8 = (n.mpsnr_gain("ESSAformer", "LKCA-Net", task) for task in (HOUSTON_X4, HOUSTON_X8))
    ahead = n.mpsnr_gain("LKCA-Net", "SSPSR", HOUSTON_X8)
    return (
        'Sec. IV-D calls LKCA-Net "comparable" to ESSAformer on Houston, but Table VI has it '
        f"{behind_x4:.2f} dB behind at ×4 and {behind_x8:.2f} dB at ×8, where {ahead:.2f} dB over SSPSR are said to "
        'exceed it "significantly".'
    )


@contradiction("P2")
def essaformer_is_not_the_largest(n: Numbers) -> str:
    essaformer, sspsr, msdformer = (
        n.value(method, "Param_M", PAVIA_X4) for method in ("ESSAformer", "SSPSR", "MSDformer")
    )
    return (
        'Sec. IV-E calls ESSAformer "the largest model", but Table VII gives it '
        f"{essaformer:.1f} M parameters at ×4, fewer than SSPSR's {sspsr:.1f} M and MSDformer's {msdformer:.1f} M: "
        "only its Flops are the most."
    )


@contradiction("P6")
def ranking_on_pavia_differs_at_x8(n: Numbers) -> str:
    low_rank, distilled, essaformer = (n.mpsnr(method, PAVIA_X8) for method in ("LKCA-LR", "LKCA-KD", "ESSAformer"))
    ahead = sum(n.mpsnr(method, PAVIA_X8).value > essaformer.value for method in METHODS)
    return (
        'Sec. IV-E draws "the same conclusion" for Pavia at ×8 as at ×4, that LKCA-KD is second only to ESSAformer, '
        f"but Table VII has LKCA-LR first ({low_rank:.2f} dB), LKCA-KD second ({distilled:.2f} dB), and ESSAformer "
        f"({essaformer:.2f} dB) behind {ahead} methods."
    )


@contradiction("X1")
def distillation_loses_on_pavia_x8(n: Numbers) -> str:
    loss = n.mpsnr_gain("LKCA-LR", "LKCA-KD", PAVIA_X8)
    low_rank, distilled = n.mpsnr("LKCA-LR", PAVIA_X8), n.mpsnr("LKCA-KD", PAVIA_X8)
    return (
        "Sec. IV-E sees the feature alignment confirmed on Pavia, but at ×8 distillation lowers MPSNR there by "
        f"{loss:.4f} dB, from {low_rank:.4f} to {distilled:.4f} dB."
    )


@contradiction("P7", "P8")
def there_is_no_gap_on_pavia(n: Numbers) -> str:
    low_rank_x4, low_rank_x8 = (n.mpsnr_gain("LKCA-LR", "LKCA-Net", task) for task in (PAVIA_X4, PAVIA_X8))
    distilled_x8 = n.mpsnr_gain("LKCA-KD", "LKCA-Net", PAVIA_X8)
    return (
        'Feature alignment is there "to address the performance gap caused by the low-rank approximation" (Sec. '
        "III-D), but on Pavia there is no gap: LKCA-LR, without distillation, beats LKCA-Net by "
        f"{low_rank_x4:.4f} dB at ×4 and {low_rank_x8:.4f} dB at ×8, of which LKCA-KD, with distillation, keeps "
        f"{distilled_x8:.4f} dB at ×8."
    )
