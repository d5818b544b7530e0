rule scene:
    """Cut a scene from its cube and divide it by its one maximum."""
    output:
        array="results/{exp}/scenes/{scene}.npy",
        manifest="results/{exp}/scenes/{scene}.json",
    log:
        "results/{exp}/scenes/{scene}.log",
    benchmark:
        "results/{exp}/scenes/{scene}.benchmark.tsv"
    conda:
        "../../environment.yml"
    params:
        cube=lambda w: scene_of(w).cube,
        bands=lambda w: scene_of(w).bands,
        facts=lambda w: cube_settings(scene_of(w).cube),  # so that a change of them is seen
    shell:
        """
        python -m lkca scene \
            --name {wildcards.scene:q} \
            --cube {params.cube:q} \
            --bands {params.bands:q} \
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
    conda:
        "../../environment.yml"
    params:
        size=lambda w: patches_of(w).size,
        stride=lambda w: patches_of(w).stride,
        validation=EXPERIMENT.validation,
        rows=lambda w: scene_of(w).test.rows,
        columns=lambda w: scene_of(w).test.columns,
        tile=lambda w: scene_of(w).test.tile,
        code=module_digest("patches"),  # so that a change of it is seen
    shell:
        """
        python -m lkca split \
            --manifest {input.manifest:q} \
            --scale {wildcards.scale:q} \
            --size {params.size:q} \
            --stride {params.stride:q} \
            --validation {params.validation:q} \
            --rows {params.rows:q} \
            --columns {params.columns:q} \
            --tile {params.tile:q} \
            --out {output:q} |& tee {log:q}
        """
