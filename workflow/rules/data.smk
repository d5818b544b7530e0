rule fetch:
    """Download the files of a scene and check them. They are not outputs, so Snakemake never deletes them."""
    input:
        unpack(inputs("fetch")),
    output:
        "results/{exp}/scenes/{scene}.files.json",
    log:
        "results/{exp}/scenes/{scene}.files.log",
    priority: 2  # missing files are reported before anything is trained
    retries: 0  # whatever the profile says: the job retries downloads itself, and a rejected file stays rejected
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
    """Cut a scene from its cube and divide it by its maximum."""
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
