"""Claims about all scenes (III-D, V and Tables V to VII)."""

from lkca.paper.claims.definitions import claim
from lkca.paper.claims.logic import Truth, all_of, any_of, at_least, at_most, greater, less
from lkca.paper.claims.numbers import (
    BASELINES,
    CHIKUSEI_X8,
    LIGHT_METHODS,
    LKCA_METHODS,
    METHODS,
    PAVIA_X4,
    PAVIA_X8,
    TASKS,
    Numbers,
    Task,
    methods_except,
)


def is_best(n: Numbers, method: str, task: Task) -> Truth:
    """Test whether no method is better by MPSNR, RMSE or ERGAS."""
    return all_of(
        at_least(n.mpsnr(method, task), n.mpsnr(other, task))
        & at_most(n.value(method, "RMSE", task), n.value(other, "RMSE", task))
        & at_most(n.value(method, "ERGAS", task), n.value(other, "ERGAS", task))
        for other in methods_except(method)
    )


@claim(
    "X1",
    "III-D, V",
    "ranking",
    "Not said: feature alignment improves the MPSNR of the low-rank network in every setting.",
    values={"gain in the six settings, dB": lambda n: [n.mpsnr_gain("LKCA-KD", "LKCA-LR", task) for task in TASKS]},
    note="As printed, Pavia at ×8 loses.",
)
def distillation_improves_mpsnr(n: Numbers) -> Truth:
    return all_of(greater(n.mpsnr("LKCA-KD", task), n.mpsnr("LKCA-LR", task)).case(task) for task in TASKS)


@claim(
    "X2",
    "III-D",
    "ranking",
    "Not said: feature alignment improves the spectral angle of the low-rank network in every setting.",
    values={
        "change of SAM in the six settings, degrees": lambda n: [
            n.value("LKCA-KD", "SAM", task) - n.value("LKCA-LR", "SAM", task) for task in TASKS
        ],
    },
    note="The cosine and SAM terms act where they should.",
)
def distillation_improves_sam(n: Numbers) -> Truth:
    return all_of(less(n.value("LKCA-KD", "SAM", task), n.value("LKCA-LR", "SAM", task)).case(task) for task in TASKS)


@claim(
    "X3",
    "V",
    "ranking",
    "Not said: all three LKCA networks beat bicubic, VDSR and 3DFCNN by MPSNR in every setting.",
)
def lkca_networks_beat_light_methods(n: Numbers) -> Truth:
    return all_of(
        greater(n.mpsnr(method, task), n.mpsnr(other, task)).case(method, other, task)
        for method in LKCA_METHODS
        for other in ("Bicubic", *LIGHT_METHODS)
        for task in TASKS
    )


@claim(
    "X4",
    "Tab. V-VII",
    "ranking",
    "Not said: ESSAformer has the best MPSNR in every setting but Pavia at ×8.",
)
def essaformer_is_best_but_on_pavia_x8(n: Numbers) -> Truth:
    return all_of(
        greater(n.mpsnr("ESSAformer", task), n.mpsnr(method, task)).case(method, task)
        for method in methods_except("ESSAformer")
        for task in TASKS
        if task != PAVIA_X8
    ) & any_of(
        greater(n.mpsnr(method, PAVIA_X8), n.mpsnr("ESSAformer", PAVIA_X8)) for method in methods_except("ESSAformer")
    )


@claim(
    "X5",
    "Tab. V-VII",
    "ranking",
    "Not said: an LKCA network has the best SAM on Chikusei at ×8 and on Pavia at both scales.",
)
def an_lkca_network_has_the_best_sam(n: Numbers) -> Truth:
    return all_of(
        any_of(
            all_of(less(n.value(method, "SAM", task), n.value(other, "SAM", task)) for other in BASELINES)
            for method in LKCA_METHODS
        ).case(task)
        for task in (CHIKUSEI_X8, PAVIA_X4, PAVIA_X8)
    )


@claim(
    "X6",
    "Tab. V-VII",
    "ranking",
    "MPSNR, RMSE and ERGAS agree on the best method in every setting.",
    note="The printed RMSE may be shared by several methods.",
)
def scores_agree_on_the_best_method(n: Numbers) -> Truth:
    return all_of(any_of(is_best(n, method, task) for method in METHODS).case(task) for task in TASKS)
