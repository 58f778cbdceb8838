# Tables, figures and the page, from the scores alone.
rule describe:
    output:
        f"{RESULTS}/benchmark.json",
    params:
        content=json.dumps(summary(benchmark), indent=1, sort_keys=True),
    shell:
        "printf '%s\\n' {params.content:q} > {output}"


rule report:
    input:
        rules.describe.output,
        expand("{run}/scores.parquet", run=BASELINES + RUNS),
    output:
        f"{RESULTS}/index.html",
        f"{RESULTS}/scores.parquet",
        f"{RESULTS}/tables/main.csv",
    params:
        results=RESULTS,
    log:
        f"{RESULTS}/report.log",
    shell:
        "audioslots report {params.results} --out {params.results} > {log} 2>&1"
