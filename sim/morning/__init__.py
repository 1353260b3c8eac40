"""A morning's collection: rounds as those see them who plan them and wait for them."""
