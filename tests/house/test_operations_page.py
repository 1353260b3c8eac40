"""docs/operations.md names every setting and metric the code has, and none it has not.

`python -m tests.house.reference` prints both tables for the page.
"""

import re

from prometheus_client import REGISTRY

from core.settings import Settings
from tests.house import reference
from tests.house.tree import ROOT

PAGE = ROOT / "docs/operations.md"


def test_every_setting_and_every_metric_is_on_the_page():
    assert reference.undocumented(PAGE.read_text()) == []


def test_the_page_names_no_setting_and_no_metric_that_does_not_exist():
    assert reference.unknown(PAGE.read_text()) == []


def test_a_missing_and_an_invented_name_are_found():
    names = [name for name, *_ in (*reference.settings(), *reference.metrics())]
    page = " ".join(f"`{name}`" for name in names)
    assert reference.undocumented(page) == []
    assert reference.undocumented(page.replace("`milkrun_ready`", "milkrun_ready_or_not")) == ["milkrun_ready"]
    assert reference.unknown(page + " `MILKRUN_BUS_SIZE` `milkrun_magic_total`") == [
        "MILKRUN_BUS_SIZE",
        "milkrun_magic_total",
    ]


def test_every_setting_says_what_it_is():
    assert [name for name, _, meaning in reference.settings() if len(meaning) < 10] == []
    assert len(reference.settings()) == sum(len(f.annotation.model_fields) for f in Settings.model_fields.values())


def test_metrics_follow_the_naming_rule_and_say_what_they_count():
    for name, kind, meaning in reference.metrics():
        assert re.fullmatch(r"milkrun_[a-z0-9_]+", name), name
        assert name.endswith("_total") == (kind == "counter"), name
        assert len(meaning) > 10, name
    # The tables are read from source; what core has registered at run time must be among them.
    live = {metric.name for metric in REGISTRY.collect() if metric.name.startswith("milkrun_")}
    assert live <= {name.removesuffix("_total") for name, *_ in reference.metrics()}
