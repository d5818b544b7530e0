rule table:
    """Make a table from its runs' scores and the printed numbers."""
    input:
        scores=lambda w: run_files("scores.json", table_runs(w.table)),
        printed="workflow/resources/paper_tables.csv",
        code=[
            "lkca/columns.py",
            "lkca/comparisons.py",
            "lkca/statistics.py",
            "lkca/tables.py",
            "lkca/templates.py",
            "lkca/verdicts.py",
            "workflow/resources/report/table.html.j2",
        ],
    output:
        csv="results/{exp}/tables/{table}.csv",
        markdown="results/{exp}/tables/{table}.md",
        latex="results/{exp}/tables/{table}.tex",
        html="results/{exp}/tables/{table}.html",
        verdicts="results/{exp}/tables/{table}.verdicts.csv",
        comparisons="results/{exp}/tables/{table}.comparisons.csv",
    log:
        "results/{exp}/tables/{table}.log",
    benchmark:
        "results/{exp}/tables/{table}.benchmark.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    params:
        settings=table_settings,
    shell:
        """
        python -m lkca table \
            --settings {params.settings:q} \
            --scores {input.scores:q} \
            --printed {input.printed:q} \
            --csv {output.csv:q} \
            --markdown {output.markdown:q} \
            --latex {output.latex:q} \
            --html {output.html:q} \
            --verdicts {output.verdicts:q} \
            --comparisons {output.comparisons:q} |& tee {log:q}
        """


rule bicubic_rows:
    """Compare the bicubic rows of a scene with the paper's."""
    input:
        scores=bicubic_scores,
        manifest=lambda w: f"{ROOT}/scenes/{w.scene}.json" if bicubic_scores(w) else [],
        printed="workflow/resources/paper_tables.csv",
        code=["lkca/columns.py", "lkca/oracle.py"],
    output:
        json="results/{exp}/bicubic_check/{scene}.json",
        markdown="results/{exp}/bicubic_check/{scene}.md",
    log:
        "results/{exp}/bicubic_check/{scene}.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        settings=bicubic_check_settings(),
    shell:
        """
        python -m lkca bicubic_check \
            --settings {params.settings:q} \
            --scores {input.scores:q} \
            --manifests {input.manifest:q} \
            --printed {input.printed:q} \
            --out {output.json:q} \
            --markdown {output.markdown:q} |& tee {log:q}
        """


rule figure:
    """Draw a figure from files that evaluation and analysis wrote."""
    input:
        scores=figure_inputs("scores"),
        spectra=figure_inputs("spectra"),
        images=figure_inputs("images"),
        histories=figure_inputs("histories"),
        efficiency=figure_inputs("efficiency"),
        code=["lkca/figures.py", "lkca/statistics.py"],
    output:
        png="results/{exp}/figures/{figure}.png",
        pdf="results/{exp}/figures/{figure}.pdf",
    log:
        "results/{exp}/figures/{figure}.log",
    benchmark:
        "results/{exp}/figures/{figure}.benchmark.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    params:
        settings=figure_settings,
    shell:
        """
        python -m lkca figure \
            --settings {params.settings:q} \
            --scores {input.scores:q} \
            --spectra {input.spectra:q} \
            --images {input.images:q} \
            --histories {input.histories:q} \
            --efficiency {input.efficiency:q} \
            --png {output.png:q} \
            --pdf {output.pdf:q} |& tee {log:q}
        """


rule claims:
    """Check what the paper claims, on its own tables and on our results."""
    input:
        scores=run_files("scores.json", EXPERIMENT.runs()),
        spectra=run_files("spectrum.json", claims_spectra()),
        printed="workflow/resources/paper_tables.csv",
        claims="workflow/resources/claims.yaml",
        code=["lkca/claims.py", "lkca/expressions.py", "lkca/statistics.py"],
    output:
        json="results/{exp}/claims.json",
        csv="results/{exp}/claims.csv",
    log:
        "results/{exp}/claims.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        settings=claims_settings(),
    shell:
        """
        python -m lkca claims \
            --settings {params.settings:q} \
            --scores {input.scores:q} \
            --spectra {input.spectra:q} \
            --printed {input.printed:q} \
            --claims {input.claims:q} \
            --out {output.json:q} \
            --csv {output.csv:q} |& tee {log:q}
        """


rule report:
    """Put verdicts, claims, tables, figures and how they were made on one page."""
    input:
        scenes=expand(f"{ROOT}/scenes/{{scene}}.json", scene=sorted({run[0] for run in EXPERIMENT.runs()})),
        splits=sorted({f"{ROOT}/splits/{scene}_x{scale}.json" for scene, scale, *_ in EXPERIMENT.runs()}),
        runs=run_files("run.json", EXPERIMENT.runs()),
        beside_runs=[run_files(name, EXPERIMENT.runs()) for name in ("scores.json", "image.npz")],
        tables=expand(f"{ROOT}/tables/{{table}}.html", table=EXPERIMENT.report.tables),
        beside_tables=[table_files(name) for name in EXPERIMENT.report.tables],
        figures=expand(f"{ROOT}/figures/{{figure}}.png", figure=EXPERIMENT.report.figures),
        beside_figures=[figure_files(name) for name in EXPERIMENT.report.figures],
        spectra=run_files("spectrum.json", report_spectra()),
        efficiency=efficiency_files(),
        claims=f"{ROOT}/claims.json",
        beside_claims=f"{ROOT}/claims.csv",
        printed="workflow/resources/paper_tables.csv",
        code=["lkca/columns.py", "lkca/look.py", "lkca/report.py", "lkca/templates.py", "lkca/verdicts.py"],
        templates=expand("workflow/resources/report/report.{kind}", kind=["html.j2", "css", "js"]),
    output:
        page="results/{exp}/report.html",
        provenance="results/{exp}/report.json",
    log:
        "results/{exp}/report.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        settings=report_settings(),
    shell:
        """
        python -m lkca report \
            --settings {params.settings:q} \
            --scenes {input.scenes:q} \
            --splits {input.splits:q} \
            --runs {input.runs:q} \
            --tables {input.tables:q} \
            --figures {input.figures:q} \
            --spectra {input.spectra:q} \
            --efficiency {input.efficiency:q} \
            --claims {input.claims:q} \
            --printed {input.printed:q} \
            --out {output.page:q} \
            --provenance {output.provenance:q} |& tee {log:q}
        """
