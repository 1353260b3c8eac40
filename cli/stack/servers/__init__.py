"""The servers Milkrun starts when nobody names one: PostgreSQL and Redis from wheels, and the MQTT broker."""
