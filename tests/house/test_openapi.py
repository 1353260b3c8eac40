"""docs/openapi.json is what the routes say, and says enough to be used."""

import copy

import pytest
import schemathesis

from api import openapi
from api.app import bare_app
from api.http.openapi import document, undescribed
from tests.house.tree import ROOT

FILE = ROOT / "docs/openapi.json"


@pytest.fixture(scope="module")
def found() -> dict:
    return document(bare_app())


def test_the_checked_in_document_is_what_the_routes_say():
    assert FILE.read_text() == openapi.text(), "docs/openapi.json is not up to date: run `make openapi` and commit it"


def test_the_document_is_openapi_3_1(found: dict):
    assert found["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(found).validate()


def test_every_operation_has_one_tag_a_summary_and_a_name_of_its_own(found: dict):
    assert undescribed(found) == []


def test_what_is_not_described_is_found(found: dict):
    spoiled = copy.deepcopy(found)
    spoiled["paths"]["/healthz"]["get"]["operationId"] = spoiled["paths"]["/readyz"]["get"]["operationId"]
    spoiled["paths"]["/v1/me"]["get"] |= {"tags": [], "summary": ""}
    assert len(undescribed(spoiled)) == 3


def test_every_route_that_is_not_open_documents_its_refusals_and_scopes(found: dict):
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            statuses = set(operation["responses"])
            assert {"422", "429"} <= statuses, path
            if operation["security"]:
                assert {"401", "403", "404", "503"} <= statuses, path
            headers = {each["name"].lower() for each in operation.get("parameters", ()) if each["in"] == "header"}
            repeats = method == "post" and bool(operation["security"])
            assert ("idempotency-key" in headers) is repeats, path
            assert ("412" in statuses) is ("if-match" in headers), path
            assert ("304" in statuses) is ("if-none-match" in headers), path


def test_problems_are_problems_wherever_they_are_documented(found: dict):
    oauth = ("/oauth/token", "400"), ("/oauth/token", "401")
    for path, operations in found["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status >= "400" and (path, status) not in oauth:
                    assert set(response["content"]) == {"application/problem+json"}, (path, status)


def test_every_header_and_schema_that_is_named_is_there(found: dict):
    text = openapi.text()
    for kind, named in found["components"].items():
        for name in named:
            if kind in {"schemas", "headers"}:
                assert f"#/components/{kind}/{name}" in text, f"{kind} {name} is not used"
