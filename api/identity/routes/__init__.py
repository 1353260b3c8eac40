"""Identity over HTTP: tokens and their keys, signing in, accounts, the audit log."""

from api.identity.routes import accounts, audit, oauth, session

ROUTERS = (oauth.router, session.router, accounts.router, audit.router)
