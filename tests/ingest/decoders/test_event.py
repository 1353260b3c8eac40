import pytest

from core.telemetry import DeviceEvent
from ingest.decoders import event
from ingest.reasons import Reason, Reject


def test_an_event_reads_with_all_its_fields():
    payload = b'{"ts":1790000000000,"boot":"k3f9","seq":7,"type":"panic","data":{"button":2,"by":["Anna",null]}}'
    expected = DeviceEvent(
        ts=1_790_000_000_000, boot="k3f9", seq=7, type="panic", data={"button": 2, "by": ["Anna", None]}
    )
    assert event.decode(payload) == expected
    assert event.decode(memoryview(payload)) == expected


@pytest.mark.parametrize(
    ("payload", "reason", "says"),
    [
        (b"", Reason.EMPTY, "no bytes"),
        (b"{", Reason.MALFORMED, "too early"),
        (b"[]", Reason.BAD_TYPE, "expected an object, got an array"),
        (b'{"type":"panic"}', Reason.MISSING_TS, "ts is missing"),
        (b'{"ts":1}', Reason.BAD_TYPE, "missing required field `type`"),
        (b'{"ts":"1","type":"panic"}', Reason.BAD_TYPE, "$.ts"),
        (b'{"ts":1,"type":""}', Reason.BAD_TEXT, "1 to 64 printable"),
        (b'{"ts":1,"type":"a\\nb"}', Reason.BAD_TEXT, "1 to 64 printable"),
        (b'{"ts":1,"type":"a","data":[1]}', Reason.BAD_TYPE, "$.data"),
        (b'{"ts":1,"type":"a","data":{"b":["\\u0000"]}}', Reason.BAD_TEXT, "NUL"),
        (b'{"ts":1,"type":"a","data":{"b":{"\\u0000":1}}}', Reason.BAD_TEXT, "name has a NUL"),
        (b'{"ts":1,"type":"a","data":{"b":99999999999999999999}}', Reason.OUT_OF_RANGE, "64 bits"),
        (b'{"ts":1,"type":"a","data":{"b":1e999}}', Reason.OUT_OF_RANGE, "too large"),
        (b'{"ts":1,"type":"a","data":' + b'{"b":' * 16 + b"1" + b"}" * 17, Reason.TOO_DEEP, "16"),
    ],
)
def test_a_wrong_event_is_refused_with_what_is_wrong(payload: bytes, reason: Reason, says: str):
    with pytest.raises(Reject) as caught:
        event.decode(payload)
    assert caught.value.rejection.reason is reason
    assert says in caught.value.rejection.detail
