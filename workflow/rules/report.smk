rule table:
    """Make a table from the scores of its runs and the printed numbers."""
    input:
        unpack(inputs("table")),
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
        job=job_name("table"),
        command=command("table"),
        reason=reason("table"),
    message:
        "{params.job}: {params.reason}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"


rule bicubic_rows:
    """Compare the bicubic rows of a scene with the paper's."""
    input:
        unpack(inputs("bicubic_rows")),
    output:
        json="results/{exp}/bicubic_check/{scene}.json",
        markdown="results/{exp}/bicubic_check/{scene}.md",
    log:
        "results/{exp}/bicubic_check/{scene}.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        job=job_name("bicubic_rows"),
        command=command("bicubic_rows"),
        reason=reason("bicubic_rows"),
    message:
        "{params.job}: {params.reason}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"


rule figure:
    """Draw a figure from the results of runs."""
    input:
        unpack(inputs("figure")),
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
        job=job_name("figure"),
        command=command("figure"),
        reason=reason("figure"),
    message:
        "{params.job}: {params.reason}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"


rule claims:
    """Check the claims of the paper on its own tables and on our results."""
    input:
        unpack(inputs("claims")),
    output:
        json="results/{exp}/claims.json",
        csv="results/{exp}/claims.csv",
    log:
        "results/{exp}/claims.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        job=job_name("claims"),
        command=command("claims"),
        reason=reason("claims"),
    message:
        "{params.job}: {params.reason}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"


rule report:
    """Write the report: verdicts, claims, tables, figures and their origin, on one page."""
    input:
        unpack(inputs("report")),
    output:
        page="results/{exp}/report.html",
        provenance="results/{exp}/report.json",
    log:
        "results/{exp}/report.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        job=job_name("report"),
        command=command("report"),
        reason=reason("report"),
    message:
        "{params.job}: {params.reason}"
    shell:
        "{params.command} --outputs {output:q} |& tee {log:q}"
