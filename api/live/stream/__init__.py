"""From the channel log to the clients of this process: feeds, filters, frames, queues. No HTTP and no SQL in here."""
