"""Reads the metrics of a server as Prometheus does, and looks in them for what a dashboard asks.

    metrics.py http://ADDRESS/metrics dashboard.json
"""

import json
import math
import re
import sys
import urllib.request

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

# Set on every series by Prometheus, not by the server.
OF_THE_SCRAPE = {"instance", "job"}
# What Grafana puts into a query before it is asked.
MACROS = {"$__rate_interval": "5m", "$instance": ".*"}


def scraped(url):
    """The samples as (name, labels), after a look at the form of each family."""
    with urllib.request.urlopen(url) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"), answer.headers
        text = answer.read().decode()
    assert text.endswith("\n")
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(set(names)) == len(names), names
    samples = []
    for family in families:
        assert family.name.startswith(("glimpse_", "process_")), family.name
        assert family.documentation.endswith("."), family
        assert family.type in ("counter", "gauge", "histogram"), family
        assert family.samples, family
        if family.type == "histogram":
            assert family.name.endswith("_seconds"), family.name
            check_histogram(family)
        for sample in family.samples:
            assert family.type != "counter" or sample.name.endswith("_total"), sample
            assert sample.value >= 0, sample
            samples.append((sample.name, sample.labels))
    series = [(name, *sorted(labels.items())) for name, labels in samples]
    assert len(set(series)) == len(series), "a series is there twice"
    return samples


def check_histogram(family):
    """Buckets grow up to the count, the sum lies in what they allow."""
    groups = {}
    for sample in family.samples:
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        group = groups.setdefault(labels, {"buckets": []})
        kind = sample.name.removeprefix(family.name)
        if kind == "_bucket":
            group["buckets"].append((float(sample.labels["le"]), sample.value))
        else:
            group[kind] = sample.value
    for labels, group in groups.items():
        bounds, counts = zip(*group["buckets"])
        assert list(bounds) == sorted(set(bounds)) and bounds[-1] == math.inf, labels
        assert list(counts) == sorted(counts) and counts[-1] == group["_count"], labels
        assert (group["_sum"] > 0) == (group["_count"] > 0), labels


def queries(dashboard):
    """Each query with the labels that its legend shows."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], set(re.findall(r"{{(\w+)}}", target["legendFormat"]))


def matches(matcher, labels):
    value = labels.get(matcher.name, "")
    op = promql_parser.MatchOp
    if matcher.op in (op.Equal, op.NotEqual):
        return (value == matcher.value) == (matcher.op == op.Equal)
    return bool(re.fullmatch(matcher.value, value)) == (matcher.op == op.Re)


def check(title, expr, legend, samples):
    for macro, value in MACROS.items():
        expr = expr.replace(macro, value)
    selected, grouped = [], []

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            selected.append(node)
        elif isinstance(node, promql_parser.AggregateExpr):
            grouped.append(set(node.modifier.labels) if node.modifier else set())

    promql_parser.walk(promql_parser.parse(expr), visit)
    assert selected, (title, expr)
    for selector in selected:
        known = [labels for name, labels in samples if name == selector.name]
        assert known, f"{title}: no {selector.name} is exported"
        names = set().union(*known) | OF_THE_SCRAPE
        matchers = [matcher for matcher in selector.matchers.matchers if matcher.name not in OF_THE_SCRAPE]
        asked = {matcher.name for matcher in matchers}.union(*grouped)
        assert asked <= names, f"{title}: {selector.name} has no {asked - names}"
        found = any(all(matches(matcher, labels) for matcher in matchers) for labels in known)
        assert found, f"{title}: nothing is exported for {selector}"
        kept = set.intersection(*grouped) - {"le"} if grouped else names
        assert legend - {"le"} <= kept, f"{title}: the legend shows {legend - kept}"


def main(url, path):
    samples = scraped(url)
    with open(path, encoding="utf-8") as file:
        dashboard = json.load(file)
    count = 0
    for title, expr, legend in queries(dashboard):
        check(title, expr, legend, samples)
        count += 1
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
            assert label in OF_THE_SCRAPE and any(name == sample for sample, _ in samples), variable
    # What nobody looks at would not be missed.
    asked = json.dumps(dashboard)
    for name in {name for name, _ in samples}:
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        assert family in asked, f"the dashboard shows nothing of {family}"
    assert count >= 10, count
    print(f"{count} queries of the dashboard find what is exported")


main(*sys.argv[1:])
