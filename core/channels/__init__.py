"""Channels: what a tenant's clients follow live, as a log in Redis with an epoch and an offset for each event.

`log` holds the logs, `admission` the counts of open connections over all API processes.
"""

from core.channels.admission import Admission, Refusal
from core.channels.log import Batch, Channel, Channels, ChannelsUnavailable, Note, Position

__all__ = ["Admission", "Batch", "Channel", "Channels", "ChannelsUnavailable", "Note", "Position", "Refusal"]
