"""Test whether measured ratios of times hold on a busy machine.

Each trial measures the networks as `lkca efficiency` does (`lkca.scoring.rounds`) while other programs keep processors
busy: in the trials "half", one on each processor, for half of the time, at moments that a seed chooses; in the trials
"taken", one that takes the first processor all the time. A ratio that is printed should lie within 25 % of that on the
quiet machine; the others must be flagged. Columns of the CSV:

- trial, seed, model: what was measured.
- quiet: ratio to the time of lkca_lr on the quiet machine.
- ratio, low, high: ratio in the trial and its 95 % interval; empty if it is not printed.
- deviation: ratio / quiet - 1.
- flag: the sentence that is printed instead of the ratio.
- seconds, rounds: of the whole trial.

Run nothing else on the machine: the quiet measurement is the reference.
"""

import argparse
import multiprocessing
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import networks

from lkca.config.load import read_config
from lkca.config.schema import Experiment
from lkca.config.settings import REFERENCE, BenchmarkSettings
from lkca.scoring.benchmark import new_rounds, process_pool, summarise_latency, time_part
from lkca.scoring.load import usable_processors
from lkca.scoring.rounds import MIN_ROUNDS

SCENE, SCALE, TABLES = "chikusei", 4, ("V", "S1")
MEAN_SECONDS = 0.5  # mean length of a busy and of an idle period of a program that is busy for half of the time
TOLERANCE = 0.25
QUIET_TRIALS = 5  # at most; the first ratio of each network counts
FORK = multiprocessing.get_context("fork")


def keep_busy(processor: int, seed: int | None) -> None:
    """Use a processor until this process is killed: all the time without a seed, otherwise for half of it."""
    os.sched_setaffinity(0, {processor})
    rng, memory = random.Random(seed), bytearray(2**22)
    while True:
        end = perf_counter() + rng.expovariate(1 / MEAN_SECONDS)
        while perf_counter() < end:
            memory[:] = bytes(memory)
        if seed is not None:
            sleep(rng.expovariate(1 / MEAN_SECONDS))


@contextmanager
def disturbances(scenario: str, seed: int) -> Iterator[None]:
    """Run the other programs of a scenario for the block."""
    processors = usable_processors()
    arguments = {
        "quiet": [],
        "half": [(processor, 1000 * seed + processor) for processor in processors],
        "taken": [(processors[0], None)],
    }[scenario]
    programs = [FORK.Process(target=keep_busy, args=pair, daemon=True) for pair in arguments]
    for program in programs:
        program.start()
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.join()


def default_models(experiment: Experiment) -> list[str]:
    """Return the models of the tables, of each network one."""
    groups = {group for name in TABLES for group in experiment.tables[name].groups()}
    models = sorted({group.model for group in groups if (group.scene, group.scale) == (SCENE, SCALE)})
    settings = BenchmarkSettings.of(experiment, SCENE, SCALE, [*models, REFERENCE])
    # Of equal networks, the last one is kept.
    return [*{network.model_dump_json(): model for model, network in settings.models.items()}.values()]


def run_trial(settings: BenchmarkSettings, scenario: str, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure the networks next to the programs of a scenario: facts about the measurement, and latency by model."""
    start, rounds = perf_counter(), new_rounds(list(settings.models))
    with disturbances(scenario, seed), process_pool(1) as pool:
        for _ in MIN_ROUNDS:
            rounds, _ = pool.submit(time_part, settings, rounds, "cpu").result()
    latencies = {model: dict(summarise_latency(rounds, model)) for model in settings.models}
    return rounds.describe() | {"seconds": perf_counter() - start}, latencies


def compare(latencies: dict[str, Any], model: str, quiet: float) -> dict[str, Any]:
    """Return the columns of the CSV about the ratio of a model."""
    ratio = latencies[model]["time_ratio"]
    if ratio:
        numbers = {**ratio, "deviation": ratio["value"] / quiet - 1}
        numbers = {"ratio": numbers.pop("value"), **numbers}
        return {"quiet": round(quiet, 5), **{name: round(value, 5) for name, value in numbers.items()}, "flag": ""}
    flag = latencies[model]["disturbed"] or f"{REFERENCE}: {latencies[REFERENCE]['disturbed']}"
    return {"quiet": round(quiet, 5), **dict.fromkeys(["ratio", "low", "high", "deviation"]), "flag": flag}


def main() -> None:
    """Measure quietly, then in the trials; print a summary of each scenario and write the CSV."""
    experiment = read_config([networks.REPOSITORY / "config.yaml"])
    parser = argparse.ArgumentParser(description="Test whether measured ratios hold on a busy machine.")
    parser.add_argument("--trials", type=int, default=20, help="trials of each scenario")
    parser.add_argument("--scenarios", nargs="+", choices=["half", "taken"], default=["half", "taken"])
    parser.add_argument("--models", nargs="+", choices=experiment.models, default=default_models(experiment))
    parser.add_argument("--out", type=Path, default=networks.REPOSITORY / "benchmarks", help="folder of the CSV")
    options = parser.parse_args()
    networks.check_device("disturbed", "cpu")
    machine, rows, far = networks.describe_machine("cpu"), [], 0
    settings = BenchmarkSettings.of(experiment, SCENE, SCALE, list(dict.fromkeys([REFERENCE, *options.models])))
    path = options.out / f"disturbed_{networks.make_slug(machine['device'])}.csv"
    with networks.exit_on_error("disturbed"):
        quiet: dict[str, float] = {}
        for _ in range(QUIET_TRIALS):
            _, latencies = run_trial(settings, "quiet", 0)
            for model, cost in latencies.items():
                print(f"quiet {model:14} {describe(cost)}", flush=True)
                if cost["time_ratio"]:
                    quiet.setdefault(model, cost["time_ratio"]["value"])
            if quiet.keys() >= settings.models.keys():
                break
        if missing := settings.models.keys() - quiet.keys():
            print(f"disturbed: the machine is not quiet: {', '.join(sorted(missing))} left out.", file=sys.stderr)
        if quiet.keys() <= {REFERENCE}:
            sys.exit("disturbed: no ratio is left: end other programs.")
        for scenario in options.scenarios:
            of_scenario: list[dict[str, Any]] = []
            for seed in range(options.trials):
                facts, latencies = run_trial(settings, scenario, seed)
                of_trial = [
                    {"trial": scenario, "seed": seed, "model": model}
                    | compare(latencies, model, quiet[model])
                    | {"seconds": round(facts["seconds"], 1), "rounds": facts["rounds"]}
                    for model in latencies
                    if model != REFERENCE and model in quiet
                ]
                of_scenario += of_trial
                networks.write_rows(path, [row | machine for row in rows + of_scenario])
                printed = sum(row["ratio"] is not None for row in of_trial)
                print(
                    f"{scenario} {seed}: {printed} of {len(of_trial)} ratios printed, {facts['seconds']:.1f} s, "
                    f"{facts['rounds']} rounds, load {facts['load']}",
                    flush=True,
                )
            rows += of_scenario
            deviations = [abs(row["deviation"]) for row in of_scenario if row["deviation"] is not None]
            wrong = sum(deviation > TOLERANCE for deviation in deviations)
            far += wrong
            print(
                f"{scenario}: {len(deviations)} of {len(of_scenario)} ratios printed, the others flagged; "
                f"largest deviation {max(deviations, default=0):.1%}, {wrong} beyond {TOLERANCE:.0%}"
            )
        print(path)
    sys.exit(1 if far else 0)


def describe(cost: dict[str, Any]) -> str:
    """Return the time and the ratio of a network, or why there is none."""
    text = f"{cost['latency_s'] * 1e3:8.2f} ms " if cost["latency_s"] else ""
    if ratio := cost["time_ratio"]:
        return text + "{value:.4g} ({low:.4g} to {high:.4g})".format(**ratio)
    return text + (cost["disturbed"] or f"no ratio, because {REFERENCE} was disturbed")


if __name__ == "__main__":
    main()
