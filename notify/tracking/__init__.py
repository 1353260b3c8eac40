"""Tracking links: one stop of one trip for whoever has the link, until the truck has been. Owns `tracking_link`."""
