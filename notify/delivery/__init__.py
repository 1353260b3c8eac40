"""Deliveries: what is to be sent, to which push token or webhook, and how each attempt went. Owns table `delivery`."""
