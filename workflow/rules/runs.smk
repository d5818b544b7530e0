rule settings:
    """Write down all settings that a run depends on, and the hashes of its scene, its split and its teacher."""
    input:
        unpack(files("settings")),
    output:
        f"{RUN}/run.json",
    log:
        f"{RUN}/settings.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        job=name_of("settings"),
        command=command("settings"),
        why=why("settings"),
    message:
        "{params.job}: {params.why}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"


rule train:
    """Train one network, from its teacher if it has one."""
    input:
        unpack(files("train")),
    output:
        weights=f"{RUN}/weights.safetensors",
        history=f"{RUN}/history.csv",
    log:
        f"{RUN}/train.log",
    benchmark:
        f"{RUN}/train.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: 1  # many trainings that wait for nothing: one on each core gets more done than one on all cores
    resources:
        gpu=int(ESTIMATES.gpu),
        mem_mb=memory_of("training"),
        runtime=minutes_of("training"),
    params:
        job=name_of("train"),
        command=command("train"),
        why=why("train"),
    message:
        "{params.job}: {params.why}"
    shell:
        "{params.command} --gpus {resources.gpu:q} --outputs {output:q} |& tee {log:q}"


rule evaluate:
    """Score a run on its test images; a corrected score comes here and trains nothing."""
    input:
        unpack(files("evaluate")),
    output:
        scores=f"{RUN}/scores.json",
        image=f"{RUN}/image.npz",
    log:
        f"{RUN}/evaluate.log",
    benchmark:
        f"{RUN}/evaluate.benchmark.tsv"
    conda:
        "../../environment.yml"
    resources:
        gpu=int(ESTIMATES.gpu),
        mem_mb=memory_of("evaluation"),
        runtime=minutes_of("evaluation"),
    params:
        job=name_of("evaluate"),
        command=command("evaluate"),
        why=why("evaluate"),
    message:
        "{params.job}: {params.why}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"


rule spectrum:
    """Take the singular values of a trained upsampling layer."""
    input:
        unpack(files("spectrum")),
    output:
        f"{RUN}/spectrum.json",
    log:
        f"{RUN}/spectrum.log",
    benchmark:
        f"{RUN}/spectrum.benchmark.tsv"
    conda:
        "../../environment.yml"
    params:
        job=name_of("spectrum"),
        command=command("spectrum"),
        why=why("spectrum"),
    message:
        "{params.job}: {params.why}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"


rule efficiency:
    """Measure what the networks cost when they run. No other job runs beside it: it takes all cores and a GPU."""
    input:
        unpack(files("efficiency")),
    output:
        "results/{exp}/efficiency/{scene}_x{scale}.json",
    log:
        "results/{exp}/efficiency/{scene}_x{scale}.log",
    benchmark:
        "results/{exp}/efficiency/{scene}_x{scale}.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: CORES
    resources:
        gpu=int(ESTIMATES.gpu),
    params:
        job=name_of("efficiency"),
        command=command("efficiency"),
        why=why("efficiency"),
    message:
        "{params.job}: {params.why}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"
