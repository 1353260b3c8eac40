"""What sender and device agree on: templates with typed parameters, and the payloads on the wire. Pure."""
