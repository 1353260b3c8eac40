"""Shadows over HTTP, and the language that searches the fleet by what they say.

It owns no table. Shadows are read and changed through shadow.service; the search reads what shadow, provisioning,
ingest and broker keep for it.
"""

from api.twin import shadows

ROUTERS = (shadows.router,)
