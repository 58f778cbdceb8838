# The workflow is workflow/Snakefile; `snakemake` in a clone without a configfile runs the demo.
include: "workflow/Snakefile"


workflow.default_target = "all"  # an include does not set it
