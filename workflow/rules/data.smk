rule fetch:
    """Download the files of a scene, or check those that are there. What it downloads is no output: nothing deletes it."""
    input:
        unpack(inputs("fetch")),
    output:
        "results/{exp}/scenes/{scene}.files.json",
    log:
        "results/{exp}/scenes/{scene}.files.log",
    priority: 2  # what is missing shall be said before anything is trained
    retries: 0  # whatever a profile says: it tries again by itself, and what is forbidden stays so
    localrule: True
    conda:
        "../../environment.yml"
    params:
        job=job_name("fetch"),
        command=command("fetch"),
        reason=reason("fetch"),
    message:
        "{params.job}: {params.reason}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"


rule scene:
    """Cut a scene from its cube and divide it by its one maximum."""
    input:
        unpack(inputs("scene")),
    output:
        array="results/{exp}/scenes/{scene}.npy",
        manifest="results/{exp}/scenes/{scene}.json",
    log:
        "results/{exp}/scenes/{scene}.log",
    benchmark:
        "results/{exp}/scenes/{scene}.benchmark.tsv"
    priority: 1
    conda:
        "../../environment.yml"
    params:
        job=job_name("scene"),
        command=command("scene"),
        reason=reason("scene"),
    message:
        "{params.job}: {params.reason}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"


rule split:
    """Divide a scene into test images, training and validation patches."""
    input:
        unpack(inputs("split")),
    output:
        "results/{exp}/splits/{scene}_x{scale}.json",
    log:
        "results/{exp}/splits/{scene}_x{scale}.log",
    benchmark:
        "results/{exp}/splits/{scene}_x{scale}.benchmark.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    params:
        job=job_name("split"),
        command=command("split"),
        reason=reason("split"),
    message:
        "{params.job}: {params.reason}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"
