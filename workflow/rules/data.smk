rule scene:
    """Cut a scene from its cube and divide it by its one maximum."""
    input:
        code="lkca/scenes.py",
    output:
        array="results/{exp}/scenes/{scene}.npy",
        manifest="results/{exp}/scenes/{scene}.json",
    log:
        "results/{exp}/scenes/{scene}.log",
    conda:
        "../../environment.yml"
    params:
        title=lambda w: scene_of(w).title,
        cube=lambda w: scene_of(w).cube,
        bands=lambda w: scene_of(w).bands,
    shell:
        """
        python -m lkca scene \
            --name {wildcards.scene:q} \
            --title {params.title:q} \
            --cube {params.cube:q} \
            --bands {params.bands:q} \
            --out {output.array:q} \
            --manifest {output.manifest:q} |& tee {log:q}
        """


rule split:
    """Divide a scene into test images, training and validation patches."""
    input:
        manifest="results/{exp}/scenes/{scene}.json",
        code="lkca/patches.py",
    output:
        "results/{exp}/splits/{scene}_x{scale}.json",
    log:
        "results/{exp}/splits/{scene}_x{scale}.log",
    conda:
        "../../environment.yml"
    params:
        size=lambda w: patches_of(w).size,
        stride=lambda w: patches_of(w).stride,
        validation=EXPERIMENT.validation,
        rows=lambda w: scene_of(w).test.rows,
        columns=lambda w: scene_of(w).test.columns,
        tile=lambda w: scene_of(w).test.tile,
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
