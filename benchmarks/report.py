"""Tables, figures, claims and report of the full experiment from finished runs: seconds, memory and the page's size.

Every run of config.yaml with three seeds is made up, with files of full size: scores of four, eight and three test
images, histories of 300 epochs, pictures of 512 x 512, 256 x 256 and 224 x 224 pixels. Snakemake then makes all that
follows from them, on two cores. The numbers are print's with some chance added: what the report says of them says
nothing.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from contextlib import chdir
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
import yaml
from networks import ending, facts_of, file_name, ready, write
from rehearsal import memory

from lkca.config.load import deep_merge, parse_config
from lkca.config.schema import Experiment
from lkca.core.files import json_digest, read_json, sha256, write_json
from lkca.errors import LkcaError
from lkca.pipeline.results import Results
from tests import fake_results

REPOSITORY = Path(__file__).parents[1]
CORES, SEEDS, EPOCHS = 2, [3000, 3001, 3002], 300
SECONDS, MEMORY, PAGE = 60, 2 * 10**9, 25 * 10**6  # limits
RULES = ["table", "figure", "claims", "report", "all"]  # the rest is finished


def make_up(root: Path, e: Experiment) -> int:
    """Write all that the rules read. Returns the number of runs."""
    with (REPOSITORY / "lkca/paper/paper_tables.csv").open(encoding="utf-8", newline="") as file:
        printed = {
            (line["scene"], int(line["scale"]), e.tables[line["table"]].rows[line["row"]]): line
            for line in csv.DictReader(file)
        }
    pictures: dict[tuple[str, int, str], Path] = {}
    sizes: dict[tuple[str, int], dict[str, dict[str, int]]] = {}
    for scene in e.scenes:
        fake_results.write_scene(root, scene)
    for scene, scale, model, seed in e.runs():
        fake_results.write_split(root, scene, scale)
        names = (model, model.removesuffix("_lr"), "lkca")  # the last for the teacher
        like = next(printed[scene, scale, name] for name in names if (scene, scale, name) in printed)
        rng = np.random.default_rng([seed, scale, *scene.encode(), *model.encode()])
        trained = e.models[model].train is not None
        test = e.scenes[scene].test
        count = test.rows * test.columns // (test.tile_shape()[0] * test.tile_shape()[1])
        scores = {
            name: (float(like[name] or fake_results.SCORES[name]) * (1 + rng.normal(0, 1e-3, count) * trained)).tolist()
            for name in fake_results.SCORES
        }
        size = {"params": int(1e6 * float(like["Param_M"] or 0)), "macs": int(1e9 * float(like["MACs_G"] or 0))}
        sizes.setdefault((scene, scale), {})[model] = size
        path = fake_results.write_run(
            root,
            model,
            scene=scene,
            scale=scale,
            seed=seed,
            steps=EPOCHS * 800 * trained,
            **size,
            **scores,
        )
        picture = path.with_name("image.npz")
        if (scene, scale, model) not in pictures:
            paint(picture, test.tile_shape()[0], e.scenes[scene].bands, rng)
            pictures[scene, scale, model] = picture
        else:  # other seeds' pictures are in no figure
            picture.unlink()
            os.link(pictures[scene, scale, model], picture)
        if trained:
            learn(path.with_name("history.csv"), rng)
        whole = read_json(path) | {"image_sha256": sha256(picture)}
        if trained:
            whole["history_sha256"] = sha256(path.with_name("history.csv"))
        path.write_text(json.dumps(whole | {"digest": json_digest(whole)}))
    speed(root, e, sizes)
    return len(e.runs())


def speed(root: Path, e: Experiment, sizes: dict[tuple[str, int], dict[str, dict[str, int]]]) -> None:
    """Latencies that go with the root of the MACs, of a CPU and a GPU."""
    for (scene, scale), models in sizes.items():
        costs = {model: 1e-6 * size["macs"] ** 0.5 for model, size in models.items()}
        measured = [
            {
                "device": device,
                "name": f"made-up {device}",
                "threads": 2,
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
                    }
                    for model, cost in costs.items()
                },
            }
            for device, factor in (("cpu", 1), ("cuda", 50))
        ]
        facts = {"scene": scene, "scale": scale, "bands": e.scenes[scene].bands, "lr_side": 16, "commit": None}
        write_json(root / f"efficiency/{scene}_x{scale}.json", {**facts, "measured": measured, "versions": {}})


def paint(path: Path, side: int, bands: int, rng: np.random.Generator) -> None:
    """A picture as rough as landscapes are, and a reconstruction that misses its finest detail."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    noise = np.fft.rfft2(rng.normal(size=(3, side, side)) + 3 * rng.normal(size=(side, side))) / np.maximum(
        frequency, 1 / side
    )
    hr, sr = (np.fft.irfft2(each, (side, side)) for each in (noise, noise * (frequency < 0.1)))
    hr, sr = (np.float32(0.3 + 0.1 * each / hr.std()).transpose(1, 2, 0) for each in (hr, sr))
    grid = (2 * np.arange(12) + 1) * side // 24
    spectra = np.float32(hr.mean(-1)[grid[:, None], grid] * np.linspace(1, 0.5, bands)[:, None, None])
    error = np.abs(sr - hr).mean(-1)
    spots = {"rows": grid, "columns": grid, "spectra_hr": spectra, "spectra_sr": spectra + rng.normal(0, 0.01)}
    np.savez(path, hr=hr, sr=sr, error=error, **spots)


def learn(path: Path, rng: np.random.Generator) -> None:
    """A history of all epochs."""
    lines = list(csv.DictReader(path.open(newline="")))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        for epoch in range(1, EPOCHS + 1):
            loss = 0.01 + 0.1 / epoch + rng.normal(0, 1e-4)
            seen = {"epoch": epoch, "steps": epoch * 800, "loss": loss, "loss_h": loss, "seconds": epoch * 60.0}
            writer.writerow(lines[0] | seen | {"val_l1": loss, "val_mpsnr": 40 - 100 * loss})


def record(results: Results) -> None:
    """Write the records of the jobs whose results are made up."""
    for job in results.jobs.all:
        if job.step not in RULES:
            results.write_record(job, job.code(), [])


def measure(work: Path) -> dict[str, Any]:
    """Let Snakemake make the report, and watch it."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(CORES), "--configfile", "config.yaml", "seeds.yaml"]
    command += ["--quiet", "all", "--allowed-rules", *RULES]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where its jobs find this Python
    began, peak = perf_counter(), 0
    process = subprocess.Popen(command, cwd=work, env=os.environ | {"PATH": path}, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            sleep(0.1)
    finally:
        process.terminate()
    seconds = perf_counter() - began
    if process.returncode:
        raise LkcaError(f"snakemake ended with code {process.returncode}: its words stand above.")
    page = work / "results/paper/report.html"
    return {"seconds": f"{seconds:.1f}", "peak_GB": f"{peak / 1e9:.3f}", "page_MB": f"{page.stat().st_size / 1e6:.2f}"}


def main() -> None:
    """Make runs up, build the report, print and write what it took."""
    parser = argparse.ArgumentParser(description="Time the report of the full experiment.")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks", help="folder of the CSV")
    parser.add_argument("--keep", type=Path, help="a folder for the made-up experiment, to look at it")
    options = parser.parse_args()
    ready("report", "cpu")
    with ending("report"), tempfile.TemporaryDirectory(prefix="report-") as temporary:
        work = options.keep or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        for name in ("Snakefile", "lkca", "workflow", "config.yaml"):
            (work / name).symlink_to(REPOSITORY / name)
        (work / "seeds.yaml").write_text(yaml.safe_dump({"seeds": SEEDS}))
        config = yaml.safe_load((work / "config.yaml").read_text())
        e = parse_config(deep_merge(config, {"seeds": SEEDS}))
        runs = make_up(work / "results/paper", e)
        with chdir(work):
            record(Results(e))
        print(f"{runs} runs made up; building the report on {CORES} cores", flush=True)
        found = measure(work)
        for what, limit, unit in (
            ("seconds", SECONDS, "s"),
            ("peak_GB", MEMORY / 1e9, "GB"),
            ("page_MB", PAGE / 1e6, "MB"),
        ):
            holds = "holds" if float(found[what]) <= limit else "DOES NOT HOLD"
            print(f"{what.partition('_')[0]}: {found[what]} {unit}, limit {limit:g}: {holds}")
        facts = facts_of("cpu")
        path = options.out / f"report_{file_name(facts['device'])}.csv"
        write(path, [{"runs": runs, **found, "cores": CORES, **facts}])
        print(path)


if __name__ == "__main__":
    main()
