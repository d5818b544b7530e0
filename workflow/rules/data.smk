rule fetch:
    """Download the files of a scene, or check those that are there. What it downloads is no output: nothing deletes it."""
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
        settings=lambda w: scene_settings(EXPERIMENT, w.scene),
        newer=newer_files,  # so that a change of them is seen
    shell:
        """
        python -m lkca fetch {wildcards.scene:q} \
            --settings {params.settings:q} \
            --receipt {output:q} |& tee {log:q}
        """


rule scene:
    """Cut a scene from its cube and divide it by its one maximum."""
    input:
        receipt=receipt_of,
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
        settings=lambda w: scene_settings(EXPERIMENT, w.scene),
        code=[module_digest("scenes"), module_digest("readers")],  # so that a change of it is seen
    shell:
        """
        python -m lkca scene \
            --settings {params.settings:q} \
            --out {output.array:q} \
            --manifest {output.manifest:q} |& tee {log:q}
        """


rule split:
    """Divide a scene into test images, training and validation patches."""
    input:
        manifest="results/{exp}/scenes/{scene}.json",
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
        settings=lambda w: split_settings(EXPERIMENT, w.scene, int(w.scale)),
        code=module_digest("patches"),  # so that a change of it is seen
    shell:
        """
        python -m lkca split \
            --settings {params.settings:q} \
            --manifest {input.manifest:q} \
            --out {output:q} |& tee {log:q}
        """
