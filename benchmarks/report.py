"""Measure time, memory and page size of the report of the full experiment, with its tables and figures: `make bench`.

The runs of config.yaml, with three seeds, are fake, but their files have full size: scores of three to eight test
images, histories of 300 epochs, images of 512 x 512, 256 x 256 and 224 x 224 pixels. Snakemake builds everything that
depends on them, on two cores. The scores are the printed numbers with noise, so the report has no meaning.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import chdir
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
import yaml
from networks import check_device, describe_machine, exit_on_error, make_slug, write_rows
from rehearsal import resident_memory

from lkca.config.load import parse_config
from lkca.config.schema import Experiment
from lkca.config.settings import RunSettings
from lkca.config.yaml_files import deep_merge
from lkca.core.files import json_digest, read_csv, read_json, sha256, write_csv, write_json
from lkca.core.paths import RunGroup
from lkca.errors import LkcaError
from lkca.pipeline.results import Results
from tests import fake_results

REPOSITORY = Path(__file__).parents[1]
CORES, SEEDS, EPOCHS = 2, [3000, 3001, 3002], 300
STEPS_PER_EPOCH = 800
LIMITS = {"seconds": 60, "peak_GB": 2, "page_MB": 25}
RULES = ["table", "figure", "claims", "report", "all"]  # the results of all other rules are fake


def write_runs(root: Path, experiment: Experiment) -> int:
    """Write all files that the rules read, and return the number of runs."""
    printed = {
        (line["scene"], int(line["scale"]), experiment.tables[line["table"]].rows[line["row"]]): line
        for line in read_csv(REPOSITORY / "lkca/paper/paper_tables.csv")
    }
    images: dict[tuple[str, int, str], Path] = {}
    sizes: dict[tuple[str, int], dict[str, dict[str, int]]] = {}
    for scene in experiment.scenes:
        fake_results.write_scene(root, scene)
    for scene, scale, model, seed in experiment.runs():
        fake_results.write_split(root, scene, scale)
        names = (model, model.removesuffix("_lr"), "lkca")  # the paper prints no scores of the teacher: use LKCA-Net's
        row = next(printed[scene, scale, name] for name in names if (scene, scale, name) in printed)
        rng = np.random.default_rng([seed, scale, *scene.encode(), *model.encode()])
        trained = experiment.models[model].train is not None
        test = experiment.scenes[scene].test
        side, _ = test.tile_shape()
        num_images = test.rows * test.columns // (side * side)
        scores = {
            name: (float(row.get(name) or default) * (1 + rng.normal(0, 1e-3, num_images) * trained)).tolist()
            for name, default in fake_results.SCORES.items()
        }
        size = {"params": int(1e6 * float(row["Param_M"] or 0)), "macs": int(1e9 * float(row["MACs_G"] or 0))}
        sizes.setdefault((scene, scale), {})[model] = size
        key = {"scene": scene, "scale": scale, "seed": seed, "steps": EPOCHS * STEPS_PER_EPOCH * trained}
        path = fake_results.write_run(root, model, **key, **size, **scores)
        image = path.with_name("image.npz")
        if (scene, scale, model) not in images:
            write_image(image, side, fake_results.BANDS, rng)
            images[scene, scale, model] = image
        else:  # the images of other seeds are links, because no figure shows them
            image.unlink()
            os.link(images[scene, scale, model], image)
        run_file = path.with_name("run.json")
        settings = RunSettings.of(experiment, RunGroup(scene, scale, model)).model_dump(mode="json")
        write_json(run_file, read_json(run_file) | settings)
        content = read_json(path) | {"run_sha256": sha256(run_file), "image_sha256": sha256(image)}
        if trained:
            write_history(path.with_name("history.csv"), rng)
            content["history_sha256"] = sha256(path.with_name("history.csv"))
        path.write_text(json.dumps(content | {"digest": json_digest(content)}))
    write_efficiency(root, experiment, sizes)
    return len(experiment.runs())


def write_efficiency(
    root: Path, experiment: Experiment, sizes: dict[tuple[str, int], dict[str, dict[str, int]]]
) -> None:
    """Write latencies of a CPU and a GPU, proportional to the square root of the MACs."""
    for (scene, scale), models in sizes.items():
        costs = {model: 1e-6 * max(size["macs"], 1) ** 0.5 for model, size in models.items()}
        ratios = {model: cost / costs["lkca_lr"] for model, cost in costs.items() if "lkca_lr" in costs}
        measured = [
            {
                "device": device,
                "name": f"fake {device}",
                "threads": 2,
                "processors": 2,
                "models": {
                    model: {
                        **models[model],
                        "latency_s": cost / factor,
                        "latency_low_s": 0.9 * cost / factor,
                        "latency_high_s": 1.2 * cost / factor,
                        "batch": 4,
                        "throughput_per_s": factor / cost if cost else 1e6,
                        "memory_mib": 100.0,
                        "energy_j": 10 * cost if device == "cuda" else None,
                        "time_ratio": {
                            "value": ratios[model],
                            "low": 0.98 * ratios[model],
                            "high": 1.02 * ratios[model],
                        }
                        if ratios.get(model)
                        else None,
                        "disturbed": "",
                    }
                    for model, cost in costs.items()
                },
            }
            for device, factor in (("cpu", 1), ("cuda", 50))
        ]
        facts = {"scene": scene, "scale": scale, "bands": experiment.scenes[scene].bands, "lr_side": 16, "commit": None}
        write_json(root / f"efficiency/{scene}_x{scale}.json", {**facts, "measured": measured, "versions": {}})


def write_image(path: Path, side: int, bands: int, rng: np.random.Generator) -> None:
    """Write an image with the 1 / f power spectrum of landscapes, and a reconstruction without its finest detail."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    noise = np.fft.rfft2(rng.normal(size=(3, side, side)) + 3 * rng.normal(size=(side, side))) / np.maximum(
        frequency, 1 / side
    )
    hr, sr = (np.fft.irfft2(spectrum, (side, side)) for spectrum in (noise, noise * (frequency < 0.1)))
    hr, sr = (np.float32(0.3 + 0.1 * image / hr.std()).transpose(1, 2, 0) for image in (hr, sr))
    grid = (2 * np.arange(12) + 1) * side // 24
    spectra = np.float32(hr.mean(-1)[grid[:, None], grid] * np.linspace(1, 0.5, bands)[:, None, None])
    error = np.abs(sr - hr).mean(-1)
    spectra_arrays = {"rows": grid, "columns": grid, "spectra_hr": spectra, "spectra_sr": spectra + rng.normal(0, 0.01)}
    np.savez(path, hr=hr, sr=sr, error=error, bands=[1, 2, 3], **spectra_arrays)


def write_history(path: Path, rng: np.random.Generator) -> None:
    """Replace the history of a fake run by one with EPOCHS lines."""
    columns = read_csv(path)[0]
    lines = []
    for epoch in range(1, EPOCHS + 1):
        loss = 0.01 + 0.1 / epoch + rng.normal(0, 1e-4)
        line = {"epoch": epoch, "steps": epoch * STEPS_PER_EPOCH, "loss": loss, "loss_h": loss, "seconds": epoch * 60.0}
        lines.append(columns | line | {"val_l1": loss, "val_mpsnr": 40 - 100 * loss})
    write_csv(path, columns, lines)


def write_records(results: Results) -> None:
    """Write the records of the jobs whose results are fake."""
    for job in results.jobs.all:
        if job.step not in RULES:
            results.write_record(job, job.code(), [])


def build_report(work: Path) -> dict[str, str]:
    """Let Snakemake build the report, and return duration, peak memory and page size: column of the CSV -> text."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(CORES), "--configfile", "config.yaml", "seeds.yaml"]
    command += ["--quiet", "all", "--allowed-rules", *RULES]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the jobs use this Python
    start, peak = perf_counter(), 0
    process = subprocess.Popen(command, cwd=work, env=os.environ | {"PATH": path}, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            peak = max(peak, resident_memory(process.pid))
            sleep(0.1)
    finally:
        process.terminate()
    seconds = perf_counter() - start
    if process.returncode:
        raise LkcaError(f"snakemake ended with exit code {process.returncode}: see its messages above.")
    page = work / "results/paper/report.html"
    return {"seconds": f"{seconds:.1f}", "peak_GB": f"{peak / 1e9:.3f}", "page_MB": f"{page.stat().st_size / 1e6:.2f}"}


def main() -> None:
    """Write fake runs, build the report, print its time, memory and size, and write the CSV."""
    parser = argparse.ArgumentParser(description="Time the report of the full experiment.")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks", help="folder of the CSV")
    parser.add_argument("--keep", type=Path, help="folder for the fake experiment; by default it is deleted")
    options = parser.parse_args()
    check_device("report", "cpu")
    with exit_on_error("report"), tempfile.TemporaryDirectory(prefix="report-") as temporary:
        work = options.keep or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        for name in ("Snakefile", "lkca", "workflow", "config.yaml"):
            (work / name).symlink_to(REPOSITORY / name)
        (work / "seeds.yaml").write_text(yaml.safe_dump({"seeds": SEEDS}))
        config = yaml.safe_load((work / "config.yaml").read_text())
        experiment = parse_config(deep_merge(config, {"seeds": SEEDS}))
        num_runs = write_runs(work / "results/paper", experiment)
        with chdir(work):
            write_records(Results(experiment))
        print(f"{num_runs} fake runs written; building the report on {CORES} cores", flush=True)
        usage = build_report(work)
        for name, limit in LIMITS.items():
            verdict = "holds" if float(usage[name]) <= limit else "DOES NOT HOLD"
            print(f"{name}: {usage[name]}, limit {limit}: {verdict}")
        facts = describe_machine("cpu")
        path = options.out / f"report_{make_slug(facts['device'])}.csv"
        write_rows(path, [{"runs": num_runs, **usage, "cores": CORES, **facts}])
        print(path)


if __name__ == "__main__":
    main()
