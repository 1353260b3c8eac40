"""Who may call: users, API clients and API keys, how they prove it, and the record of who changed what.

Gives the rest of the API a `Principal` for a bearer token or a session cookie, and tells whether one is still good.
Signs access tokens with its own rotating Ed25519 keys and publishes their public halves. Takes and gives no events.
Its tables: user_account, user_session, login_throttle, api_client, api_client_secret, api_key, audit_log, and, for the
rest of the API, live_ticket and idempotency.
"""
