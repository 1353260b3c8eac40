"""Webhooks by the Standard Webhooks specification (https://www.standardwebhooks.com). Owns `webhook`, `webhook_secret`.

`sign` signs, `seal` keeps the secrets it signs with, `guard` decides where a connection may go, `post` is the channel,
`service` has the use cases.
"""
