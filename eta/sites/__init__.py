"""Sites and routes: where trucks are expected and in which order, from people, programs and files."""
