rule settings:
    """Write all settings that a run depends on, and the hashes of its scene, its split and its teacher."""
    input:
        unpack(inputs("settings")),
    output:
        f"{RUN}/run.json",
    log:
        f"{RUN}/settings.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        job=job_name("settings"),
        command=command("settings"),
        reason=reason("settings"),
    message:
        "{params.job}: {params.reason}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"


rule train:
    """Train one network, with its teacher if it has one."""
    input:
        unpack(inputs("train")),
    output:
        weights=f"{RUN}/weights.safetensors",
        history=f"{RUN}/history.csv",
    log:
        f"{RUN}/train.log",
    benchmark:
        f"{RUN}/train.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: 1  # trainings are independent: one on each core is faster than one on all cores
    resources:
        gpu=int(ESTIMATES.gpu),
        mem_mb=memory("train"),
        runtime=minutes("train"),
    params:
        job=job_name("train"),
        command=command("train"),
        reason=reason("train"),
    message:
        "{params.job}: {params.reason}"
    shell:
        "{params.command} --gpus {resources.gpu:q} --outputs {output:q} |& tee {log:q}"


rule evaluate:
    """Score a run on its test images. If the code of a score changes, this runs again, but not the training."""
    input:
        unpack(inputs("evaluate")),
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
        mem_mb=memory("evaluate"),
        runtime=minutes("evaluate"),
    params:
        job=job_name("evaluate"),
        command=command("evaluate"),
        reason=reason("evaluate"),
    message:
        "{params.job}: {params.reason}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"


rule spectrum:
    """Compute the singular values of a trained upsampling layer."""
    input:
        unpack(inputs("spectrum")),
    output:
        f"{RUN}/spectrum.json",
    log:
        f"{RUN}/spectrum.log",
    benchmark:
        f"{RUN}/spectrum.benchmark.tsv"
    conda:
        "../../environment.yml"
    params:
        job=job_name("spectrum"),
        command=command("spectrum"),
        reason=reason("spectrum"),
    message:
        "{params.job}: {params.reason}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"


rule efficiency:
    """Measure time, memory and energy of the networks. It takes all cores and a GPU, so that no other job runs."""
    input:
        unpack(inputs("efficiency")),
    output:
        "results/{exp}/efficiency/{scene}_x{scale}.json",
    log:
        "results/{exp}/efficiency/{scene}_x{scale}.log",
    # It has no `benchmark`, with which Snakemake would inspect the memory of the process while it measures.
    conda:
        "../../environment.yml"
    threads: CORES
    resources:
        gpu=int(ESTIMATES.gpu),
    params:
        job=job_name("efficiency"),
        command=command("efficiency"),
        reason=reason("efficiency"),
    message:
        "{params.job}: {params.reason}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"
