"""Alerts to people and systems, each told once.

Owns `recipient`, `subscription`, `push_token`, `notice`, `delivery`, `webhook`, `webhook_secret` and `tracking_link`.
Takes AlertRaised, TripChanged and StopChanged; gives NoticePosted. `handlers` fans an alert out to inboxes, push tokens
and webhooks in one transaction; `delivery` sends what is due through `push` and `webhooks`; `tracking` makes and reads
links for people without an account. The use cases are `service.NotifyService`, `webhooks.service.WebhookService` and
`tracking.service.LinkService`.
"""
