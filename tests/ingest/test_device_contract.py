"""docs/device-contract.md is what firmware is written from; what it says must be so."""

import json
import re
from pathlib import Path

from core import topics
from core.settings import IngestSettings
from core.topics import Format
from ingest import validate
from ingest.decoders import DECODERS, plain
from ingest.reasons import Reason

TEXT = (Path(__file__).parents[2] / "docs" / "device-contract.md").read_text()


def test_the_table_of_refusals_has_every_reason_once():
    section = TEXT.partition("## What is refused")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert listed == [reason.value for reason in Reason]


def test_the_example_sample_is_one():
    example = next(block for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL) if '"pos"' in block)
    samples, rejected = DECODERS[Format.JSON](example.encode())
    assert not rejected
    assert validate.check(samples[0], samples[0].ts, IngestSettings()) is None
    assert json.loads(example)["m"] == samples[0].m


def test_the_topics_it_lists_are_those_that_are_read():
    listed = re.findall(r"^\| `(dt/milkrun/\{thing\}/\S+)` \| from device", TEXT, re.MULTILINE)
    thing = "acme:truck-17"
    assert {line.replace("{thing}", thing) for line in listed} == {
        topics.event(thing),
        *(topics.telemetry(thing, fmt) for fmt in Format),
    }


def test_the_limits_it_states_are_the_defaults():
    limits = IngestSettings()
    assert f"at most {limits.max_payload_bytes} bytes and {limits.max_samples} samples" in TEXT
    assert limits.max_samples == plain.MAX_SAMPLES
    assert f"nested at most {plain.MAX_DEPTH} deep" in TEXT
    assert f"{limits.max_metrics} names a sample" in TEXT
    assert f"{limits.max_age_s // 86_400} days back to {limits.max_ahead_s} s ahead" in TEXT
    assert f"0 to {validate.MAX_SEQ} " in TEXT
    assert f"up to {validate.MAX_TEXT_CHARS} characters and no NUL" in TEXT
    assert f"| {limits.max_speed_mps:.0f} m/s;" in TEXT
