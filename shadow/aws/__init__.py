"""Shadows that AWS IoT Core keeps: asked and changed through its data plane, mirrored here for the search.

docs/adr/0019 says why; which of the two keeps them is the setting `shadow.mode`.
"""
