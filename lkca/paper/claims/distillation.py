"""Claims about the feature alignment, which is distillation from a teacher (III-D)."""

from math import cos

from lkca.paper.claims.definitions import claim
from lkca.paper.claims.logic import Truth, all_of, exact
from lkca.paper.claims.numbers import Numbers

LOSS_WEIGHTS = {"train.sam": 0.5, "train.grad": 0.1, "distill.cos": 0.5, "distill.sam": 0.5, "distill.grad": 0.1}


@claim(
    "K1",
    "III-D",
    "method",
    "The loss weights are 0.5 and 0.1 beside L1, and 0.5, 0.5 and 0.1 in the distillation loss.",
    needs="code",
    values={"lambda 1 to 5": lambda n: [n.setting("lkca_kd", path) for path in LOSS_WEIGHTS]},
    note="0.5 and 0.1 are those of MSDformer's published program, whose spectral angle is in radians divided by pi.",
)
def loss_weights_are_the_papers(n: Numbers) -> Truth:
    return all_of(exact(n.setting("lkca_kd", path) == weight) for path, weight in LOSS_WEIGHTS.items())


@claim(
    "K2",
    "III-D",
    "method",
    "The weight of the distillation loss is a staircase, 1 in epochs 0 to 9, 0.66 in epochs 10 to 19, below 2 % from "
    "epoch 100.",
    needs="arithmetic",
    values={"weight in epoch 100": lambda _: 0.66 ** (100 // 10)},
    note="With alpha = 0.01 the term counts less than 1e-4 of its own size from epoch 120.",
)
def weight_is_a_staircase(_: Numbers) -> Truth:
    return exact(0.66 ** (9 // 10) == 1 and 0.66 ** (10 // 10) == 0.66 and 0.66 ** (100 // 10) < 0.02)


@claim(
    "K3",
    "III-D, Eq. 18",
    "inconsistency",
    "The cosine loss is 0 where student and teacher agree.",
    needs="arithmetic",
    values={"loss at perfect agreement as printed": lambda _: 1 - cos(1)},
    note="Printed as the cosine of a cosine. We take one minus the mean cosine over pixels.",
)
def cosine_loss_is_zero_at_agreement(_: Numbers) -> Truth:
    return exact(1 - cos(1) == 0)
