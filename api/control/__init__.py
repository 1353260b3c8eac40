"""Command and control over HTTP: what may be sent, to one device or a group, what became of it, and who agreed.

It owns no table. Everything goes through commands.service; a group by `where` is found as GET /v1/devices finds it.
"""

from api.control import batches, commands, templates

ROUTERS = (templates.router, commands.router, batches.router)
