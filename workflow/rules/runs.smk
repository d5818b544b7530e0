rule settings:
    """Write down all that a run depends on: config.yaml is no input of anything, so a comment there trains nothing again."""
    input:
        scene="results/{exp}/scenes/{scene}.json",
        split="results/{exp}/splits/{scene}_x{scale}.json",
        teacher=teacher_file("run.json"),
    output:
        f"{RUN}/run.json",
    log:
        f"{RUN}/settings.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        settings=settings_of,
    shell:
        """
        python -m lkca settings \
            --settings {params.settings:q} \
            --seed {wildcards.seed:q} \
            --scene {input.scene:q} \
            --split {input.split:q} \
            --teacher {input.teacher:q} \
            --out {output:q} |& tee {log:q}
        """


rule train:
    """Train one network, from its teacher if it has one."""
    input:
        run=f"{RUN}/run.json",
        scene=ancient("results/{exp}/scenes/{scene}.npy"),  # run.json holds its hash
        split="results/{exp}/splits/{scene}_x{scale}.json",
        teacher=teacher_file("weights.safetensors"),
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
    shell:
        """
        python -m lkca train \
            --run {input.run:q} \
            --scene {input.scene:q} \
            --split {input.split:q} \
            --teacher {input.teacher:q} \
            --out {output.weights:q} \
            --history {output.history:q} \
            --cards {resources.gpu:q} |& tee {log:q}
        """


rule evaluate:
    """Score a run on its test images; a corrected score comes here and trains nothing."""
    input:
        run=f"{RUN}/run.json",
        scene=ancient("results/{exp}/scenes/{scene}.npy"),  # run.json holds its hash
        split="results/{exp}/splits/{scene}_x{scale}.json",
        weights=trained_file("weights.safetensors"),
        history=trained_file("history.csv"),
        code=["lkca/evaluate.py", "lkca/metrics.py", "lkca/complexity.py"],
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
        image=lambda w: scene_of(w).composite.image,
        composite=lambda w: scene_of(w).composite.bands,
    shell:
        """
        python -m lkca evaluate \
            --run {input.run:q} \
            --scene {input.scene:q} \
            --split {input.split:q} \
            --weights {input.weights:q} \
            --history {input.history:q} \
            --image {params.image:q} \
            --composite {params.composite:q} \
            --out {output.scores:q} \
            --picture {output.image:q} |& tee {log:q}
        """


rule spectrum:
    """Take the singular values of a trained upsampling layer."""
    input:
        run=f"{RUN}/run.json",
        weights=f"{RUN}/weights.safetensors",
        code="lkca/spectrum.py",
    output:
        f"{RUN}/spectrum.json",
    log:
        f"{RUN}/spectrum.log",
    benchmark:
        f"{RUN}/spectrum.benchmark.tsv"
    conda:
        "../../environment.yml"
    shell:
        """
        python -m lkca spectrum \
            --run {input.run:q} \
            --weights {input.weights:q} \
            --out {output:q} |& tee {log:q}
        """


rule efficiency:
    """Measure what the networks cost when they run. No other job runs beside it: it takes all cores and a GPU."""
    input:
        code=["lkca/efficiency.py", "lkca/complexity.py"],
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
        settings=efficiency_settings,
        code=lambda w: sorted({code_digest(model.arch) for model in measured_here(w).values()}),  # so that a change is seen
    shell:
        """
        python -m lkca efficiency \
            --settings {params.settings:q} \
            --out {output:q} |& tee {log:q}
        """
