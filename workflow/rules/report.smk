# Tables, figures and the page, from the scores alone.
rule describe:
    output:
        f"{RESULTS}/benchmark.json",
    log:
        f"{RESULTS}/describe.log",
    localrule: True
    params:
        content=json.dumps(summary(benchmark), indent=1, sort_keys=True),
    shell:
        "printf '%s\\n' {params.content:q} > {output} 2> {log}"


rule report:
    input:
        rules.describe.output,
        expand("{run}/scores.parquet", run=BASELINES + RUNS),
    output:
        f"{RESULTS}/index.html",
        f"{RESULTS}/scores.parquet",
        f"{RESULTS}/tables/main.csv",
    log:
        f"{RESULTS}/report.log",
    resources:
        mem_mb=16000,
        runtime=minutes(60),
    params:
        results=subpath(output[0], parent=True),
        published=f"--published '{benchmark.published}'" if benchmark.published else "",
    shell:
        "audioslots --wait --overwrite report {params.results} --out {params.results} {params.published} > {log} 2>&1"
