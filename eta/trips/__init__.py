"""Sites, routes and trips: where trucks are expected, in which order, and how far each round has come."""
