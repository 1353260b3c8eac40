"""Tells people and systems: in-app, FCM, APNs, webhooks; each notice once, each delivery on record."""
