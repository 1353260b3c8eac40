"""Plays recorded trips through the engine that serves live ones, and measures what it would have said."""
