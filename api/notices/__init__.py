"""Notices over HTTP: inboxes and preferences, who is told of which site, push tokens, webhooks, the log of alerts, and
tracking links with the public view they open.

It owns no table. What is written goes through the services of `notify`; the log of alerts is read by the queries beside
this.
"""

from api.notices import alerts, hooks, inbox, links, people, track

ROUTERS = (inbox.router, people.router, alerts.router, hooks.router, links.router, track.router)
