"""The language that searches a fleet, `where` in GET /v1/devices: docs/search.md has its grammar.

`language` reads it into terms and is pure; `store` turns terms into SQL whose every value is bound.
"""
