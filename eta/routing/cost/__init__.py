"""What maps cost: the list of prices, and the report of calls and of what other methods would have cost."""
