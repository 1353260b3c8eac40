"""Device lists as they come out of spreadsheets."""

import pytest

from cli import manifest
from provisioning.errors import InvalidManifest


def test_columns_are_device_type_and_labels() -> None:
    read = manifest.read(b'device,type,depot,labels\ntruck-1,gps,north,"shift=early;crew=2"\ntruck-2,,,\n')
    assert read.bad == []
    assert [(d.device, d.type, d.labels) for d in read.devices] == [
        ("truck-1", "gps", {"depot": "north", "shift": "early", "crew": "2"}),
        ("truck-2", "tracker", {}),
    ]
    assert read.line_of == {"truck-1": 2, "truck-2": 3}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfdevice,depot\r\ntruck-1,north\r\n",
        b"device;depot\ntruck-1;north\n",
        b" device , depot \n\n truck-1 , north \n\n",
        b'"device","depot"\n"truck-1","north"',
    ],
    ids=["Excel's UTF-8", "semicolons", "blanks and empty lines", "quoted, no last newline"],
)
def test_the_habits_of_spreadsheets_are_understood(content) -> None:
    read = manifest.read(content)
    assert [(d.device, d.labels) for d in read.devices] == [("truck-1", {"depot": "north"})]
    assert read.bad == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"b b,,", "1 to 64 characters"),
        (b",,", "device name '' is not allowed"),
        (b"a,b c,", "device type 'b c' is not allowed"),
        (b"a,,depot", "has no '='"),
        (b"a,,k=1;k=2", "given twice"),
        (b"a,,k=", "printable"),
        (b"a,", "2 cells where the first line has 3"),
        (b"a,,,", "4 cells where the first line has 3"),
        (b'"a,,', "no valid CSV"),
        (b"good-1,,", "stands on line 2 already"),
        (b"a\x00,,", "not allowed"),
    ],
)
def test_a_bad_line_is_told_with_its_number_and_costs_no_other(line, said) -> None:
    read = manifest.read(b"device,type,labels\ngood-1,,\n" + line + b"\ngood-2,,\n")
    assert [d.device for d in read.devices] == ["good-1", "good-2"]
    assert [bad.line for bad in read.bad] == [3]
    assert said in read.bad[0].said


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"name,type\na,b\n", b"device,device\n", b"device,,x\n", b"\xff\xfe\n", b'"device\n']
)
def test_a_file_without_usable_columns_is_refused_whole(content) -> None:
    with pytest.raises(InvalidManifest):
        manifest.read(content)
