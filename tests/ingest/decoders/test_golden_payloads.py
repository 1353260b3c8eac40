import json

import pytest

from core.topics import Format
from ingest.decoders import DECODERS
from ingest.reasons import Reject
from tests.ingest.decoders.golden import PAYLOADS, Golden, load, shown, shown_rejection

GOLDENS = load()


def _id(golden: Golden) -> str:
    return f"{golden.format.name.lower()}-{golden.name}"


@pytest.mark.parametrize("golden", GOLDENS, ids=_id)
def test_a_payload_from_the_field_becomes_what_is_written_beside_it(golden: Golden):
    try:
        got = shown(DECODERS[golden.format](golden.payload))
    except Reject as reject:
        got = {"refused": shown_rejection(reject.rejection)}
    # As text, so that 1, 1.0 and true are told apart.
    assert json.dumps(got, sort_keys=True) == json.dumps(golden.expected, sort_keys=True)


@pytest.mark.parametrize("golden", GOLDENS, ids=_id)
def test_a_memoryview_reads_as_the_bytes_do(golden: Golden):
    def outcome(payload: bytes | memoryview) -> object:
        try:
            return DECODERS[golden.format](payload)
        except Reject as reject:
            return reject.rejection

    assert outcome(memoryview(golden.payload)) == outcome(golden.payload)


def test_every_format_has_a_decoder_and_payloads_from_the_field():
    assert set(DECODERS) == set(Format)
    assert {golden.format for golden in GOLDENS} == set(Format)


def test_no_expectation_stands_without_its_payload():
    payloads = {(path.parent, path.stem) for path in PAYLOADS.glob("*/*") if not path.name.endswith(".expected.json")}
    expected = {(path.parent, path.name.removesuffix(".expected.json")) for path in PAYLOADS.glob("*/*.expected.json")}
    assert expected == payloads
