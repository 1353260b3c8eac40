"""The push services as channels: Firebase Cloud Messaging (HTTP v1) and Apple's (HTTP/2, token)."""
