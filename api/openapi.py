"""`python -m api.openapi`: the API's document on standard output, as docs/openapi.json keeps it."""

import json
import sys

from api.app import bare_app
from api.http.openapi import document


def text() -> str:
    return json.dumps(document(bare_app()), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
