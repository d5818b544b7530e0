include: "workflow/rules/common.smk"  # before configfile: it checks the configuration more strictly than Snakemake


configfile: "config.yaml"  # read by common.smk; this makes it a source file of the workflow


include: "workflow/rules/data.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/report.smk"


rule all:
    """The report, with every table and figure."""
    default_target: True
    input:
        JOBS.targets(),


rule bicubic_check:
    """Compare the bicubic rows of the scenes that are present with the paper's; this needs no training."""
    input:
        JOBS.bicubic_targets(),


# A target for each table and figure: snakemake --cores all table_V
for name in EXPERIMENT.report.tables:

    rule:
        name:
            f"table_{name}"
        input:
            list(JOBS.get("table", {"table": name}).outputs.values()),


for name in EXPERIMENT.report.figures:

    rule:
        name:
            f"figure_{name}"
        input:
            list(JOBS.get("figure", {"figure": name}).outputs.values()),
