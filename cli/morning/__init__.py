"""The morning's collection that `milkrun demo` shows: its sites, routes and trips, and what was said of them."""
